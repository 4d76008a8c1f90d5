"""Checked arguments, remembered: to check them again takes a third of a small layer's time."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from types import NoneType
from typing import ParamSpec, TypeVar

__all__ = ["remembered"]

_Arguments = ParamSpec("_Arguments")
_Checked = TypeVar("_Checked")
_PLAIN = {int, str, bool, NoneType}
_INTS = {int}


def _is_plain(value: object) -> bool:
    """Whether no value of another type equals this one: of a plain type, or ints in a tuple or in a tuple of such."""
    if type(value) is not tuple:
        return type(value) in _PLAIN
    return _INTS.issuperset(map(type, value)) or all(
        type(item) is tuple and _INTS.issuperset(map(type, item)) for item in value
    )


def remembered(check: Callable[_Arguments, _Checked]) -> Callable[_Arguments, _Checked]:
    """Remember what a class method returns, if all arguments are plain and positional.

    What equals an int need not be one, and may not be hashable: ints, strings, booleans, None and tuples of ints alone
    are looked up, each by its own type.
    """
    cached = lru_cache(maxsize=256, typed=True)(check)

    @wraps(check)
    def look_up(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Checked:
        given = args[1:]  # the first is the class
        if not kwargs and (_PLAIN.issuperset(map(type, given)) or all(map(_is_plain, given))):
            return cached(*args)
        return check(*args, **kwargs)

    return look_up
