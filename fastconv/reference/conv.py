"""Convolution in two dimensions, its gradients and its transpose.

All of them are one sum, taken tap by tap. Tap (i, j) of the kernel pairs output pixel (oh, ow) with pixel
(oh * stride_h + i * dilation_h, ow * stride_w + j * dilation_w) of the padded input: over all output pixels
that is one strided slice of the padded input, and one product of matrices for each image and group. The padding
is zeros, which are multiplied like any others: with a weight that is not finite they give NaN.

Sources: Stanford's CS231n notes, "Convolutional Neural Networks"; Dumoulin and Visin, "A guide to convolution
arithmetic for deep learning" (arXiv:1603.07285), chapter 4 for the transposed convolution.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from fastconv.geometry import Ints, Padding, Pads, Pair, Sliding, pair
from fastconv.reference.layout import (
    Array,
    activations_in,
    activations_out,
    shape_in,
    weight_shape_in,
    weights_in,
    weights_out,
)


def _taps(kernel: Pair, output: Pair, sliding: Sliding) -> Iterator[tuple[int, int, slice, slice]]:
    """Each tap with the rows and columns of the padded input that it meets."""
    for i, j in np.ndindex(*kernel):
        top, left = i * sliding.dilation[0], j * sliding.dilation[1]
        rows = slice(top, top + (output[0] - 1) * sliding.stride[0] + 1, sliding.stride[0])
        columns = slice(left, left + (output[1] - 1) * sliding.stride[1] + 1, sliding.stride[1])
        yield i, j, rows, columns


def _pad(x: Array, pads: Pads) -> Array:
    top, bottom, left, right = pads
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))


def _by_group(a: Array, groups: int) -> Array:
    """(N, C, H, W) as (N, groups, C/groups, H*W): one matrix for each image and group."""
    n, c, h, w = a.shape
    return a.reshape(n, groups, c // groups, h * w)


def conv2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    layout: str = "NCHW",
    activation: str | None = None,
) -> Array:
    """y[n, k, oh, ow] = b[k] + the sum over the channels of k's group and all taps of w[k, c, i, j] * x[n, c, ...]."""
    x, w = activations_in(x, layout), weights_in(w, layout)
    sliding = Sliding.of(2, stride, padding, dilation)
    (n, _, *size), (k, c, *kernel) = x.shape, w.shape
    output, pads = sliding.over((size[0], size[1]), (kernel[0], kernel[1]))
    padded = _pad(x, pads)
    weights = w.reshape(groups, k // groups, c, *kernel)
    y = np.zeros((n, groups, k // groups, output[0] * output[1]), np.result_type(x, w))
    for i, j, rows, columns in _taps((kernel[0], kernel[1]), output, sliding):
        y += weights[..., i, j] @ _by_group(padded[:, :, rows, columns], groups)
    y = y.reshape(n, k, *output)
    if b is not None:
        y = y + np.asarray(b)[:, None, None]
    if activation == "relu":
        y = np.maximum(y, 0)
    return activations_out(y, layout)


def _spread(dy: Array, w: Array, canvas: Pair, groups: int, sliding: Sliding) -> Array:
    """Hand w * dy back, tap by tap, to the pixels of a padded input of size `canvas` that the tap met."""
    (n, k, *output), (_, c, *kernel) = dy.shape, w.shape
    weights = w.reshape(groups, k // groups, c, *kernel)
    spread = np.zeros((n, groups * c, *canvas), np.result_type(dy, w))
    for i, j, rows, columns in _taps((kernel[0], kernel[1]), (output[0], output[1]), sliding):
        share = weights[..., i, j].swapaxes(-1, -2) @ _by_group(dy, groups)
        spread[:, :, rows, columns] += share.reshape(n, groups * c, *output)
    return spread


def conv2d_backward_input(
    dy: ArrayLike,
    w: ArrayLike,
    input_shape: Sequence[int],
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> Array:
    """Gradient by x of the sum of dy * conv2d(x, w); what falls on the padding is dropped."""
    dy, w = activations_in(dy, layout), weights_in(w, layout)
    _, _, h, width = shape_in(input_shape, layout)
    sliding = Sliding.of(2, stride, padding, dilation)
    _, (top, bottom, left, right) = sliding.over((h, width), (w.shape[2], w.shape[3]))
    padded = _spread(dy, w, (h + top + bottom, width + left + right), groups, sliding)
    return activations_out(padded[:, :, top : top + h, left : left + width], layout)


def conv2d_backward_weight(
    dy: ArrayLike,
    x: ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> Array:
    """dw[k, c, i, j] is the product of dy's plane k with the slice of x that tap (i, j) met, summed over the batch."""
    dy, x = activations_in(dy, layout), activations_in(x, layout)
    k, c, kh, kw = weight_shape_in(weight_shape, layout)
    sliding = Sliding.of(2, stride, padding, dilation)
    output, pads = sliding.over((x.shape[2], x.shape[3]), (kh, kw))
    padded = _pad(x, pads)
    dw = np.zeros((groups, k // groups, c, kh, kw), np.result_type(dy, x))
    for i, j, rows, columns in _taps((kh, kw), output, sliding):
        met = _by_group(padded[:, :, rows, columns], groups)
        dw[..., i, j] = (_by_group(dy, groups) @ met.swapaxes(-1, -2)).sum(axis=0)
    return weights_out(dw.reshape(k, c, kh, kw), layout)


def conv2d_backward(
    dy: ArrayLike,
    x: ArrayLike,
    w: ArrayLike,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    layout: str = "NCHW",
    needs: Container[str] = ("x", "w", "b"),
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients (dx, dw, db) of the sum of dy * conv2d(x, w, b); db sums dy over images and pixels."""
    dx = dw = db = None
    if "x" in needs:
        dx = conv2d_backward_input(
            dy, w, np.shape(x), stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout
        )
    if "w" in needs:
        dw = conv2d_backward_weight(
            dy, x, np.shape(w), stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout
        )
    if "b" in needs:
        db = activations_in(dy, layout).sum(axis=(0, 2, 3))
    return dx, dw, db


def conv_transpose2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> Array:
    """Spread each pixel of x over the window that a convolution would have read it from.

    The output has (H - 1) * stride + dilation * (KH - 1) + 1 + output_padding rows, less the padding.
    """
    x, w = activations_in(x, layout), weights_in(w, layout)
    sliding = Sliding.of(2, stride, padding, dilation)
    canvas, crop = [], []
    for axis, extra in enumerate(pair(output_padding, 2, "output_padding", 0)):
        size, step = x.shape[2 + axis], sliding.stride[axis]
        full = (size - 1) * step + sliding.dilation[axis] * (w.shape[2 + axis] - 1) + 1 + extra
        if sliding.padding is None:  # "same": size * stride rows, the odd one cut at the bottom
            before, after = (full - size * step) // 2, (full - size * step + 1) // 2
        else:
            before, after = sliding.padding[2 * axis : 2 * axis + 2]
        canvas.append(full)
        crop.append(slice(before, full - after))
    y = _spread(x, w, (canvas[0], canvas[1]), groups, sliding)[:, :, crop[0], crop[1]]
    if b is not None:
        y = y + np.asarray(b)[:, None, None]
    return activations_out(y, layout)
