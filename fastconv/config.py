"""What this installation was built with and what it uses."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fastconv import _core
from fastconv.threads import get_num_threads

_VARIABLE = "FASTCONV_ISA"


def _cap_isa() -> None:
    name, built = os.environ.get(_VARIABLE, "").strip(), _core.isas_built()
    if not name:
        return
    if name not in built:
        raise ValueError(f"{_VARIABLE} must be one of {', '.join(built)}, not {name!r}")
    _core.set_isa(name)


_cap_isa()


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Show the version, the compiler, the instruction sets and the threads.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print the facts, or return them.

    Returns
    -------
    dict or None
        With ``mode="dicts"``: the keys "fastconv", "numpy" and "compiler" (versions, strings), "openmp" (bool),
        "isas built", "isas supported" (lists of instruction sets, narrowest first), "isa" (the one in use, which
        ``FASTCONV_ISA`` caps) and "threads" (int).

    Raises
    ------
    ValueError
        If ``mode`` is another one.

    Examples
    --------
    >>> import fastconv
    >>> sorted(fastconv.show_config(mode="dicts"))
    ['compiler', 'fastconv', 'isa', 'isas built', 'isas supported', 'numpy', 'openmp', 'threads']
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f'mode must be "stdout" or "dicts", not {mode!r}')
    from fastconv import __version__

    facts: dict[str, Any] = {
        "fastconv": __version__,
        "numpy": np.__version__,
        "compiler": _core.compiler(),
        "openmp": _core.openmp(),
        "isas built": _core.isas_built(),
        "isas supported": _core.isas_supported(),
        "isa": _core.isa(),
        "threads": get_num_threads(),
    }
    if mode == "dicts":
        return facts
    for name, fact in facts.items():
        print(f"{name + ':':<16}{', '.join(fact) if isinstance(fact, list) else fact}")
    return None
