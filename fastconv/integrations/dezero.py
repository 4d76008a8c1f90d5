"""DeZero's convolutions and pooling over fastconv, gradients included.

``from fastconv.integrations.dezero import patch; patch()`` or ``with patch(): ...``. The functions, and the layers and
models that call them, stay, so code that has imported them is served too; what changes are the ``Function`` classes
that they record. Only ``conv2d_simple`` is itself replaced. CuPy's arrays, dtypes that fastconv does not compute, max
pooling with padding, which in DeZero is of zeros that can win, and every error are DeZero's own.

DeZero 0.0.13 names ``np.int`` as it is imported, which NumPy 1.24 took away; this module lends it for the import.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

import fastconv
from fastconv.arrays import Array
from fastconv.integrations._patch import Patch, Replacements


@contextmanager
def _numpy_int() -> Iterator[None]:
    """Lend NumPy its former ``int`` if it has none."""
    names = vars(np)
    lend = "int" not in names
    if lend:
        names["int"] = int
    try:
        yield
    finally:
        if lend:
            del names["int"]


with _numpy_int():
    from dezero import functions, functions_conv
    from dezero.core import Function
    from dezero.utils import get_conv_outsize, get_deconv_outsize, pair

__all__ = ["patch"]

_FLOATS = (np.float16, np.float32, np.float64)


def _ours(*arrays: Any) -> bool:
    """Tell whether arrays are four-dimensional, of NumPy and of dtypes that fastconv computes."""
    return all(isinstance(array, np.ndarray) and array.ndim == 4 and array.dtype in _FLOATS for array in arrays)


def _outputs(size: Sequence[int], kernel: Sequence[int], how: dict[str, Any]) -> tuple[int, ...] | None:
    """Return the size of the output; None for windows that DeZero shall refuse or make something of."""
    stride, padding = how["stride"], how["padding"]
    if not all(isinstance(n, int) for n in (*kernel, *stride, *padding)):
        return None
    if min(*size, *kernel, *stride) < 1 or min(padding) < 0:
        return None
    outputs = tuple(get_conv_outsize(*axis) for axis in zip(size, kernel, stride, padding, strict=True))
    return outputs if min(outputs) > 0 else None


def _bias(b: Any, channels: int, dtype: Any) -> Array | None:
    """Return a bias in the dtype of the output, which DeZero adds it to in place; None if fastconv does not take it."""
    served = isinstance(b, np.ndarray) and b.shape == (channels,) and b.dtype in _FLOATS
    return b.astype(dtype, copy=False) if served else None


def _how(function: Any) -> dict[str, Any]:
    return {"stride": function.stride, "padding": function.pad}


class Conv2d(functions_conv.Conv2d):  # type: ignore[misc]
    """Convolution; its gradients are `Deconv2d` and `Conv2DGradW`, as in DeZero."""

    def forward(self, x: Array, W: Array, b: Array | None) -> Any:
        """Convolve (N, C, H, W) with (OC, C, KH, KW) and bias (OC,) or None."""
        if not _ours(x, W) or x.shape[1] != W.shape[1] or 0 in W.shape:
            return super().forward(x, W, b)
        bias = _bias(b, len(W), np.result_type(x, W))
        if (b is not None and bias is None) or _outputs(x.shape[2:], W.shape[2:], _how(self)) is None:
            return super().forward(x, W, b)
        return fastconv.conv2d(x, W, bias, **_how(self))


class Deconv2d(functions_conv.Deconv2d):  # type: ignore[misc]
    """Transposed convolution, which is the gradient of a convolution by its images."""

    def forward(self, x: Array, W: Array, b: Array | None) -> Any:
        """Convolve (N, C, H, W) with (C, OC, KH, KW), transposed; ``outsize`` is the size of the output if given."""
        if not _ours(x, W) or x.shape[1] != W.shape[0] or 0 in W.shape or 0 in x.shape[2:]:
            return super().forward(x, W, b)
        bias = _bias(b, W.shape[1], np.result_type(x, W))
        if self.outsize is None:
            axes = zip(x.shape[2:], W.shape[2:], self.stride, self.pad, strict=True)
            size = tuple(get_deconv_outsize(*axis) for axis in axes)
        else:
            size = pair(self.outsize)
        if (b is not None and bias is None) or _outputs(size, W.shape[2:], _how(self)) != x.shape[2:]:
            return super().forward(x, W, b)
        y = fastconv.conv2d_backward_input(x, W, (len(x), W.shape[1], *size), **_how(self))
        if bias is not None:
            y += bias.reshape(1, -1, 1, 1)
        return y


class Conv2DGradW(functions_conv.Conv2DGradW):  # type: ignore[misc]
    """The gradient of a convolution by its filters."""

    def forward(self, x: Array, gy: Array) -> Any:
        """Return (OC, C, KH, KW) from the images and the gradient of the output."""
        how, kernel = _how(self), self.kernel_size
        if not _ours(x, gy) or len(x) != len(gy) or 0 in (gy.shape[1], x.shape[1]):
            return super().forward(x, gy)
        if _outputs(x.shape[2:], kernel, how) != gy.shape[2:]:
            return super().forward(x, gy)
        return fastconv.conv2d_backward_weight(gy, x, (gy.shape[1], x.shape[1], *kernel), **how)


def _window(function: Any, x: Any) -> dict[str, Any] | None:
    """Return the window of a pooling function as fastconv takes it; None for what DeZero shall compute or refuse."""
    if not _ours(x):
        return None
    how = {"kernel_size": pair(function.kernel_size), "stride": pair(function.stride), "padding": pair(function.pad)}
    served = _outputs(x.shape[2:], how["kernel_size"], how) is not None
    within = all(p < k for p, k in zip(how["padding"], how["kernel_size"], strict=True))
    return how if served and within else None


class Pooling(functions_conv.Pooling):  # type: ignore[misc]
    """Max pooling. ``indexes`` are places in the plane, not in the window, if ``window`` is not None."""

    window: dict[str, Any] | None = None

    def forward(self, x: Array) -> Any:
        """Pool (N, C, H, W), and keep where the maxima are."""
        window = _window(self, x)
        if window is None or any(window["padding"]):
            return super().forward(x)
        self.window = window
        y, self.indexes = fastconv.max_pool2d(x, return_indices=True, **window)
        return y

    def backward(self, gy: Any) -> Any:
        """Return the gradient by the images, as a variable with a gradient of its own."""
        return super().backward(gy) if self.window is None else Pooling2DGrad(self)(gy)


class Pooling2DGrad(Function):  # type: ignore[misc]
    """The gradient of `Pooling`: scatters to the maxima."""

    def __init__(self, pooling: Pooling) -> None:
        self.pooling = pooling

    def forward(self, gy: Array) -> Array:
        """Return (N, C, H, W), in the dtype of the images, from (N, C, OH, OW)."""
        x, window = self.pooling.inputs[0].data, self.pooling.window
        gx = fastconv.max_pool2d_backward(gy, x, indices=self.pooling.indexes, **window or {})
        return gx.astype(x.dtype, copy=False)

    def backward(self, ggx: Any) -> Any:
        """Return the gradient by ``gy``."""
        return Pooling2DWithIndexes(self.pooling)(ggx)


class Pooling2DWithIndexes(Function):  # type: ignore[misc]
    """The gradient of `Pooling2DGrad`: gathers from the places of the maxima."""

    def __init__(self, pooling: Pooling) -> None:
        self.pooling = pooling

    def forward(self, x: Array) -> Array:
        """Return (N, C, OH, OW) from (N, C, H, W)."""
        indexes = self.pooling.indexes
        planes, places = (*x.shape[:2], prod(x.shape[2:])), (*x.shape[:2], prod(indexes.shape[2:]))
        return np.take_along_axis(x.reshape(planes), indexes.reshape(places), 2).reshape(indexes.shape)

    def backward(self, gy: Any) -> Any:
        """Return the gradient by ``x``."""
        return Pooling2DGrad(self.pooling)(gy)


class AveragePooling(functions_conv.AveragePooling):  # type: ignore[misc]
    """Average pooling, over zeros in the padding."""

    window: dict[str, Any] | None = None

    def forward(self, x: Array) -> Any:
        """Pool (N, C, H, W)."""
        self.window = _window(self, x)
        if self.window is None:
            return super().forward(x)
        self.input_shape = x.shape
        return fastconv.avg_pool2d(x, **self.window)

    def backward(self, gy: Any) -> Any:
        """Return the gradient by the images, as a variable with a gradient of its own."""
        return super().backward(gy) if self.window is None else AveragePooling2DGrad(self)(gy)


class AveragePooling2DGrad(Function):  # type: ignore[misc]
    """The gradient of `AveragePooling`."""

    def __init__(self, pooling: AveragePooling) -> None:
        self.pooling = pooling

    def forward(self, gy: Array) -> Array:
        """Return (N, C, H, W) from (N, C, OH, OW)."""
        return fastconv.avg_pool2d_backward(gy, self.pooling.input_shape, **self.pooling.window or {})

    def backward(self, ggx: Any) -> Any:
        """Return the gradient by ``gy``."""
        of = self.pooling
        return AveragePooling(of.kernel_size, of.stride, of.pad)(ggx)


def conv2d_simple(x: Any, W: Any, b: Any = None, stride: Any = 1, pad: Any = 0) -> Any:
    """Compute DeZero's convolution by a matrix of its windows as its other convolution."""
    return functions_conv.conv2d(x, W, b, stride, pad)


_REPLACEMENTS = Replacements(
    [
        *((functions_conv, new.__name__, new) for new in (Conv2d, Deconv2d, Conv2DGradW, Pooling, AveragePooling)),
        *((module, "conv2d_simple", conv2d_simple) for module in (functions_conv, functions)),
    ]
)


def patch() -> Patch:
    """Let DeZero compute with fastconv, until ``Patch.undo`` or the end of a ``with`` block.

    Returns
    -------
    Patch
        Patches may be nested. What was recorded under a patch keeps its maxima and windows after it.
    """
    return Patch(_REPLACEMENTS)
