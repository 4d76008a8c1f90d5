"""Two-dimensional maximum and average pooling, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

from numpy.typing import ArrayLike

from fastconv import pool_layer
from fastconv.arrays import Array
from fastconv.geometry import Ints, Padding
from fastconv.pool_layer import Pool


@overload
def max_pool2d(
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
def max_pool2d(
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
    strict: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Take the maximum of each window.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W)
        Images; (N, H, W, C) with ``layout="NHWC"``. N may be 0.
    kernel_size : int or (int, int)
        Taps of the window along height and width, at least 1.
    stride : int or (int, int), optional
        Pixels between two windows; by default those of the kernel.
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"
        Pixels around the image that no maximum can be, fewer than the dilated kernel has.
    dilation : int or (int, int)
        Pixels between two taps of a window.
    ceil_mode : bool
        Round the size of the output up: the last window may reach beyond the padded image, but must start in the
        image or in the padding before it.
    return_indices : bool
        Return where the maxima are, too.
    layout : {"NCHW", "NHWC"}
        Order of the axes.
    strict : bool
        Refuse windows that do not tile the padded image exactly.
    out : ndarray, optional
        Where to put the maxima: of their shape and dtype, C-contiguous, writable, apart from ``x`` in memory.

    Returns
    -------
    y : ndarray, shape (N, C, OH, OW)
        The maxima in the dtype of ``x``; ``out`` if it was given. NaN counts as the greatest.
    indices : ndarray of int64, shape (N, C, OH, OW)
        Only with ``return_indices``: the place of each maximum in its plane, ``row * W + column``. A tie goes to
        the first in row-major order, as does NaN.

    Raises
    ------
    ValueError
        If an argument is out of range, the kernel exceeds the padded image, a window would hold no pixel, ``strict``
        is not met, or ``out`` cannot take the result.
    TypeError
        If ``x`` is not of float16, float32 or float64, or an integer argument is not an integer.

    Examples
    --------
    >>> import fastconv
    >>> import numpy as np
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> y, indices = fastconv.max_pool2d(x, 2, return_indices=True)
    >>> y
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    >>> indices
    array([[[[ 5,  7],
             [13, 15]]]])
    """
    pool = Pool.of(2, kernel_size, stride, padding, dilation, ceil_mode, layout, strict)
    return pool_layer.max_pool(pool, x, return_indices, out)


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
    """Gradient of `max_pool2d` with respect to its input.

    Parameters
    ----------
    dy : array_like, shape (N, C, OH, OW)
        Gradient of a loss with respect to the maxima.
    x : array_like
        The input of `max_pool2d`.
    kernel_size, stride, padding, dilation, ceil_mode, layout
        As in `max_pool2d`.
    indices : array_like of int, shape (N, C, OH, OW), optional
        The indices from `max_pool2d`; without them the maxima are found again.

    Returns
    -------
    ndarray
        In the shape of ``x``, and the dtype NumPy promotes ``dy`` and ``x`` to. Of equal maxima of a window the
        first in row-major order takes the gradient.

    Raises
    ------
    ValueError
        As in `max_pool2d`; if ``dy`` or ``indices`` have not the shape of the output, or an index lies outside the
        plane.
    TypeError
        As in `max_pool2d`, or if ``indices`` are not integers.

    Examples
    --------
    >>> import fastconv
    >>> import numpy as np
    >>> x = np.array([[[[1.0, 4.0, 2.0], [3.0, 0.0, 2.0]]]])
    >>> fastconv.max_pool2d_backward(np.array([[[[10.0, 20.0]]]]), x, 2, stride=1)  # 4 wins both windows
    array([[[[ 0., 30.,  0.],
             [ 0.,  0.,  0.]]]])
    """
    pool = Pool.of(2, kernel_size, stride, padding, dilation, ceil_mode, layout)
    return pool_layer.max_pool_backward(pool, dy, x, indices)


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
    """Take the mean of each window.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W)
        Images; (N, H, W, C) with ``layout="NHWC"``. N may be 0.
    kernel_size, stride, dilation, ceil_mode, layout
        As in `max_pool2d`.
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"
        Zeros around the image, fewer than the dilated kernel has.
    count_include_pad : bool
        Divide by the taps inside the padded image; if false, by those inside the image.

    Returns
    -------
    ndarray, shape (N, C, OH, OW)
        The means in the dtype of ``x``; float16 is computed in float32.

    Raises
    ------
    ValueError, TypeError
        As in `max_pool2d`.

    Examples
    --------
    >>> import fastconv
    >>> import numpy as np
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> fastconv.avg_pool2d(x, 2)
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    >>> ones = np.ones((1, 1, 2, 2))
    >>> fastconv.avg_pool2d(ones, 2, padding=1)
    array([[[[0.25, 0.25],
             [0.25, 0.25]]]])
    >>> fastconv.avg_pool2d(ones, 2, padding=1, count_include_pad=False)
    array([[[[1., 1.],
             [1., 1.]]]])
    """
    pool = Pool.of(2, kernel_size, stride, padding, dilation, ceil_mode, layout)
    return pool_layer.avg_pool(pool, x, count_include_pad)


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
    """Gradient of `avg_pool2d` with respect to its input.

    Parameters
    ----------
    dy : array_like, shape (N, C, OH, OW)
        Gradient of a loss with respect to the means.
    input_shape : tuple of int
        The shape of the input.
    kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout
        As in `avg_pool2d`.

    Returns
    -------
    ndarray, shape ``input_shape``
        The gradient in the dtype of ``dy``.

    Raises
    ------
    ValueError, TypeError
        As in `max_pool2d_backward`.

    Examples
    --------
    >>> import fastconv
    >>> import numpy as np
    >>> fastconv.avg_pool2d_backward(np.array([[[[4.0, 8.0]]]]), (1, 1, 2, 4), 2)
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.]]]])
    """
    pool = Pool.of(2, kernel_size, stride, padding, dilation, ceil_mode, layout)
    return pool_layer.avg_pool_backward(pool, dy, input_shape, count_include_pad)
