"""DeZero's convolutions and pools over fastconv: ``from fastconv.integrations import dezero; dezero.patch()``.

``conv2d``, ``deconv2d``, ``pooling`` and ``average_pooling`` look up their `Function` classes when they are called.
These are what is replaced, so that every copy of the functions follows, whoever imported it and when.

Each gradient is a `Function` itself, so that gradients have gradients, of any order. ``conv2d_simple`` and
``pooling_simple``, which show the way through ``im2col``, stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dezero import functions_conv as stock
from dezero.core import Function
from dezero.utils import pair

import fastconv
from fastconv.arrays import Array
from fastconv.integrations.swap import Patch, Swap

__all__ = ["patch"]

# What fastconv refuses is DeZero's to compute, or to refuse in its own words.
_REFUSED = (TypeError, ValueError)


class _Conv2d(stock.Conv2d):  # type: ignore[misc]
    def forward(self, x: Array, W: Array, b: Array | None) -> Array:
        try:
            if b is not None:  # DeZero adds it in place: it does not promote the result
                b = b.astype(np.result_type(x, W), copy=False)
            return fastconv.conv2d(x, W, b, stride=self.stride, padding=self.pad)
        except _REFUSED:
            return super().forward(x, W, b)  # type: ignore[no-any-return]

    def backward(self, gy: Any) -> tuple[Any, Any, Any]:
        x, W, b = self.inputs
        gx = _Deconv2d(self.stride, self.pad, x.shape[2:])(gy, W, None)
        gb = None if b.data is None else gy.sum(axis=(0, 2, 3))
        return gx, _Conv2DGradW(self)(x, gy), gb


class _Deconv2d(stock.Deconv2d):  # type: ignore[misc]
    def forward(self, x: Array, W: Array, b: Array | None) -> Array:
        size = self.outsize
        try:
            if size is None:
                size = [
                    stock.get_deconv_outsize(*axis) for axis in zip(x.shape[2:], W.shape[2:], self.stride, self.pad)
                ]  # noqa: B905
            shape = (x.shape[0], W.shape[1], *pair(tuple(size) if isinstance(size, list) else size))
            y = fastconv.conv2d_backward_input(x, W, shape, stride=self.stride, padding=self.pad)
        except _REFUSED:
            return super().forward(x, W, b)  # type: ignore[no-any-return]
        if b is not None:
            y += b.reshape(-1, 1, 1)
        return y

    def backward(self, gy: Any) -> tuple[Any, Any, Any]:
        x, W, b = self.inputs
        gx = _Conv2d(self.stride, self.pad)(gy, W, None)
        gb = None if b.data is None else gy.sum(axis=(0, 2, 3))
        return gx, _Conv2DGradW(self)(gy, x), gb


class _Conv2DGradW(stock.Conv2DGradW):  # type: ignore[misc]
    def forward(self, x: Array, gy: Array) -> Array:
        try:
            shape = (gy.shape[1], x.shape[1], *self.kernel_size)
            return fastconv.conv2d_backward_weight(gy, x, shape, stride=self.stride, padding=self.pad)
        except _REFUSED:
            return super().forward(x, gy)  # type: ignore[no-any-return]

    def backward(self, ggW: Any) -> tuple[Any, Any]:
        x, gy = self.inputs
        gx = _Deconv2d(self.stride, self.pad, x.shape[2:])(gy, ggW, None)
        return gx, _Conv2d(self.stride, self.pad)(x, ggW, None)


class _Pooling(stock.Pooling):  # type: ignore[misc]
    """DeZero's zeros around the image are pixels, which may be a maximum: they are put there, and cut off again."""

    indexes: Array | None = None  # set by DeZero's own forward pass, and then its backward pass follows

    def forward(self, x: Array) -> Array:
        try:
            return fastconv.max_pool2d(self.padded(x), pair(self.kernel_size), stride=pair(self.stride))
        except _REFUSED:
            return super().forward(x)  # type: ignore[no-any-return]

    def backward(self, gy: Any) -> Any:
        return super().backward(gy) if self.indexes is not None else _Scatter(self)(gy)

    def padded(self, x: Array) -> Array:
        """Return the image with its zeros."""
        ph, pw = pair(self.pad)
        return np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw))) if ph or pw else x


