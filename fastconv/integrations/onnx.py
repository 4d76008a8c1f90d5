"""ONNX operators for the reference evaluator: ``ReferenceEvaluator(model, new_ops=operators())``.

Problems with more than two spatial axes, and dtypes that fastconv does not compute, go to the stock operators. A pool's
padding must be smaller than its dilated kernel, as in ONNX Runtime.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops import op_average_pool, op_conv, op_conv_transpose, op_global_average_pool, op_lrn, op_max_pool

import fastconv
from fastconv.arrays import Array
from fastconv.integrations._onnx_pads import Sides, Window

__all__ = ["LRN", "AveragePool", "Conv", "ConvTranspose", "GlobalAveragePool", "MaxPool", "operators"]

_FLOATS = (np.float16, np.float32, np.float64)


def _served(x: Array) -> bool:
    return x.ndim in (3, 4) and x.dtype in _FLOATS


def _of_weights(w: Array, attributes: dict[str, Any]) -> Window:
    shape = attributes.get("kernel_shape")
    if shape and tuple(shape) != w.shape[2:]:
        raise ValueError(f"kernel_shape {tuple(shape)} is not that of the weights, {w.shape}")
    return Window.of(w.shape[2:], attributes)


def _of_pool(x: Array, attributes: dict[str, Any]) -> tuple[Window, Sides, bool]:
    """Return window, padding and whether to round the output's size up; ONNX's automatic padding leaves no choice."""
    window = Window.of(attributes["kernel_shape"], attributes)
    rounded = attributes.get("auto_pad") in (None, "", "NOTSET") and bool(attributes.get("ceil_mode"))
    return window, window.padding(x.shape[2:], attributes), rounded


class Conv(op_conv.Conv):  # type: ignore[misc]
    """Convolution of any group, stride, dilation and padding."""

    def _run(self, X: Array, W: Array, B: Array | None = None, **attributes: Any) -> tuple[Any, ...]:
        if not _served(X):
            return super()._run(X, W, B, **attributes)  # type: ignore[no-any-return]
        window = _of_weights(W, attributes)
        conv = fastconv.conv2d if X.ndim == 4 else fastconv.conv1d
        y = conv(
            X,
            W,
            B,
            stride=window.stride,
            padding=window.padding(X.shape[2:], attributes),
            dilation=window.dilation,
            groups=attributes.get("group") or 1,
        )
        return (y,)


class ConvTranspose(op_conv_transpose.ConvTranspose):  # type: ignore[misc]
    """Transposed convolution.

    An ``output_shape`` that goes on for a whole stride, or dilation, beyond all filters is a ValueError.
    """

    def _run(self, X: Array, W: Array, B: Array | None = None, **attributes: Any) -> tuple[Any, ...]:
        if not _served(X):
            return super()._run(X, W, B, **attributes)  # type: ignore[no-any-return]
        window = _of_weights(W, attributes)
        padding, output_padding = window.transposed(X.shape[2:], attributes)
        conv = fastconv.conv_transpose2d if X.ndim == 4 else fastconv.conv_transpose1d
        y = conv(
            X,
            W,
            B,
            stride=window.stride,
            padding=padding,
            output_padding=output_padding,
            dilation=window.dilation,
            groups=attributes.get("group") or 1,
        )
        return (y,)


def _flat_indices(indices: Array, size: Sequence[int], column_major: bool) -> Array:
    """Turn indices within each plane, row by row, into ONNX's, which count on from plane to plane."""
    if column_major and len(size) == 2:
        row, column = np.divmod(indices, size[1])
        indices = column * size[0] + row
    planes = np.arange(math.prod(indices.shape[:2])).reshape(indices.shape[:2] + (1,) * len(size))
    flat: Array = indices + planes * math.prod(size)
    return flat


class MaxPool(op_max_pool.MaxPool):  # type: ignore[misc]
    """Maximum pooling, with the indices of the maxima where the node has a second output."""

    def _run(self, x: Array, **attributes: Any) -> tuple[Any, ...]:
        if not _served(x):
            return super()._run(x, **attributes)  # type: ignore[no-any-return]
        window, padding, rounded = _of_pool(x, attributes)
        pool = fastconv.max_pool2d if x.ndim == 4 else fastconv.max_pool1d
        y, indices = pool(
            x,
            window.kernel,
            stride=window.stride,
            padding=padding,
            dilation=window.dilation,
            ceil_mode=rounded,
            return_indices=True,
        )
        if len(self.output) == 1:
            return (y,)
        return y, _flat_indices(indices, x.shape[2:], bool(attributes.get("storage_order")))


class AveragePool(op_average_pool.AveragePool_19):  # type: ignore[misc]
    """Average pooling of all versions of the operator."""

    def _run(self, x: Array, **attributes: Any) -> tuple[Any, ...]:
        if not _served(x):
            return super()._run(x, **attributes)  # type: ignore[no-any-return]
        window, padding, rounded = _of_pool(x, attributes)
        pool = fastconv.avg_pool2d if x.ndim == 4 else fastconv.avg_pool1d
        y = pool(
            x,
            window.kernel,
            stride=window.stride,
            padding=padding,
            dilation=window.dilation,
            ceil_mode=rounded,
            count_include_pad=bool(attributes.get("count_include_pad")),
        )
        return (y,)


class GlobalAveragePool(op_global_average_pool.GlobalAveragePool):  # type: ignore[misc]
    """The mean of each plane."""

    def _run(self, x: Array) -> tuple[Any, ...]:
        if not _served(x):
            return super()._run(x)  # type: ignore[no-any-return]
        return ((fastconv.avg_pool2d if x.ndim == 4 else fastconv.avg_pool1d)(x, x.shape[2:]),)


class LRN(op_lrn.LRN):  # type: ignore[misc]
    """Local response normalisation across channels."""

    def _run(
        self, x: Array, alpha: float | None = None, beta: float | None = None, bias: float | None = None, size: int = 1
    ) -> tuple[Any, ...]:
        if x.ndim != 4 or x.dtype not in _FLOATS:
            return super()._run(x, alpha=alpha, beta=beta, bias=bias, size=size)  # type: ignore[no-any-return]
        # ONNX's window of even size has its odd channel after the centre, fastconv's before: the order is turned round.
        order = slice(None, None, -1 if size % 2 == 0 else None)
        y = fastconv.local_response_norm(x[:, order], size, alpha=alpha or 0.0, beta=beta or 0.0, k=bias or 0.0)
        return (y[:, order],)


def operators() -> list[type[OpRun]]:
    """Return the operators that fastconv serves, for ``ReferenceEvaluator(model, new_ops=...)``."""
    return [AveragePool, Conv, ConvTranspose, GlobalAveragePool, LRN, MaxPool]
