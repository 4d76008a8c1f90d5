"""MyGrad's ``conv_nd`` and ``max_pool`` over fastconv: ``from fastconv.integrations import mygrad; mygrad.patch()``.

The two functions look up their operations, ``ConvND`` and ``MaxPoolND``, when they are called. These are what is
replaced, so that every copy of the functions follows, whoever imported it and when.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from importlib import import_module
from numbers import Integral
from typing import Any

import numpy as np

import fastconv
from fastconv.arrays import Array
from fastconv.integrations.swap import Patch, Swap

__all__ = ["patch"]

_conv, _pooling = import_module("mygrad.nnet.layers.conv"), import_module("mygrad.nnet.layers.pooling")

_CONV: dict[int, tuple[Callable[..., Array], Callable[..., Array], Callable[..., Array]]] = {
    1: (fastconv.conv1d, fastconv.conv1d_backward_input, fastconv.conv1d_backward_weight),
    2: (fastconv.conv2d, fastconv.conv2d_backward_input, fastconv.conv2d_backward_weight),
}
_POOL: dict[int, tuple[Callable[..., Array], Callable[..., Array]]] = {
    1: (fastconv.max_pool1d, fastconv.max_pool1d_backward),
    2: (fastconv.max_pool2d, fastconv.max_pool2d_backward),
}


def _ints(value: Any, rank: int) -> tuple[int, ...]:
    """Return MyGrad's int, or one int an axis; TypeError for what fastconv takes beyond them."""
    return (operator.index(value),) * rank if isinstance(value, Integral) else tuple(map(operator.index, value))


class _ConvND(_conv.ConvND):  # type: ignore[misc, name-defined]
    """The operation of ``conv_nd``; what fastconv refuses is MyGrad's to compute, or to refuse in its own words."""

    def __call__(self, x: Any, w: Any, *, stride: Any, padding: Any = 0, dilation: Any = 1) -> Array:
        self.variables = (x, w)
        self.served = False
        rank = x.data.ndim - 2
        if rank in _CONV:
            forward, self.by_input, self.by_weight = _CONV[rank]
            try:
                self.how = {
                    "stride": _ints(stride, rank),
                    "padding": _ints(padding, rank),
                    "dilation": _ints(dilation, rank),
                }
                y = forward(x.data, w.data, strict=True, **self.how)
            except (TypeError, ValueError):
                pass
            else:
                self.served = True
                return y
        return super().__call__(x, w, stride=stride, padding=padding, dilation=dilation)  # type: ignore[no-any-return]

    def backward_var(self, grad: Array, index: int, **kwargs: Any) -> Array:
        """Return the gradient by the data, index 0, or by the filters."""
        if not self.served:
            return super().backward_var(grad, index, **kwargs)  # type: ignore[no-any-return]
        x, w = (variable.data for variable in self.variables)
        return self.by_weight(grad, x, w.shape, **self.how) if index else self.by_input(grad, w, x.shape, **self.how)


class _MaxPoolND(_pooling.MaxPoolND):  # type: ignore[misc, name-defined]
    """The operation of ``max_pool``: over the last axes, however many there are before them."""

    def __call__(self, x: Any, pool: Any, stride: Any) -> Array:
        self.variables = (x,)
        self.served = False
        if isinstance(pool, (tuple, list, np.ndarray)) and len(pool) in _POOL:
            self.rank = len(pool)
            forward, self.by_input = _POOL[self.rank]
            try:
                self.how = {"kernel_size": _ints(pool, self.rank), "stride": _ints(stride, self.rank)}
                y = forward(self._planes(x.data), strict=True, **self.how)
            except (TypeError, ValueError):
                pass
            else:
                self.served = True
                return y.reshape(*x.data.shape[: -self.rank], *y.shape[2:])
        return super().__call__(x, pool, stride)  # type: ignore[no-any-return]

    def _planes(self, array: Array) -> Array:
        """Return an array with two axes before those that are pooled."""
        if array.ndim == self.rank + 2:
            return array
        return array.reshape(1, -1, *array.shape[max(array.ndim - self.rank, 0) :])

    def backward_var(self, grad: Array, index: int, **kwargs: Any) -> Array:
        """Return the gradient by the data; the first maximum of a window takes it, as in MyGrad."""
        if not self.served:
            return super().backward_var(grad, index, **kwargs)  # type: ignore[no-any-return]
        x = self.variables[0].data
        dx = self.by_input(self._planes(grad), self._planes(x), **self.how)
        return dx if dx.shape == x.shape else dx.reshape(x.shape)


_SWAP = Swap({_conv: {"ConvND": _ConvND}, _pooling: {"MaxPoolND": _MaxPoolND}})


def patch() -> Patch:
    """Let MyGrad convolve and pool with fastconv, forward and backward, from now on or for a ``with`` block.

    Served are data with one or two axes to convolve or to pool over, in float16, float32 and float64. All else, 3-D and
    integers too, goes to MyGrad's own code, which also raises the errors. A graph that was recorded under a patch
    computes its gradients with fastconv after it, too.

    Returns
    -------
    Patch
        A context manager that takes fastconv out again on exit, or by ``undo()``. Patches may be nested.

    Examples
    --------
    >>> import mygrad
    >>> from mygrad.nnet import max_pool
    >>> with patch():
    ...     max_pool(mygrad.tensor([1.0, 3.0, 2.0, 0.0]), (2,), 2)
    Tensor([3., 2.])
    """
    return Patch(_SWAP)
