"""Two-dimensional convolution, its gradients, and transposed convolution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import SupportsIndex

from numpy.typing import ArrayLike

from fastconv import conv_layer
from fastconv.arrays import Array
from fastconv.conv_layer import Convolution
from fastconv.geometry import Ints, Padding


def conv2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    layout: str = "NCHW",
    activation: str | None = None,
    algo: str = "auto",
    strict: bool = False,
    out: Array | None = None,
) -> Array:
    """Convolve images with a bank of filters.

    As everywhere in deep learning this is the cross-correlation: filters are not flipped.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W)
        Images; (N, H, W, C) with ``layout="NHWC"``. N may be 0. Any strides are read, mostly in place.
    w : array_like, shape (K, C / groups, KH, KW)
        Filters; (KH, KW, C / groups, K) with ``layout="NHWC"``.
    b : array_like, shape (K,), optional
        Bias, added to each output channel.
    stride, dilation : int or (int, int)
        Pixels between two windows, and between two taps of a window, along height and width; at least 1.
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"
        Zeros around the image. "same" gives ceil(size / stride) outputs with the odd pixel at the bottom and right,
        "valid" is 0.
    groups : int
        Blocks of channels convolved apart from each other; C is depthwise.
    layout : {"NCHW", "NHWC"}
        Order of the axes.
    activation : {None, "relu"}
        Applied as the output is stored. A ReLU hands NaN on.
    algo : {"auto", "direct", "im2col", "winograd"}
        How to compute it; `algorithms` lists what can serve a problem. "direct" and "im2col" sum the products as they
        are. "winograd" takes filters whose taps fill half of a square of 3x3 or 5x5 or more, or with a stride of the
        squares of its phases, each of every s-th tap along both axes: 11x11 with stride 4 is 3x3 over 16 times the
        channels. It is the faster by estimate of F(2x2,3x3) and F(4x4,3x3), or of F(2x2,5x5) and F(3x3,5x5).
        F(2x2,3x3) rounds about as plain sums do, the others more. "auto" takes the one of least estimated time; of
        Winograd only in float32 (float16 included), and not where `allow_winograd` is False.
    strict : bool
        Refuse filters that do not tile the padded image exactly. Otherwise the output size is floored.
    out : ndarray, optional
        Where to put the result: of its shape and dtype, C-contiguous, writable, apart from the inputs in memory.

    Returns
    -------
    ndarray, shape (N, K, OH, OW)
        (N, OH, OW, K) with ``layout="NHWC"``; ``out`` if it was given. The dtype is the one NumPy promotes the
        inputs to; float16 is computed in float32.

    Raises
    ------
    ValueError
        If shapes do not agree, an argument is out of range, the kernel exceeds the padded image, ``algo`` cannot
        serve the problem, ``strict`` is not met, or ``out`` cannot take the result.
    TypeError
        If an array is not of float16, float32 or float64, an integer argument is not an integer, or ``out`` is not
        an array.
    MemoryError
        If the result, or the scratch that the algorithm needs, cannot be allocated.

    Notes
    -----
    The layout of filters and the output size follow Stanford's CS231n notes, "Convolutional Neural Networks";
    "winograd" is Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv:1509.09308).

    Results are the same bit for bit for any number of threads. NaN and infinity reach exactly the outputs that see
    them, whatever the algorithm.

    Examples
    --------
    >>> import fastconv
    >>> import numpy as np
    >>> x, w = np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2))
    >>> fastconv.conv2d(x, w)
    array([[[[ 8., 12.],
             [20., 24.]]]])
    >>> fastconv.conv2d(x, w, [-10.0], stride=2, padding="same", activation="relu")
    array([[[[0., 0.],
             [3., 0.]]]])
    >>> fastconv.conv2d(x, w, stride=2, strict=True)
    Traceback (most recent call last):
        ...
    ValueError: a filter of 2 does not tile the height with stride 2: (3 - 2) / 2 + 1 = 1.50
    """
    convolution = Convolution.of(2, stride, padding, dilation, groups, layout)
    return conv_layer.forward(convolution, x, w, b, activation, algo, strict, out)


def conv2d_backward(
    dy: ArrayLike,
    x: ArrayLike,
    w: ArrayLike,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    layout: str = "NCHW",
    algo: str = "auto",
    needs: Iterable[str] = ("x", "w", "b"),
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of `conv2d` with respect to its input, weights and bias.

    Parameters
    ----------
    dy : array_like, shape (N, K, OH, OW)
        Gradient of a loss with respect to the output of `conv2d`.
    x, w : array_like
        The input and the weights of `conv2d`.
    stride, padding, dilation, groups, layout, algo
        As in `conv2d`; each gradient that is needed is computed by ``algo``.
    needs : iterable of {"x", "w", "b"}
        The gradients to compute.

    Returns
    -------
    dx, dw, db : ndarray or None
        In the shapes of ``x``, ``w`` and (K,), and the dtype NumPy promotes the inputs to; None for what is not in
        ``needs``. With N = 0, ``dw`` and ``db`` are zeros.

    Raises
    ------
    ValueError
        As in `conv2d`; if ``dy`` has not the shape of the output, or ``needs`` holds another letter.
    TypeError
        As in `conv2d`.

    Examples
    --------
    >>> import fastconv
    >>> import numpy as np
    >>> x, w = np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2))
    >>> dy = np.ones_like(fastconv.conv2d(x, w))  # the loss is the sum of the outputs
    >>> dx, dw, db = fastconv.conv2d_backward(dy, x, w)
    >>> dx  # how many windows see each pixel
    array([[[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]]])
    >>> dw
    array([[[[ 8., 12.],
             [20., 24.]]]])
    >>> db
    array([4.])
    >>> fastconv.conv2d_backward(dy, x, w, needs=["b"])
    (None, None, array([4.]))
    """
    convolution = Convolution.of(2, stride, padding, dilation, groups, layout)
    return conv_layer.backward(convolution, dy, x, w, algo, needs)


