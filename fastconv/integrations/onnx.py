"""ONNX operators for the reference evaluator: ``ReferenceEvaluator(model, new_ops=operators())``.

Problems with more than two spatial axes, and dtypes that fastconv does not compute, go to the stock operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops import op_conv, op_lrn

import fastconv
from fastconv.arrays import Array

__all__ = ["LRN", "Conv", "operators"]

_FLOATS = (np.float16, np.float32, np.float64)


def _served(x: Array) -> bool:
    return x.ndim in (3, 4) and x.dtype in _FLOATS


def _padding(
    auto_pad: str | None,
    pads: Sequence[int] | None,
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """Return ((before, after), ...) of each axis."""
    rank = len(size)
    if auto_pad in (None, "", "NOTSET"):
        sides = list(pads) if pads else [0] * (2 * rank)
        return tuple(zip(sides[:rank], sides[rank:], strict=True))
    if auto_pad == "VALID":
        return ((0, 0),) * rank
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, not {auto_pad!r}")
    sides_of = []
    for length, taps, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        total = max((-(-length // stride) - 1) * stride + dilation * (taps - 1) + 1 - length, 0)
        less, more = total // 2, total - total // 2
        sides_of.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
    return tuple(sides_of)


class Conv(op_conv.Conv):  # type: ignore[misc]
    """Convolution of any group, stride, dilation and padding."""

    def _run(
        self,
        X: Array,
        W: Array,
        B: Array | None = None,
        auto_pad: str | None = None,
        dilations: Sequence[int] | None = None,
        group: int | None = None,
        kernel_shape: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[Any, ...]:
        if not _served(X):
            return super()._run(  # type: ignore[no-any-return]
                X,
                W,
                B,
                auto_pad=auto_pad,
                dilations=dilations,
                group=group,
                kernel_shape=kernel_shape,
                pads=pads,
                strides=strides,
            )
        rank = X.ndim - 2
        if kernel_shape and tuple(kernel_shape) != W.shape[2:]:
            raise ValueError(f"kernel_shape {tuple(kernel_shape)} is not that of the weights, {W.shape}")
        stride, dilation = tuple(strides or (1,) * rank), tuple(dilations or (1,) * rank)
        padding = _padding(auto_pad, pads, X.shape[2:], W.shape[2:], stride, dilation)
        conv = fastconv.conv2d if rank == 2 else fastconv.conv1d
        return (conv(X, W, B, stride=stride, padding=padding, dilation=dilation, groups=group or 1),)


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
    return [Conv, LRN]
