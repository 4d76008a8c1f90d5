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


def remembered(check: Callable[_Arguments, _Checked]) -> Callable[_Arguments, _Checked]:
    """Remember what a class method returns, if all arguments are plain and positional.

    What equals an int need not be one, and may not be hashable: ints, strings, booleans and None alone are looked up,
    each by its own type.
    """
    cached = lru_cache(maxsize=256, typed=True)(check)

    @wraps(check)
    def look_up(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Checked:
        if kwargs or not _PLAIN.issuperset(map(type, args[1:])):  # the first is the class
            return check(*args, **kwargs)
        return cached(*args)

    return look_up
