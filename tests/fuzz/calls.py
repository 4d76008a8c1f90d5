"""Calls of every public operator with hostile arguments, and what must hold of each."""

from __future__ import annotations

import faulthandler
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from arguments import DTYPES, FLOATS, MOST_VALUES, WRONG, hostile, number, numbers, padding, strided
from source import Source, choose, often

import fastconv

REFUSALS = (ValueError, TypeError, MemoryError)
SECONDS = 60  # of one call, under sanitizers too
CLAIM = 2**31  # elements, and more than any array that is filled

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


def endless(call: Call) -> bool:
    """Whether a gradient would sum over all that its operands claim: of time nothing is promised, only of memory."""
    claims = [a for a in arrays_of(call.arguments) if a.size >= CLAIM]
    return call.name.startswith("conv") and "backward" in call.name and len(claims) > 1


def check(call: Call) -> bool:
    """Make a call; whether it computed. What must not happen is an AssertionError, or ends the process."""
    if endless(call):
        return False
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
