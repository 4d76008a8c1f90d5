"""Calls of every public operator with hostile arguments, and what must hold of each.

A call is drawn by a `Source`: choices made by a seeded generator, by hypothesis or by a string of bytes.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.lib.stride_tricks import as_strided

import fastconv

REFUSALS = (ValueError, TypeError, MemoryError)
MOST_VALUES = 1 << 22  # of an array that is filled for a call
SECONDS = 60  # of one call, under sanitizers too


class Source(Protocol):
    """Where choices come from."""

    def integer(self, least: int, most: int) -> int:
        """Return an int between `least` and `most`, both included."""
        ...


class Seeded:
    """Choices of a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def integer(self, least: int, most: int) -> int:
        return int(self.rng.integers(least, most, endpoint=True))


class Bytes:
    """Choices that a string of bytes spells: each takes as few as tell its options apart, and zeros past the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def integer(self, least: int, most: int) -> int:
        count = ((most - least).bit_length() + 7) // 8
        taken, self.data = self.data[:count], self.data[count:]
        return least + int.from_bytes(taken, "little") % (most - least + 1)


def choose(source: Source, options: Sequence[Any]) -> Any:
    return options[source.integer(0, len(options) - 1)]


def often(source: Source, percent: int) -> bool:
    return source.integer(1, 100) <= percent


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


# --- calls


class Call(NamedTuple):
    """A function of the package and its arguments."""

    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    threads: int
    winograd: bool | str = True

    def __str__(self) -> str:
        options = "".join(f", {name}={brief(value)}" for name, value in self.options.items())
        settings = f"on {self.threads} threads, allow_winograd({self.winograd!r})"
        return f"{self.name}({', '.join(map(brief, self.arguments))}{options}) {settings}"

    def run(self) -> Any:
        with fastconv.allow_winograd(self.winograd), fastconv.threads(self.threads):
            if self.name == "Conv2d":
                (x, *weights), options = self.arguments, dict(self.options)
                out = options.pop("out", None)
                return fastconv.Conv2d(*weights, **options)(x, out=out)
            return getattr(fastconv, self.name)(*self.arguments, **self.options)


def brief(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{type(value).__name__} {value.dtype}{value.shape} strides {value.strides}"
    return repr(value)[:80]


def size_of(source: Source) -> int:
    return source.integer(1, 12) if often(source, 85) else choose(source, (13, 17, 33, 64))


def plausible(value: Any, otherwise: int) -> int:
    """`value` if it can be a size of this fuzzer's arrays, for what depends on it."""
    return value if type(value) is int and 1 <= value <= 64 else otherwise


def shape_of(x_shape: tuple[int, ...], operator: Callable[[np.ndarray], np.ndarray]) -> tuple[int, ...]:
    """The shape of an operator's result, or that of its input if there is none or one too large to fill here."""
    try:
        y = operator(np.zeros(x_shape))
    except REFUSALS:
        return x_shape
    return y.shape if y.size <= MOST_VALUES else x_shape


