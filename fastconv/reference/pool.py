"""Maximum and average pooling in two dimensions, and their gradients.

Both walk the taps of the window. A tap meets pixel (oh * stride_h - top + i * dilation_h, ...) of the input
itself: what lies outside is no pixel, so padding never is a maximum and never adds to a sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastconv.geometry import Ints, Padding, Pads, Pair, Sliding, pair
from fastconv.reference.layout import Array, activations_in, activations_out, shape_in


class _Windows(NamedTuple):
    """All windows of one pool over an input of one size."""

    kernel: Pair
    sliding: Sliding
    size: Pair
    output: Pair
    pads: Pads

    @classmethod
    def of(
        cls,
        size: Sequence[int],
        kernel_size: Ints,
        stride: Ints | None,
        padding: Padding,
        dilation: Ints,
        ceil_mode: bool,
    ) -> _Windows:
        kernel = pair(kernel_size, 2, "kernel_size")
        sliding = Sliding.of(2, kernel if stride is None else stride, padding, dilation)
        output, pads = sliding.over((size[0], size[1]), kernel, ceil=ceil_mode)
        return cls(kernel, sliding, (size[0], size[1]), output, pads)

    def taps(self) -> Iterator[tuple[Array, Array]]:
        """For each tap, in row-major order, the row (OH, 1) and the column (1, OW) that it meets."""
        (oh, ow), (sh, sw), (dh, dw) = self.output, self.sliding.stride, self.sliding.dilation
        for i, j in np.ndindex(*self.kernel):
            rows = np.arange(oh) * sh - self.pads[0] + i * dh
            columns = np.arange(ow) * sw - self.pads[2] + j * dw
            yield rows[:, None], columns[None, :]

    def inside(self, rows: Array, columns: Array) -> Array:
        """Where a tap meets a pixel of the input."""
        return (rows >= 0) & (rows < self.size[0]) & (columns >= 0) & (columns < self.size[1])

    def inside_padded(self, rows: Array, columns: Array) -> Array:
        """Where a tap meets a pixel or the padding: with `ceil_mode` it may lie beyond both."""
        (h, w), (_, bottom, _, right) = self.size, self.pads
        return (rows < h + bottom) & (columns < w + right)

    def values(self, x: Array, rows: Array, columns: Array) -> Array:
        """Pixels of NCHW `x` at a tap; any pixel where it meets none."""
        return x[:, :, rows.clip(0, self.size[0] - 1), columns.clip(0, self.size[1] - 1)]


def max_pool2d(
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    layout: str = "NCHW",
) -> Array | tuple[Array, Array]:
    """Maximum of each window, and its flat index in the plane.

    The index is that of the first NaN, or else of the first maximum, in row-major order.
    """
    x = activations_in(x, layout)
    windows = _Windows.of(x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    y = np.zeros((*x.shape[:2], *windows.output), x.dtype)
    indices = np.full(y.shape, -1)
    for rows, columns in windows.taps():
        value = windows.values(x, rows, columns)
        wins = (indices < 0) | (value > y) | (np.isnan(value) & ~np.isnan(y))
        wins &= windows.inside(rows, columns)
        y = np.where(wins, value, y)
        indices = np.where(wins, rows * windows.size[1] + columns, indices)
    y, indices = activations_out(y, layout), activations_out(indices, layout)
    return (y, indices) if return_indices else y


def max_pool2d_backward(
    dy: ArrayLike,
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    indices: ArrayLike | None = None,
    layout: str = "NCHW",
) -> Array:
    """Hand dy of each window to the pixel that was its maximum."""
    dy, x = activations_in(dy, layout), activations_in(x, layout)
    if indices is None:
        _, indices = max_pool2d(
            x, kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode, return_indices=True
        )
    else:
        indices = activations_in(indices, layout)
    n, c, h, w = x.shape
    dx = np.zeros((n, c, h * w), np.result_type(dy, x))
    images, channels = np.arange(n)[:, None, None, None], np.arange(c)[:, None, None]
    np.add.at(dx, (images, channels, indices), dy)
    return activations_out(dx.reshape(x.shape), layout)


def _count(windows: _Windows, count_include_pad: bool) -> Array:
    """Divisor of each window (OH, OW): its taps that meet a pixel, with `count_include_pad` also the padding."""
    counted = windows.inside_padded if count_include_pad else windows.inside
    count = np.zeros(windows.output, int)
    for rows, columns in windows.taps():
        count += counted(rows, columns)
    return count


def avg_pool2d(
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    layout: str = "NCHW",
) -> Array:
    """Sum of the pixels of each window over the count of its taps."""
    x = activations_in(x, layout)
    windows = _Windows.of(x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    total = np.zeros((*x.shape[:2], *windows.output), x.dtype)
    for rows, columns in windows.taps():
        total += np.where(windows.inside(rows, columns), windows.values(x, rows, columns), 0)
    return activations_out(total / _count(windows, count_include_pad).astype(x.dtype), layout)


def avg_pool2d_backward(
    dy: ArrayLike,
    input_shape: Sequence[int],
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    layout: str = "NCHW",
) -> Array:
    """Hand dy / count of each window to each of its pixels."""
    dy = activations_in(dy, layout)
    _, _, h, w = shape_in(input_shape, layout)
    windows = _Windows.of((h, w), kernel_size, stride, padding, dilation, ceil_mode)
    share = dy / _count(windows, count_include_pad).astype(dy.dtype)
    dx = np.zeros((*dy.shape[:2], h, w), dy.dtype)
    for rows, columns in windows.taps():
        oh, ow = np.nonzero(windows.inside(rows, columns))
        dx[..., rows[oh, 0], columns[0, ow]] += share[..., oh, ow]  # a tap meets no pixel twice
    return activations_out(dx, layout)