def conv2d_backward_input(
    dy: ArrayLike,
    w: ArrayLike,
    input_shape: Sequence[int],
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    layout: str = "NCHW",
    algo: str = "auto",
) -> Array:
    """Gradient of `conv2d` with respect to its input.

    Parameters
    ----------
    dy : array_like, shape (N, K, OH, OW)
        Gradient of a loss with respect to the output of `conv2d`.
    w : array_like
        The weights of `conv2d`.
    input_shape : tuple of int
        The shape of the input. The output does not tell it where windows do not reach the last pixels.
    stride, padding, dilation, groups, layout, algo
        As in `conv2d`.

    Returns
    -------
    ndarray, shape ``input_shape``
        The gradient, in the dtype NumPy promotes the inputs to.

    Raises
    ------
    ValueError
        As in `conv2d`, or if ``dy`` has not the shape of the output.
    TypeError
        As in `conv2d`.

    Examples
    --------
    >>> import fastconv
    >>> import numpy as np
    >>> dy, w = np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2))
    >>> fastconv.conv2d_backward_input(dy, w, (1, 1, 5, 5), stride=2)  # no window reaches the last row and column
    array([[[[1., 1., 1., 1., 0.],
             [1., 1., 1., 1., 0.],
             [1., 1., 1., 1., 0.],
             [1., 1., 1., 1., 0.],
             [0., 0., 0., 0., 0.]]]])
    """
    convolution = Convolution.of(2, stride, padding, dilation, groups, layout)
    return conv_layer.backward_input(convolution, dy, w, input_shape, algo)


def conv2d_backward_weight(
    dy: ArrayLike,
    x: ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    layout: str = "NCHW",
    algo: str = "auto",
) -> Array:
    """Gradient of `conv2d` with respect to its weights.

    Parameters
    ----------
    dy : array_like, shape (N, K, OH, OW)
        Gradient of a loss with respect to the output of `conv2d`.
    x : array_like
        The input of `conv2d`.
    weight_shape : tuple of int
        The shape of the weights.
    stride, padding, dilation, groups, layout, algo
        As in `conv2d`.

    Returns
    -------
    ndarray, shape ``weight_shape``
        The gradient, in the dtype NumPy promotes the inputs to; zeros with N = 0.

    Raises
    ------
    ValueError
        As in `conv2d`, or if ``dy`` has not the shape of the output.
    TypeError
        As in `conv2d`.

    Examples
    --------
    >>> import fastconv
    >>> import numpy as np
    >>> x, dy = np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2))
    >>> fastconv.conv2d_backward_weight(dy, x, (1, 1, 2, 2))  # what each tap saw
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    convolution = Convolution.of(2, stride, padding, dilation, groups, layout)
    return conv_layer.backward_weight(convolution, dy, x, weight_shape, algo)


def conv_transpose2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    layout: str = "NCHW",
    algo: str = "auto",
) -> Array:
    """Transposed convolution: the linear map of `conv2d`, transposed.

    Every pixel of ``x`` adds a scaled filter to the output. The size of the output is
    ``(H - 1) * stride + dilation * (KH - 1) + 1 + output_padding - top - bottom``, and alike for the width.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W)
        Images; (N, H, W, C) with ``layout="NHWC"``. N may be 0.
    w : array_like, shape (C, K / groups, KH, KW)
        Filters, with the input channels first as in PyTorch and ONNX; (KH, KW, K / groups, C) with
        ``layout="NHWC"``.
    b : array_like, shape (K,), optional
        Bias, added to each output channel.
    stride, dilation, groups, layout, algo
        As in `conv2d`, of which this is the gradient.
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"
        Pixels cut off the output. "same" gives size * stride outputs (ONNX's SAME_UPPER), "valid" is 0.
    output_padding : int or (int, int)
        Pixels appended at the bottom and right, fewer than the greater of stride and dilation.

    Returns
    -------
    ndarray, shape (N, K, OH, OW)
        (N, OH, OW, K) with ``layout="NHWC"``, in the dtype NumPy promotes the inputs to.

    Raises
    ------
    ValueError
        As in `conv2d`, if nothing is left of the output, or if "same" would have to add pixels.
    TypeError
        As in `conv2d`.

    Notes
    -----
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (arXiv:1603.07285), chapter 4.

    Examples
    --------
    >>> import fastconv
    >>> import numpy as np
    >>> x, w = np.array([[[[1.0, 2.0]]]]), np.ones((1, 1, 2, 2))
    >>> fastconv.conv_transpose2d(x, w, stride=2)
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.]]]])
    """
    convolution = Convolution.of(2, stride, padding, dilation, groups, layout)
    return conv_layer.transpose(convolution, x, w, b, output_padding, algo)
