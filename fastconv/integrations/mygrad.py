"""MyGrad's ``conv_nd`` and ``max_pool`` over fastconv, gradients included.

``from fastconv.integrations.mygrad import patch; patch()`` or ``with patch(): ...``. The two functions look up their
operations, ``ConvND`` and ``MaxPoolND``, when they are called. These are what is replaced, so that every copy of the
functions follows, whoever imported it and when. Three axes and more, dtypes that fastconv does not compute, and every
error are MyGrad's own.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from importlib import import_module
from numbers import Integral
from typing import Any

import numpy as np

import fastconv
from fastconv.arrays import Array
from fastconv.integrations._patch import Patch, Replacements

__all__ = ["patch"]

# By name: the package's attributes of the same path are functions.
_conv, _pooling = import_module("mygrad.nnet.layers.conv"), import_module("mygrad.nnet.layers.pooling")

_FLOATS = (np.float16, np.float32, np.float64)


def _ints(value: Any, rank: int, least: int) -> tuple[int, ...] | None:
    """Return an int, or one int an axis, as MyGrad takes them; None for what it shall refuse or make something of."""
    try:
        ints = (operator.index(value),) * rank if isinstance(value, Integral) else tuple(map(operator.index, value))
    except TypeError:
        return None
    return ints if len(ints) == rank and min(ints) >= least else None


def _tiles(size: Sequence[int], span: Sequence[int], stride: Sequence[int]) -> bool:
    """Tell whether windows tile the axes, as MyGrad asks."""
    return all(n >= k and (n - k) % step == 0 for n, k, step in zip(size, span, stride, strict=True))


def _conv_how(x: Array, w: Array, stride: Any, padding: Any, dilation: Any) -> dict[str, Any] | None:
    """Return the arguments of a convolution as fastconv takes them; None for what is MyGrad's."""
    rank = x.ndim - 2
    if rank not in (1, 2) or w.ndim != x.ndim or x.shape[1] != w.shape[1] or 0 in x.shape[1:] + w.shape:
        return None
    if x.dtype not in _FLOATS or w.dtype not in _FLOATS:
        return None
    steps, pads, holes = _ints(stride, rank, 1), _ints(padding, rank, 0), _ints(dilation, rank, 1)
    if steps is None or pads is None or holes is None:
        return None
    padded = [n + 2 * pad for n, pad in zip(x.shape[2:], pads, strict=True)]
    if any(k * hole > n for n, k, hole in zip(padded, w.shape[2:], holes, strict=True)):
        return None  # MyGrad wants room for the holes behind the last tap, too
    span = [(k - 1) * hole + 1 for k, hole in zip(w.shape[2:], holes, strict=True)]
    return {"stride": steps, "padding": pads, "dilation": holes} if _tiles(padded, span, steps) else None


class ConvND(_conv.ConvND):  # type: ignore[misc, name-defined]
    """The operation of ``conv_nd``; ``how`` is None if it is MyGrad's own."""

    def __call__(self, x: Any, w: Any, *, stride: Any, padding: Any = 0, dilation: Any = 1) -> Any:
        """Convolve (N, C, ...) with (F, C, ...) and remember both for the gradients."""
        self.how = _conv_how(x.data, w.data, stride, padding, dilation)
        if self.how is None:
            return super().__call__(x, w, stride=stride, padding=padding, dilation=dilation)
        self.variables = (x, w)
        return (fastconv.conv1d if x.data.ndim == 3 else fastconv.conv2d)(x.data, w.data, **self.how)

    def backward_var(self, grad: Array, index: int, **kwargs: Any) -> Any:
        """Return the gradient by the data, index 0, or by the filters."""
        if self.how is None:
            return super().backward_var(grad, index, **kwargs)
        x, w = (variable.data for variable in self.variables)
        flat = x.ndim == 3
        if index == 0:
            by_input = fastconv.conv1d_backward_input if flat else fastconv.conv2d_backward_input
            return by_input(grad, w, x.shape, **self.how)
        by_weight = fastconv.conv1d_backward_weight if flat else fastconv.conv2d_backward_weight
        return by_weight(grad, x, w.shape, **self.how)


def _pool_how(x: Array, pool: Any, stride: Any) -> dict[str, Any] | None:
    """Return the arguments of a pool with two axes; None for what is MyGrad's."""
    if not isinstance(pool, (tuple, list, np.ndarray)) or x.dtype not in _FLOATS or 0 in x.shape:
        return None
    rank = len(pool)
    if rank not in (1, 2) or x.ndim < rank:
        return None
    kernel, steps = _ints(pool, rank, 1), _ints(stride, rank, 1)
    if kernel is None or steps is None or not _tiles(x.shape[-rank:], kernel, steps):
        return None
    lift = (1,) * (2 - rank)
    return {"kernel_size": lift + kernel, "stride": lift + steps}


class MaxPoolND(_pooling.MaxPoolND):  # type: ignore[misc, name-defined]
    """The operation of ``max_pool``, over the last axes; ``how`` is None if it is MyGrad's own."""

    def __call__(self, x: Any, pool: Any, stride: Any) -> Any:
        """Pool, and remember the data for the gradient."""
        self.how = _pool_how(x.data, pool, stride)
        if self.how is None:
            return super().__call__(x, pool, stride)
        self.variables = (x,)
        self.rank = len(pool)
        y = fastconv.max_pool2d(self._planes(x.data), **self.how)
        return y.reshape(*x.data.shape[: -self.rank], *y.shape[-self.rank :])

    def backward_var(self, grad: Array, index: int, **kwargs: Any) -> Any:
        """Return the gradient by the data; the first maximum of a window takes it, as in MyGrad."""
        if self.how is None:
            return super().backward_var(grad, index, **kwargs)
        x = self.variables[0].data
        return fastconv.max_pool2d_backward(self._planes(grad), self._planes(x), **self.how).reshape(x.shape)

    def _planes(self, array: Array) -> Array:
        """Return an array with four axes, of which the last two are pooled."""
        height = () if self.rank == 2 else (1,)
        return array.reshape(1, -1, *height, *array.shape[array.ndim - self.rank :])


_REPLACEMENTS = Replacements([(_conv, "ConvND", ConvND), (_pooling, "MaxPoolND", MaxPoolND)])


def patch() -> Patch:
    """Let MyGrad compute with fastconv, until ``Patch.undo`` or the end of a ``with`` block.

    Returns
    -------
    Patch
        Patches may be nested. A graph recorded under a patch computes its gradients with fastconv after it, too.

    Examples
    --------
    >>> import mygrad
    >>> from mygrad.nnet import max_pool
    >>> with patch():
    ...     max_pool(mygrad.tensor([1.0, 3.0, 2.0, 0.0]), (2,), 2)
    Tensor([3., 2.])
    """
    return Patch(_REPLACEMENTS)
