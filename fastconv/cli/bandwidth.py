"""Bandwidth of memory: the slope of the roofline."""

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np

from fastconv.cli.jobs import Array

__all__ = ["copy_gigabytes"]

_BYTES = 256 << 20  # of source and destination together: more than the caches of one socket hold, as a rule
_ROUNDS = 8


def copy_gigabytes(threads: int, size: int = _BYTES, rounds: int = _ROUNDS) -> float:
    """Measure a copy in memory by so many threads at once.

    NumPy releases the GIL while it copies. As in STREAM (McCalpin, 1995) a copied byte counts twice, once read and
    once written.

    Parameters
    ----------
    threads : int
        Each copies a part of its own.
    size : int
        Bytes of the source and the destination together.
    rounds : int
        Copies; the fastest counts. One more comes before them, which touches the memory.

    Returns
    -------
    float
        GB/s.
    """
    part = size // (2 * threads)
    source = [np.ones(part, np.uint8) for _ in range(threads)]
    target = [np.empty(part, np.uint8) for _ in range(threads)]
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for done in range(rounds + 1):
            start = perf_counter()
            list(pool.map(_copy, target, source))
            time = perf_counter() - start
            if done:
                best = min(best, time)
    return 2 * part * threads / best / 1e9


def _copy(target: Array, source: Array) -> None:
    np.copyto(target, source)
