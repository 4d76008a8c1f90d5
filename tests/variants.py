"""Calls of the compiled core, which takes the title of a variant where the public face takes names."""

from __future__ import annotations

import numpy as np

import fastconv
from fastconv.conv_layer import Convolution

# Sides of a tile of outputs and of a filter.
WINOGRAD = {
    "F(2x2,3x3)": (2, 3),
    "F(4x4,3x3)": (4, 3),
    "F(6x6,3x3)": (6, 3),
    "F(2x2,5x5)": (2, 5),
    "F(3x3,5x5)": (3, 5),
    "F(4x4,5x5)": (4, 5),
}
# Beyond the default error bound: "auto" takes them where allow_winograd("fast") lets it.
FAST = ("F(6x6,3x3)", "F(4x4,5x5)")
OF_3X3 = tuple(title for title, (_, side) in WINOGRAD.items() if side == 3)


def fits_squares(side, kernel, stride=(1, 1), dilation=(1, 1)):
    """Whether each phase of the stride has its taps in a square of this side, and they fill half of the squares."""
    axes = zip(kernel, stride, dilation, strict=True)
    reach, places = max((k - 1) * d // u + 1 for k, u, d in axes), stride[0] * stride[1] * side**2
    fits = reach <= side and (side == 3 or reach > 3) and max(places, kernel[0] * kernel[1]) <= 144
    return fits and 2 * kernel[0] * kernel[1] >= places


def _convolution(*, stride=1, padding=0, dilation=1, groups=1, layout="NCHW"):
    return Convolution.of(2, stride, padding, dilation, groups, layout)


def forward(x, w, b=None, *, algo, activation=None, packed=None, **options):
    """conv2d, with packed weights Conv2d, by a private name; operands of one dtype, whose last axis has unit stride."""
    core, shape, _ = _convolution(**options).problem(x.dtype, x.shape, w.shape)
    y = np.full(shape, np.nan, x.dtype)
    core.forward(x, w, b, y, activation == "relu", algo, fastconv.get_num_threads(), packed)
    return y


def backward_input(dy, w, input_shape, *, algo, **options):
    """conv2d_backward_input by a private name; operands of one dtype, whose last axis has unit stride."""
    core, _, _ = _convolution(**options).problem(dy.dtype, input_shape, w.shape)
    dx = np.full(input_shape, np.nan, dy.dtype)
    core.backward_input(dy, w, None, dx, algo, fastconv.get_num_threads())
    return dx


def backward_weight(dy, x, weight_shape, *, algo, **options):
    """conv2d_backward_weight by a private name; operands of one dtype, whose last axis has unit stride."""
    core, _, _ = _convolution(**options).problem(dy.dtype, x.shape, weight_shape)
    dw = np.full(weight_shape, np.nan, dy.dtype)
    core.backward_weight(dy, x, dw, algo, fastconv.get_num_threads())
    return dw
