"""Where the roofline places a step: peak and bandwidth measured, intensity from what the step reads and writes.

Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model for Multicore Architectures", 2009.
Here with two bandwidths: between L1 and the registers, where the innermost loop lives, and of the cache or memory that
an array as large as all operands lies in.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from time import perf_counter

import numpy as np

from fastconv import _core, _ladder
from fastconv.cli.problems import Problem
from fastconv.ladder.arrays import Array
from fastconv.ladder.runner import operations
from fastconv.ladder.steps import Step

__all__ = ["Place", "bandwidth", "footprint", "peak", "place"]

L1_BYTES = 16 << 10
"""An array that lies in any L1 cache of today, which are 32 KiB and more."""

_LINE = 64  # bytes; the widest vector, too
_READ_SECONDS = 2e-3
_ROUNDS = 8


@dataclass(frozen=True)
class Place:
    """A step's place: operations for each byte, and the rate that is the most there.

    `near` is by what passes between L1 and the registers, None where it is not known; `far` by the arrays that are read
    and written, beyond L1. `roof` is in 1e9 operations a second; `by` says what it comes from: ``"peak"``, ``"L1"`` or
    ``"beyond L1"``.
    """

    near: float | None
    far: float
    roof: float
    by: str


def _aligned(size: int) -> Array:
    """Zeros that have been written to, so that their pages exist, and begin with a cache line."""
    raw = np.ones(size + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    data = raw[start : start + size].view(np.float32)
    data.fill(0)
    return data


@cache
def bandwidth(size: int, threads: int) -> float:
    """Measure how fast an array of `size` bytes is read, each thread its part, over and over; GB/s of all together."""
    part = max(size // threads // 1024, 1) * 1024  # whole rounds of the reading loop
    arrays = [_aligned(part) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:

        def seconds(passes: int) -> float:
            start = perf_counter()
            for _ in pool.map(lambda array: _ladder.read(array, passes), arrays):
                pass
            return perf_counter() - start

        passes = max(1, int(_READ_SECONDS / seconds(1)))
        while (least := seconds(passes)) < _READ_SECONDS:  # the first pass woke the threads and filled the caches
            passes *= 2
        least = min(least, *(seconds(passes) for _ in range(_ROUNDS)))
    return part * threads * passes / least / 1e9


@cache
def peak(threads: int) -> float:
    """Measure the CPU's multiply-adds on registers, in GFLOP/s: the most of several tries, some of them disturbed."""
    return max(_core.peak_gflops("float32", threads) for _ in range(_ROUNDS))


def footprint(step: Step, d: Problem) -> int:
    """Bytes of all arrays of a step: what it reads, what it writes, and the matrix of windows if it makes one."""
    x, w = d.n * d.c * d.h * d.w, d.k * d.c * d.r * d.s
    outputs = d.n * d.y_shape[2] * d.y_shape[3]
    if step.name.startswith("pool"):
        return 4 * (x + d.c * outputs)
    return 4 * (x + w + d.k * outputs + (d.c * d.r * d.s * outputs if step.matrix else 0))


def _near_bytes(loads: str) -> float | None:
    """Bytes between L1 and registers for each multiply-add."""
    rows, columns = _ladder.tile()
    known = {
        "dot": 8.0,
        "update": 12.0,
        "row": 4 + 4 / columns,
        "tile": 4 / rows + 4 / columns,
        "tap": 4.0,
    }
    return known.get(loads)


def place(step: Step, d: Problem, threads: int) -> Place:
    """Place a step on the roofline of the threads that it uses.

    Parameters
    ----------
    step : Step
        One of `fastconv.ladder.FAMILIES`.
    d : Problem
        The sizes.
    threads : int
        Threads that the step uses.
    """
    pool = step.name.startswith("pool")
    each = 1 if pool else 2  # a comparison, or a product and a sum
    size = footprint(step, d)
    moved = size + (4 * d.n * d.c * d.r * d.s * d.y_shape[2] * d.y_shape[3] if step.matrix else 0)  # written, then read
    far = operations(step, d) / moved
    near_bytes = _near_bytes(step.loads)
    near = None if near_bytes is None else each / near_bytes
    roofs = {"peak": peak(threads) * each / 2, "beyond L1": far * bandwidth(size, threads)}
    if near is not None:
        roofs["L1"] = near * bandwidth(L1_BYTES * threads, threads)
    by = min(roofs, key=roofs.__getitem__)
    return Place(near, far, roofs[by], by)