class _Scatter(Function):  # type: ignore[misc]
    """Gradient of a max pool: each window's goes to its first maximum."""

    def __init__(self, pool: _Pooling) -> None:
        self.pool = pool

    def forward(self, gy: Array) -> Array:
        pool = self.pool
        x = pool.inputs[0].data
        gx = fastconv.max_pool2d_backward(gy, pool.padded(x), pair(pool.kernel_size), stride=pair(pool.stride))
        (ph, pw), (h, w) = pair(pool.pad), x.shape[2:]
        return gx[:, :, ph : ph + h, pw : pw + w].astype(x.dtype, copy=False)

    def backward(self, ggx: Any) -> Any:
        return _Gather(self.pool)(ggx)


class _Gather(Function):  # type: ignore[misc]
    """Take the pixels that were the maxima of their windows: the transpose of `_Scatter`."""

    def __init__(self, pool: _Pooling) -> None:
        self.pool = pool

    def forward(self, g: Array) -> Array:
        pool = self.pool
        x, kernel, stride = pool.padded(pool.inputs[0].data), pair(pool.kernel_size), pair(pool.stride)
        _, indices = fastconv.max_pool2d(x, kernel, stride=stride, return_indices=True)
        flat = (*indices.shape[:2], -1)
        return np.take_along_axis(pool.padded(g).reshape(flat), indices.reshape(flat), 2).reshape(indices.shape)

    def backward(self, gg: Any) -> Any:
        return _Scatter(self.pool)(gg)


class _AveragePooling(stock.AveragePooling):  # type: ignore[misc]
    served = False

    def forward(self, x: Array) -> Array:
        self.input_shape = x.shape
        try:
            kernel, stride, pad = pair(self.kernel_size), pair(self.stride), pair(self.pad)
            y = fastconv.avg_pool2d(x, kernel, stride=stride, padding=pad)
        except _REFUSED:
            return super().forward(x)  # type: ignore[no-any-return]
        self.served = True
        return y

    def backward(self, gy: Any) -> Any:
        return _Spread(self)(gy) if self.served else super().backward(gy)


class _Spread(Function):  # type: ignore[misc]
    """Gradient of an average pool."""

    def __init__(self, pool: _AveragePooling) -> None:
        self.pool = pool

    def forward(self, gy: Array) -> Array:
        pool = self.pool
        kernel, stride, pad = pair(pool.kernel_size), pair(pool.stride), pair(pool.pad)
        return fastconv.avg_pool2d_backward(gy, pool.input_shape, kernel, stride=stride, padding=pad)

    def backward(self, ggx: Any) -> Any:
        return _AveragePooling(self.pool.kernel_size, self.pool.stride, self.pool.pad)(ggx)


_SWAP = Swap(
    {
        stock: {
            "Conv2d": _Conv2d,
            "Deconv2d": _Deconv2d,
            "Conv2DGradW": _Conv2DGradW,
            "Pooling": _Pooling,
            "AveragePooling": _AveragePooling,
        }
    }
)


def patch() -> Patch:
    """Let DeZero convolve and pool with fastconv, forward and backward, from now on or for a ``with`` block.

    Served are arrays of float16, float32 and float64 in NumPy's memory. All else, integers and CuPy's arrays too, goes
    to DeZero's own code, which also raises the errors. A graph that was recorded under a patch computes its gradients
    with fastconv after it, too.

    Returns
    -------
    Patch
        A context manager that takes fastconv out again on exit, or by ``undo()``. Patches may be nested.

    Notes
    -----
    DeZero 0.0.13 says ``np.int``, which NumPy 1.24 has removed: set ``numpy.int = int`` before the first import of
    ``dezero`` or of this module. With NumPy 2 the weights of its layers are float64, whatever their ``dtype`` says.
    """
    return Patch(_SWAP)
