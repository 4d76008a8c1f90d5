"""Whether ``algo="auto"`` may take Winograd's transforms, which round more than plain sums do."""

from __future__ import annotations

import os
from types import TracebackType

_VARIABLE = "FASTCONV_ALLOW_WINOGRAD"
_FROM_ENVIRONMENT: dict[str, bool | str] = {"": True, "0": False, "1": True, "fast": "fast"}


def _from_environment() -> bool | str:
    value = os.environ.get(_VARIABLE, "").strip()
    if value not in _FROM_ENVIRONMENT:
        raise ValueError(f"{_VARIABLE} must be 0, 1 or fast, not {value!r}")
    return _FROM_ENVIRONMENT[value]


_level = _from_environment()


class allow_winograd:
    """Set whether ``algo="auto"`` may take Winograd in float32, for the process or for a ``with`` block.

    Parameters
    ----------
    level : {True, False, "fast"}
        True allows the variants within the documented error bound (RMS 1.5e-6 of the output's RMS), "fast" all of
        them, to ``algo="winograd"`` too (F(6x6,3x3) and F(4x4,5x5), RMS up to 5.7e-6), False none. The default is True,
        or what the environment variable ``FASTCONV_ALLOW_WINOGRAD`` says (``0``, ``1``, ``fast``).

    Raises
    ------
    ValueError
        If ``level`` is another one.

    Notes
    -----
    The setting is the process's; a ``with`` block puts back what was there before. float64 is never transformed
    unless ``algo="winograd"`` says so.

    Examples
    --------
    >>> import fastconv
    >>> shapes = (1, 256, 56, 56), (256, 256, 3, 3)
    >>> fastconv.algorithms(*shapes)[0].name
    'winograd'
    >>> with fastconv.allow_winograd(False):
    ...     fastconv.algorithms(*shapes)[0].name == "winograd"
    False
    """

    def __init__(self, level: bool | str) -> None:
        global _level
        if not (level is True or level is False or level == "fast"):
            raise ValueError(f'level must be True, False or "fast", not {level!r}')
        self._before = _level
        _level = level

    def __enter__(self) -> None:
        """Leave the level as the call has set it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put back the level from before."""
        global _level
        _level = self._before


def core_algorithm(algo: str) -> str:
    """Return the name by which the core knows the choice that the level leaves."""
    if _level is False:
        return "exact" if algo == "auto" else algo
    if _level == "fast":
        return {"auto": "fast", "winograd": "winograd-fast"}.get(algo, algo)
    return algo
