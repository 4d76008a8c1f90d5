"""Hostile numbers and arrays, drawn from a `Source`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from source import Source, choose, often

MOST_VALUES = 1 << 22  # of an array that is filled for a call

# --- numbers

HUGE = (2**15, 2**31 - 1, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64, 10**30)
WRONG = (0, -1, -(2**63), 1.5, 2.0, True, None, "2", "same", (), (1,), (1, 2, 3), ((1, 2), 3), [[1, 1], [1, 1]], 1j,
         np.float32(2), np.nan, object(), np.array([1, 2]), np.array(2), np.int8(2), b"1", range(2))  # fmt: skip


def number(source: Source, most: int, least: int = 1) -> Any:
    """Mostly between `least` and `most`."""
    kind = source.integer(0, 79)
    if kind == 0:
        return choose(source, HUGE)
    if kind == 1:
        return choose(source, WRONG)
    return source.integer(least, most)


def numbers(source: Source, most: int, least: int = 1) -> Any:
    """An int or a pair."""
    if often(source, 50):
        return number(source, most, least)
    return (number(source, most, least), number(source, most, least))


def padding(source: Source, most: int) -> Any:
    kind = source.integer(0, 9)
    if kind == 0:
        return choose(source, ("same", "valid", "SAME", b"same"))
    if kind <= 2:
        return tuple((number(source, most, 0), number(source, most, 0)) for _ in range(choose(source, (2, 2, 2, 1, 3))))
    return numbers(source, most, 0)


# --- arrays

DTYPES = ("f4",) * 8 + ("f8",) * 5 + ("f2", ">f4", ">f8", "i4", "c8", "?", "O", "S4", "g", "u1", "M8[s]", "V8")
FLOATS = ("f4", "f4", "f4", "f8", "f8", "f2")
SPECIAL = (np.nan, np.inf, -np.inf, 5e-324, 1e-40, -0.0, 3e38, -3e38, 6e4)


class Liar:
    """An object whose conversion to an array fails, or lies about its shape."""

    def __init__(self, kind: int) -> None:
        self.kind = kind

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.kind == 0:
            raise ValueError("no array today")
        return np.ones((1, 1, 3, 3)) if self.kind == 1 else [1, 2]


class Subclass(np.ndarray):
    """A subclass without anything of its own."""


def values(source: Source, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Numbers in float64, with special ones among them now and then."""
    rng = np.random.default_rng(source.integer(0, 2**32 - 1))
    a = rng.standard_normal(shape)
    if a.size and often(source, 15):
        a.flat[rng.integers(0, a.size, 3)] = choose(source, SPECIAL)
    with np.errstate(all="ignore"):
        if np.dtype(dtype).kind in "OSMV":
            return np.zeros(shape, dtype)
        return a.astype(dtype)


def strided(source: Source, a: np.ndarray) -> np.ndarray:
    """The same values, or others that lie within the same memory, by other strides."""
    kind = source.integer(0, 9)
    if kind == 0:
        return np.asfortranarray(a)
    if kind == 1:
        return a[tuple(slice(None, None, choose(source, (1, -1))) for _ in a.shape)]
    if kind == 2 and a.dtype.kind == "f":  # every second element of a larger array
        wide = np.repeat(a, 2, axis=choose(source, range(a.ndim)) if a.ndim else None)
        return wide[tuple(slice(0, 2 * n if w == 2 * n else n, 2 if w == 2 * n else 1)
                          for n, w in zip(a.shape, wide.shape, strict=False))]  # fmt: skip
    if kind == 3:  # not aligned
        raw = np.zeros(a.nbytes + 1, np.uint8)
        try:
            odd = raw[1:].view(a.dtype).reshape(a.shape)
        except (TypeError, ValueError):
            return a
        odd[...] = a
        return odd
    if kind == 4 and a.size:  # overlapping windows and repeated elements
        strides = list(a.strides)
        for axis in range(a.ndim):
            if often(source, 40):
                strides[axis] = choose(source, (0, a.itemsize)) if axis < a.ndim - 1 else strides[axis]
        return as_strided(a, a.shape, strides)
    if kind == 5 and a.size:
        a = a.copy()
        a.flags.writeable = False
        return a
    if kind == 6 and a.ndim:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1 % a.ndim, -1)), -1, 1 % a.ndim)
    return a


def claimed(source: Source, a: np.ndarray) -> np.ndarray:
    """An array that claims a huge size and has hardly any memory."""
    axis = source.integer(0, max(0, a.ndim - 1))
    shape = list(a.shape)
    if not a.size or not a.ndim:
        return a
    shape[axis] = choose(source, (2**31, 2**40, 2**58))
    one = a[tuple(slice(0, 1) for _ in a.shape)]
    try:
        return np.broadcast_to(one, shape)
    except ValueError:  # NumPy takes no such size
        return a


def hostile(source: Source, shape: tuple[int, ...], dtype: str) -> Any:
    """An array of this shape and dtype, mostly."""
    kind = source.integer(0, 59)
    if kind == 0:  # another rank or size
        sizes = [n + choose(source, (-1, 0, 1)) if often(source, 30) else n for n in shape]
        shape = tuple(max(0, n) for n in sizes)[: choose(source, (4, 4, 3, 5))]
    elif kind == 1:
        shape = tuple(0 if often(source, 25) else n for n in shape)
    elif kind == 2:
        dtype = choose(source, DTYPES)
    a = values(source, shape, dtype)
    if kind == 3:
        return claimed(source, a)
    if kind == 4:
        return np.ma.masked_array(a, np.zeros(a.shape, bool))
    if kind == 5:
        return a.view(Subclass)
    if kind == 6:
        return a.tolist()
    if kind == 7 and a.ndim >= 2 and a.size:
        return np.matrix(a.reshape(a.shape[0], -1))
    if kind == 8:
        return choose(source, (*WRONG, Liar(0), Liar(1), Liar(2), memoryview(a) if a.dtype.char in "fd" else None))
    return strided(source, a)
