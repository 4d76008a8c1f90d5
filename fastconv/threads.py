"""How many OpenMP threads an operator uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path

from fastconv import _core
from fastconv.geometry import integer

_MOST = 1024
_VARIABLE = "FASTCONV_NUM_THREADS"
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def _from_environment() -> int | None:
    value = os.environ.get(_VARIABLE, "").strip()
    if not value:
        return None
    if not value.isdecimal() or not 1 <= int(value) <= _MOST:
        raise ValueError(f"{_VARIABLE} must be an integer from 1 to {_MOST}, not {value!r}")
    return int(value)


def _available_cpus() -> int:
    """Count the CPUs of this process by affinity and cgroup quota; OpenMP knows the first at best."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        return min(cpus, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no such cgroup, or no quota: "max 100000"
        return cpus


_chosen = _from_environment()
_cap = _MOST if "OMP_NUM_THREADS" in os.environ else _available_cpus()
_in_context: ContextVar[int | None] = ContextVar("fastconv_threads", default=None)


def get_num_threads() -> int:
    """Return the number of threads that the next operator of this context uses.

    The first that is set counts: the innermost `threads` block, `set_num_threads`, the environment variable
    ``FASTCONV_NUM_THREADS`` as it was at import, and OpenMP's own setting (``OMP_NUM_THREADS``,
    ``threadpoolctl``) capped by the CPUs that this process may use.

    Returns
    -------
    int
        At least 1. A small problem takes fewer, and results do not depend on it.
    """
    chosen = _in_context.get() or _chosen
    if chosen is not None:
        return chosen
    default = _core.max_threads()
    return default if default < _cap else _cap  # min() takes as long as all the rest


def set_num_threads(n: int) -> None:
    """Set the number of threads of the whole process, outside `threads` blocks.

    Parameters
    ----------
    n : int
        From 1 to 1024.

    Raises
    ------
    ValueError
        If ``n`` is out of range.
    TypeError
        If ``n`` is not an integer.

    Examples
    --------
    >>> import fastconv
    >>> before = fastconv.get_num_threads()
    >>> fastconv.set_num_threads(2)
    >>> fastconv.get_num_threads()
    2
    >>> fastconv.set_num_threads(before)
    """
    global _chosen
    _chosen = integer(n, "n", 1, _MOST)


def threads(n: int) -> AbstractContextManager[None]:
    """Set the number of threads inside a ``with`` block.

    The setting belongs to the current context (``contextvars``): other threads and asyncio tasks keep theirs.

    Parameters
    ----------
    n : int
        From 1 to 1024.

    Returns
    -------
    context manager
        The previous setting returns at the end of the block.

    Raises
    ------
    ValueError
        If ``n`` is out of range.
    TypeError
        If ``n`` is not an integer.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.threads(1):
    ...     fastconv.get_num_threads()
    1
    """
    return _block(integer(n, "n", 1, _MOST))


@contextmanager
def _block(n: int) -> Iterator[None]:
    token = _in_context.set(n)
    try:
        yield
    finally:
        _in_context.reset(token)
