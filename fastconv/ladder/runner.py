"""Runs a step, checks it against the reference, and times it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from time import perf_counter
from timeit import Timer

import numpy as np

from fastconv import _ladder, reference
from fastconv.cli.machine import limited_threads
from fastconv.cli.measure import check
from fastconv.cli.problems import Problem
from fastconv.cli.timing import wait_until_idle
from fastconv.ladder.arrays import Array
from fastconv.ladder.steps import Step

__all__ = ["Timing", "expected", "inputs", "measure", "operations", "run"]


@dataclass(frozen=True)
class Timing:
    """Time of one step: seconds of its fastest call, or None and why it does not serve the problem."""

    step: Step
    seconds: float | None
    threads: int
    refused: str = ""


def _family(step: Step) -> str:
    return step.name.partition("_")[0]


def _shapes(step: Step, d: Problem) -> tuple[tuple[int, ...], tuple[int, ...] | None, tuple[int, ...]]:
    """Shapes of what a step reads and gives: x, w and y; dy, w and dx; or x, nothing and y."""
    family = _family(step)
    if family == "pool":
        return d.x_shape, None, (d.n, d.c, *d.y_shape[2:])
    return (d.y_shape, d.w_shape, d.x_shape) if family == "backward" else (d.x_shape, d.w_shape, d.y_shape)


def operations(step: Step, d: Problem) -> int:
    """Count the operations of a problem: comparisons of a pool, else two for each multiply-add, padding included."""
    return d.n * d.c * d.y_shape[2] * d.y_shape[3] * d.r * d.s if _family(step) == "pool" else d.flops


def inputs(step: Step, d: Problem) -> tuple[Array, Array | None]:
    """Give reproducible operands, x and w, that are neither small nor large; a pool has no w."""
    rng = np.random.default_rng(0)
    x_shape, w_shape, _ = _shapes(step, d)
    x = rng.standard_normal(x_shape, np.float32)
    if w_shape is None:
        return x, None
    return x, rng.standard_normal(w_shape, np.float32) / np.float32(np.sqrt(d.c * d.r * d.s))


def expected(step: Step, x: Array, w: Array | None, d: Problem) -> Array:
    """Compute by `fastconv.reference` what a step has to give."""
    if w is None:
        y = reference.max_pool2d(x, (d.r, d.s), stride=(d.u, d.v), padding=(d.p, d.q))
        assert isinstance(y, np.ndarray)
        return y
    if _family(step) == "backward":
        return reference.conv2d_backward_input(x, w, d.x_shape, **d.conv_kwargs)
    return reference.conv2d(x, w, **d.conv_kwargs)


def _call(step: Step) -> Callable[[Array, Array | None, Problem], Array]:
    if step.source.endswith(".py"):
        function: Callable[[Array, Array | None, Problem], Array] = import_module(f"fastconv.ladder.{step.name}").step
        return function
    compiled = getattr(_ladder, step.name) if step.source.endswith(".pyx") else partial(_ladder.run, step.name)

    def call(x: Array, w: Array | None, d: Problem) -> Array:
        y = np.empty(_shapes(step, d)[2], np.float32)
        compiled(x, w, y, d)
        return y

    return call


def run(step: Step, x: Array, w: Array | None, d: Problem) -> Array:
    """Run a step.

    Parameters
    ----------
    step : Step
        One of `FAMILIES`.
    x : ndarray, float32, C-contiguous
        Images, (n, c, h, w); of a backward step the gradient by the output, (n, k, oh, ow).
    w : ndarray, float32, C-contiguous, or None
        Filters, (k, c, r, s); None for a pool. Finite: steps differ in whether they multiply the zeros of the padding.
    d : Problem
        The sizes. A pool's window is r x s, and its k is not used.

    Returns
    -------
    ndarray, float32
        The output, (n, k, oh, ow), of a pool (n, c, oh, ow); of a backward step the gradient by the input,
        (n, c, h, w).

    Raises
    ------
    ValueError
        If a shape is not the problem's, an array is not float32 and C-contiguous, or the problem has dilation, groups,
        a pool as much padding as window, or what else the step does not serve.
    MemoryError
        If there is no memory for the step's matrix.
    """
    if (d.dh, d.dw, d.g) != (1, 1, 1):
        raise ValueError(f"the ladder has no dilation and no groups, got dh{d.dh} dw{d.dw} g{d.g}")
    if _family(step) == "pool" and (d.p >= d.r or d.q >= d.s):
        raise ValueError(f"a pool's padding must be smaller than its window, got p{d.p} q{d.q} for r{d.r} s{d.s}")
    x_shape, w_shape, _ = _shapes(step, d)
    for name, array, shape in (("x", x, x_shape), ("w", w, w_shape)):
        if shape is None or array is None:
            if (shape is None) != (array is None):
                raise ValueError(f"{name} must {'not ' if shape is None else ''}be given for {step.name}")
        elif array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
        elif array.dtype != np.float32 or not array.flags.c_contiguous:
            raise ValueError(f"{name} must be float32 and C-contiguous")
    return _call(step)(x, w, d)


def measure(step: Step, d: Problem, *, threads: int, seconds: float = 0.5) -> Timing:
    """Check a step against the reference, and time it.

    Parameters
    ----------
    step : Step
        One of `FAMILIES`.
    d : Problem
        The sizes.
    threads : int
        Threads of a parallel step; the others take one, and so does NumPy's BLAS.
    seconds : float
        Time budget; a call that takes longer is not repeated. The fastest of all calls counts.

    Raises
    ------
    ArithmeticError
        If the result is not the reference's.
    """
    x, w = inputs(step, d)
    threads = threads if step.parallel else 1
    with limited_threads(threads):
        start = perf_counter()
        try:
            y = run(step, x, w, d)
        except ValueError as error:
            return Timing(step, None, threads, str(error))
        first = perf_counter() - start
        check(step.name, y, expected(step, x, w, d))
        call = _call(step)
        wait_until_idle()
        times = Timer(lambda: call(x, w, d)).repeat(int(seconds / first), 1)
    return Timing(step, min([first, *times]), threads)
