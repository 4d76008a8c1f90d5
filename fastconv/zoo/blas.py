"""NumPy's BLAS on one thread while a model computes.

The idle threads of OpenBLAS spin for about 0.1 s after each product, on the cores that the next convolution needs: in
GoogLeNet's backward pass one product of a millisecond would cost fifty.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from threading import Lock
from typing import Any

__all__ = ["single_thread"]

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
