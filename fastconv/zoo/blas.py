"""NumPy's BLAS on one thread while a model computes, and large products in parts beside each other.

The idle threads of OpenBLAS spin for about 0.1 s after each product, on the cores that the next convolution needs: in
GoogLeNet's backward pass one product of a millisecond would cost fifty. Threads of Python sleep when they are done.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from threading import Lock
from typing import Any

import numpy as np

from fastconv.arrays import Array
from fastconv.threads import get_num_threads

__all__ = ["product", "single_thread"]

# A matrix of this many bytes takes a millisecond to pass through memory, threads of Python a tenth of one to start.
_LARGE = 8 << 20
_PART = 512  # rows or columns, whatever the number of threads: the bits do not depend on it

_lock = Lock()
_users = 0
_limit: AbstractContextManager[Any] | None = None


@cache
def _controller() -> Any:
    """Find the BLAS that is loaded; None without threadpoolctl."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()


@contextmanager
def single_thread() -> Iterator[None]:
    """Hold BLAS to one thread, if threadpoolctl is installed; else leave it alone.

    The number of threads belongs to the process. The first of several threads that enter at once sets it, the last one
    to leave restores it.
    """
    global _users, _limit
    controller = _controller()
    if controller is None:
        yield
        return
    with _lock:
        if _users == 0:
            _limit = controller.limit(limits=1, user_api="blas")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _limit is not None:
                _limit.__exit__(None, None, None)
                _limit = None


def product(a: Array, b: Array, out: Array | None = None) -> Array:
    """Return the product of two matrices, in parts on fastconv's threads where `single_thread` holds BLAS to one.

    A fully connected layer takes little longer than its weights take to pass through memory, which one core reads at
    half the pace of two.
    """
    if out is None:
        out = np.empty((len(a), b.shape[1]), np.result_type(a, b))
    if _limit is None or max(a.nbytes, b.nbytes, out.nbytes) < _LARGE:
        return np.matmul(a, b, out=out)
    by_rows = len(out) >= out.shape[1]

    def compute(start: int) -> None:
        part = slice(start, start + _PART)
        if by_rows:
            np.matmul(a[part], b, out=out[part])
        else:
            np.matmul(a, b[:, part], out=out[:, part])

    with ThreadPoolExecutor(get_num_threads()) as pool:  # a new one each time: a pool's threads do not survive a fork
        list(pool.map(compute, range(0, max(out.shape), _PART)))
    return out
