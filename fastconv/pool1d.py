"""One-dimensional maximum and average pooling: the operators of `fastconv.pool` on signals.

``layout`` is "NCHW" (or "NCL") for signals (N, C, L), and "NHWC" (or "NLC") for signals (N, L, C). ``padding`` is an
int, ((left, right),), "same" or "valid".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

from numpy.typing import ArrayLike

from fastconv import pool_layer
from fastconv.arrays import Array
from fastconv.geometry import Ints, Padding
from fastconv.pool_layer import Pool


@overload
def max_pool1d(
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = ...,
    padding: Padding = ...,
    dilation: Ints = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = ...,
    layout: str = ...,
    strict: bool = ...,
    out: Array | None = ...,
) -> Array: ...
@overload
def max_pool1d(
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = ...,
    padding: Padding = ...,
    dilation: Ints = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[True],
    layout: str = ...,
    strict: bool = ...,
    out: Array | None = ...,
) -> tuple[Array, Array]: ...
def max_pool1d(
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    layout: str = "NCHW",
    strict: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Take the maximum of each window.

    Parameters
    ----------
    x : array_like, shape (N, C, L)
        Signals; (N, L, C) with ``layout="NHWC"`` or "NLC". N may be 0.
    kernel_size : int
        Taps of the window, at least 1.
    stride : int, optional
        Pixels between two windows; by default that of the kernel.
    padding : int, ((left, right),), "same" or "valid"
        Pixels around the signal that no maximum can be, fewer than the dilated kernel has.
    dilation : int
        Pixels between two taps of a window.
    layout : {"NCHW", "NHWC", "NCL", "NLC"}
        Order of the axes; the first two stand for the last two.
    ceil_mode, return_indices, strict, out
        As in `max_pool2d`.

    Returns
    -------
    y : ndarray, shape (N, C, OL)
        The maxima in the dtype of ``x``; ``out`` if it was given.
    indices : ndarray of int64, shape (N, C, OL)
        Only with ``return_indices``: the place of each maximum in its signal.

    Raises
    ------
    ValueError, TypeError
        As in `max_pool2d`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.max_pool1d([[[3.0, 1.0, 4.0, 1.0, 5.0, 9.0]]], 3)
    array([[[4., 9.]]])
    """
    pool = Pool.of(1, kernel_size, stride, padding, dilation, ceil_mode, layout, strict)
    return pool_layer.max_pool(pool, x, return_indices, out)


def max_pool1d_backward(
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
    """Gradient of `max_pool1d` with respect to its input.

    Parameters
    ----------
    dy : array_like, shape (N, C, OL)
        Gradient of a loss with respect to the maxima.
    x : array_like
        The input of `max_pool1d`.
    kernel_size, stride, padding, dilation, ceil_mode, layout
        As in `max_pool1d`.
    indices : array_like of int, shape (N, C, OL), optional
        The indices from `max_pool1d`; without them the maxima are found again.

    Returns
    -------
    ndarray
        In the shape of ``x``, and the dtype NumPy promotes ``dy`` and ``x`` to.

    Raises
    ------
    ValueError, TypeError
        As in `max_pool2d_backward`.
    """
    pool = Pool.of(1, kernel_size, stride, padding, dilation, ceil_mode, layout)
    return pool_layer.max_pool_backward(pool, dy, x, indices)


def avg_pool1d(
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
    """Take the mean of each window.

    Parameters
    ----------
    x : array_like, shape (N, C, L)
        Signals; (N, L, C) with ``layout="NHWC"`` or "NLC". N may be 0.
    kernel_size, stride, dilation, ceil_mode, layout
        As in `max_pool1d`.
    padding : int, ((left, right),), "same" or "valid"
        Zeros around the signal, fewer than the dilated kernel has.
    count_include_pad : bool
        Divide by the taps inside the padded signal; if false, by those inside the signal.

    Returns
    -------
    ndarray, shape (N, C, OL)
        The means in the dtype of ``x``; float16 is computed in float32.

    Raises
    ------
    ValueError, TypeError
        As in `max_pool2d`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.avg_pool1d([[[3.0, 1.0, 4.0, 2.0, 5.0, 9.0]]], 2)
    array([[[2., 3., 7.]]])
    """
    pool = Pool.of(1, kernel_size, stride, padding, dilation, ceil_mode, layout)
    return pool_layer.avg_pool(pool, x, count_include_pad)


def avg_pool1d_backward(
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
    """Gradient of `avg_pool1d` with respect to its input.

    Parameters
    ----------
    dy : array_like, shape (N, C, OL)
        Gradient of a loss with respect to the means.
    input_shape : tuple of int
        The shape of the input.
    kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout
        As in `avg_pool1d`.

    Returns
    -------
    ndarray, shape ``input_shape``
        The gradient in the dtype of ``dy``.

    Raises
    ------
    ValueError, TypeError
        As in `max_pool2d_backward`.
    """
    pool = Pool.of(1, kernel_size, stride, padding, dilation, ceil_mode, layout)
    return pool_layer.avg_pool_backward(pool, dy, input_shape, count_include_pad)