def convolution(source: Source, rank: int) -> Call:
    """A convolution of any kind, forward or backward."""
    nhwc = often(source, 35)
    groups = choose(source, (1, 1, 1, 2, 3, number(source, 4)))
    g = plausible(groups, 1)
    n, c, k = choose(source, (1, 1, 2, 3, 0)), g * source.integer(1, 5), g * source.integer(1, 9)
    if often(source, 15):  # some vectors of channels, and a rest
        c, k = g * choose(source, (3, 16, 40)), g * choose(source, (3, 16, 33, 64))
    kernel = [source.integer(1, 5) for _ in range(rank)] if often(source, 70) else [choose(source, (3, 5))] * rank
    size = [size_of(source) + side - 1 for side in kernel]
    stride, dilation, pad = numbers(source, 3), choose(source, (1, 1, numbers(source, 3))), padding(source, 3)
    if rank == 1:
        stride, dilation = number(source, 4), choose(source, (1, 1, number(source, 3)))
        pad = choose(source, (number(source, 3, 0), "same", "valid", ((1, 2),), ((1, 2), (0, 1)), padding(source, 3)))
    layout = choose(source, ("NHWC", "NLC")[: 3 - rank] if nhwc else ("NCHW", "NCL")[: 3 - rank])
    if often(source, 1):
        layout = choose(source, ("nchw", None, 4, ["NCHW"], "NLC"))
    algo = choose(source, ("auto", "auto", "direct", "im2col", "winograd"))
    if often(source, 1):
        algo = choose(source, ("exact", "F(2x2,3x3)", "", None, 1, [], "im2col\0"))
    dtype = choose(source, FLOATS)
    x_shape = (n, *size, c) if nhwc else (n, c, *size)
    w_shape = (*kernel, c // g, k) if nhwc else (k, c // g, *kernel)
    options = {"stride": stride, "padding": pad, "dilation": dilation, "groups": groups, "layout": layout, "algo": algo}
    if often(source, 40):
        options = {name: value for name, value in options.items() if name in ("layout", "groups")}
    y_shape = shape_of(x_shape, lambda x: getattr(fastconv, f"conv{rank}d")(
        x, np.zeros(w_shape), **{**options, "algo": "auto"}))  # fmt: skip
    x, w = hostile(source, x_shape, dtype), hostile(source, w_shape, dtype)
    dy = hostile(source, y_shape, dtype)
    threads = choose(source, (1, 2, 3, 8))
    kind = choose(source, ("forward", "forward", "backward", "input", "weight", "transpose", "held", "algorithms"))
    biased = often(source, 50)
    if kind == "algorithms":
        shapes = tuple(tuple(number(source, 64) if often(source, 20) else n for n in s) for s in (x_shape, w_shape))
        options.pop("algo", None)
        options["operation"] = choose(source, ("forward", "backward_input", "backward_weight", "sideways"))
        options["dtype"] = choose(source, (*FLOATS, *DTYPES))
        return Call("algorithms", shapes, options, threads)
    if kind == "forward" or (kind == "held" and rank == 2):
        arguments = (x, w, hostile(source, (k,), dtype)) if biased else (x, w)
        if often(source, 40):
            options["activation"] = choose(source, ("relu", "relu", None, "tanh", 1))
        if often(source, 25):
            options["out"] = destination(source, y_shape, dtype, x)
        if kind == "forward" and often(source, 15):
            options["strict"] = True
        return Call("Conv2d" if kind == "held" else f"conv{rank}d", arguments, options, threads)
    if kind == "transpose":
        b = (hostile(source, (c,), dtype),) if biased else ()
        if often(source, 30):
            options["output_padding"] = numbers(source, 2, 0) if rank == 2 else number(source, 2, 0)
        return Call(f"conv_transpose{rank}d", (dy, w, *b), options, threads)
    if kind == "input":
        shape = choose(source, (x_shape, x_shape, x_shape, list(x_shape), tuple(number(source, 9) for _ in x_shape)))
        return Call(f"conv{rank}d_backward_input", (dy, w, shape), options, threads)
    if kind == "weight":
        shape = choose(source, (w_shape, w_shape, w_shape, list(w_shape), tuple(number(source, 9) for _ in w_shape)))
        return Call(f"conv{rank}d_backward_weight", (dy, x, shape), options, threads)
    if often(source, 40):
        options["needs"] = choose(source, ("x", "w", "b", "xw", ("w", "b"), "", "q", 3))
    return Call(f"conv{rank}d_backward", (dy, x, w), options, threads)


def destination(source: Source, shape: tuple[int, ...], dtype: str, x: Any) -> Any:
    """An `out`, good or bad."""
    kind = source.integer(0, 7)
    if kind == 0 and isinstance(x, np.ndarray):  # overlaps the input
        try:
            return x.reshape(-1)[: int(np.prod(shape))].reshape(shape)
        except (ValueError, MemoryError):
            return x
    if kind == 1:
        return hostile(source, shape, dtype)
    return np.zeros(shape, dtype)


def pooling(source: Source, rank: int) -> Call:
    """A pool of any kind, forward or backward."""
    nhwc = often(source, 35)
    kernel = numbers(source, 4) if rank == 2 else number(source, 4)
    size = [size_of(source) + 3 for _ in range(rank)]
    n, c = choose(source, (1, 1, 2, 3, 0)), choose(source, (1, 2, 3, 5, 17, 64))
    shape = (n, *size, c) if nhwc else (n, c, *size)
    options: dict[str, Any] = {"layout": ("NHWC" if nhwc else "NCHW")}
    for name, value in (
        ("stride", numbers(source, 4) if rank == 2 else number(source, 4)),
        ("padding", padding(source, 2)),
        ("dilation", numbers(source, 3) if rank == 2 else number(source, 3)),
        ("ceil_mode", choose(source, (True, False))),
    ):
        if often(source, 40):
            options[name] = value
    dtype = choose(source, FLOATS)
    x = hostile(source, shape, dtype)
    kind = choose(source, ("max", "max_backward", "avg", "avg_backward"))
    family = f"{kind[:3]}_pool{rank}d"
    threads = choose(source, (1, 2, 3, 8))
    y_shape = shape_of(shape, lambda x: getattr(fastconv, f"max_pool{rank}d")(x, kernel, **options))
    if kind.startswith("avg") and often(source, 40):
        options["count_include_pad"] = choose(source, (True, False))
    if not kind.endswith("backward"):
        if kind == "max" and often(source, 30):
            options["return_indices"] = True
        if kind == "max" and often(source, 20):
            options["out"] = destination(source, y_shape, dtype, x)
        if kind == "max" and often(source, 15):
            options["strict"] = True
        return Call(family, (x, kernel), options, threads)
    dy = hostile(source, y_shape, dtype)
    if kind.startswith("avg"):
        given = choose(source, (shape, shape, shape, tuple(number(source, 9) for _ in shape)))
        return Call(f"{family}_backward", (dy, given, kernel), options, threads)
    if often(source, 50):
        plane = int(np.prod(size))
        rng = np.random.default_rng(source.integer(0, 2**32 - 1))
        most = plane - 1 if often(source, 90) else choose(source, (plane, 2**31, 2**62))
        indices = rng.integers(0 if often(source, 95) else -1, most, y_shape, endpoint=True)
        options["indices"] = indices.astype(choose(source, ("i8", "i8", "i4", "u8", ">i8", "f8", "O", "?")))
        if often(source, 20):
            options["indices"] = strided(source, options["indices"])
    return Call(f"{family}_backward", (dy, x, kernel), options, threads)


def normalisation(source: Source, rank: int) -> Call:
    """Local response normalisation, forward or backward; with one axis, an output size or a setting."""
    if rank == 1:
        if often(source, 30):
            name = choose(source, ("threads", "allow_winograd", "show_config"))
            good = {"allow_winograd": (True, False, "fast"), "show_config": ("dicts",)}.get(name)
            return Call(name, (choose(source, good or WRONG) if often(source, 50) else number(source, 9),), {}, 1)
        options = {"stride": number(source, 4), "padding": padding(source, 3), "dilation": number(source, 3)}
        return Call("conv_output_size", (number(source, 99), number(source, 9)), options, 1)
    shape = (choose(source, (1, 2, 0)), choose(source, (1, 3, 5, 16, 33)), size_of(source), size_of(source))
    options = {"layout": choose(source, ("NCHW", "NHWC"))}
    for name in ("alpha", "beta", "k"):
        if often(source, 40):
            options[name] = choose(source, (0, 1, 0.5, -1.0, 1e300, 1e-300, 2, np.nan, np.inf, "1", None, 1j, True))
    dtype = choose(source, FLOATS)
    arrays = [hostile(source, shape, dtype) for _ in range(choose(source, (1, 2)))]
    name = "local_response_norm" + "_backward" * (len(arrays) == 2)
    return Call(name, (*arrays, number(source, 9)), options, choose(source, (1, 2, 3, 8)))


def draw(source: Source) -> Call:
    """One call of an operator."""
    family = choose(source, (convolution, convolution, convolution, pooling, pooling, normalisation))
    call = family(source, choose(source, (2, 2, 2, 1)))
    return call._replace(winograd=choose(source, (True, True, False, "fast")))


# --- what must hold


def arrays_of(values_: Any) -> list[np.ndarray]:
    return [a for a in values_ if isinstance(a, np.ndarray)]


def small(a: np.ndarray) -> bool:
    return a.nbytes < 1 << 24 and a.dtype.kind != "O"


def bits(results: Any) -> list[bytes]:
    results = results if isinstance(results, tuple) else (results,)
    return [np.ascontiguousarray(a).tobytes() for a in arrays_of(results) if small(a)]


def check(call: Call) -> bool:
    """Make a call; whether it computed. What must not happen is an AssertionError, or ends the process."""
    out = call.options.get("out")
    inputs = [a for a in arrays_of((*call.arguments, call.options.get("indices"))) if small(a)]
    apart = not (isinstance(out, np.ndarray) and any(np.may_share_memory(out, a) for a in inputs))
    before = [a.tobytes() for a in inputs]
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    try:
        with np.errstate(all="ignore"):
            result = call.run()
            again = call._replace(threads=1).run() if call.threads > 1 and apart else result
    except REFUSALS as refusal:
        if not str(refusal):
            raise AssertionError(f"{call}: a {type(refusal).__name__} that says nothing") from refusal
        assert before == [a.tobytes() for a in inputs], f"{call}: refused, but wrote to an input"
        return False
    except Exception as other:
        raise AssertionError(f"{call}: {type(other).__name__}: {other}") from other
    finally:
        faulthandler.cancel_dump_traceback_later()
    if apart:
        assert before == [a.tobytes() for a in inputs], f"{call}: wrote to an input"
    if out is not None and not isinstance(result, tuple):
        assert result is out, f"{call}: did not hand out back"
    assert bits(result) == bits(again), f"{call}: other bits on one thread"
    return True
