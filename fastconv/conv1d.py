"""One-dimensional convolution: the operators of `fastconv.conv` on signals.

``layout`` is "NCHW" (or "NCL") for signals (N, C, L) with weights (K, C / groups, KW), and "NHWC" (or "NLC") for
signals (N, L, C) with weights (KW, C / groups, K). ``padding`` is an int, ((left, right),), "same" or "valid";
the other arguments, the results and the errors are those of two dimensions, with one axis less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import SupportsIndex

from numpy.typing import ArrayLike

from fastconv import conv_layer
from fastconv.arrays import Array
from fastconv.conv_layer import Convolution
from fastconv.geometry import Ints, Padding


def conv1d(
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
    """Convolve signals with a bank of filters.

    Parameters
    ----------
    x : array_like, shape (N, C, L)
        Signals; (N, L, C) with ``layout="NHWC"`` or "NLC".
    w : array_like, shape (K, C / groups, KW)
        Filters; (KW, C / groups, K) with ``layout="NHWC"`` or "NLC".
    b : array_like, shape (K,), optional
        Bias, added to each output channel.
    stride, dilation, groups : int
        As in `conv2d`.
    padding : int, ((left, right),), "same" or "valid"
        Zeros around the signal.
    layout : {"NCHW", "NHWC", "NCL", "NLC"}
        Order of the axes; the first two stand for the last two.
    activation, algo, strict, out
        As in `conv2d`.

    Returns
    -------
    ndarray, shape (N, K, OL)
        (N, OL, K) with ``layout="NHWC"`` or "NLC".

    Raises
    ------
    ValueError, TypeError
        As in `conv2d`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.conv1d([[[1.0, 4.0, 9.0, 16.0]]], [[[-1.0, 1.0]]])  # differences
    array([[[3., 5., 7.]]])
    >>> fastconv.conv1d([[[1.0, 4.0, 9.0, 16.0]]], [[[-1.0, 1.0]]], padding=((1, 0),))
    array([[[1., 3., 5., 7.]]])
    """
    convolution = Convolution.of(1, stride, padding, dilation, groups, layout)
    return conv_layer.forward(convolution, x, w, b, activation, algo, strict, out)


def conv1d_backward(
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
    """Gradients of `conv1d` with respect to its input, weights and bias.

    Parameters
    ----------
    dy : array_like, shape (N, K, OL)
        Gradient of a loss with respect to the output of `conv1d`.
    x, w : array_like
        The input and the weights of `conv1d`.
    stride, padding, dilation, groups, layout, algo
        As in `conv1d`.
    needs : iterable of {"x", "w", "b"}
        The gradients to compute.

    Returns
    -------
    dx, dw, db : ndarray or None
        In the shapes of ``x``, ``w`` and (K,); None for what is not in ``needs``.

    Raises
    ------
    ValueError, TypeError
        As in `conv2d_backward`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.conv1d_backward([[[1.0, 1.0, 1.0]]], [[[1.0, 4.0, 9.0, 16.0]]], [[[-1.0, 1.0]]])
    (array([[[-1.,  0.,  0.,  1.]]]), array([[[14., 29.]]]), array([3.]))
    """
    convolution = Convolution.of(1, stride, padding, dilation, groups, layout)
    return conv_layer.backward(convolution, dy, x, w, algo, needs)


def conv1d_backward_input(
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
    """Gradient of `conv1d` with respect to its input.

    Parameters
    ----------
    dy : array_like, shape (N, K, OL)
        Gradient of a loss with respect to the output of `conv1d`.
    w : array_like
        The weights of `conv1d`.
    input_shape : tuple of int
        The shape of the input.
    stride, padding, dilation, groups, layout, algo
        As in `conv1d`.

    Returns
    -------
    ndarray, shape ``input_shape``
        The gradient.

    Raises
    ------
    ValueError, TypeError
        As in `conv2d_backward_input`.
    """
    convolution = Convolution.of(1, stride, padding, dilation, groups, layout)
    return conv_layer.backward_input(convolution, dy, w, input_shape, algo)


def conv1d_backward_weight(
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
    """Gradient of `conv1d` with respect to its weights.

    Parameters
    ----------
    dy : array_like, shape (N, K, OL)
        Gradient of a loss with respect to the output of `conv1d`.
    x : array_like
        The input of `conv1d`.
    weight_shape : tuple of int
        The shape of the weights.
    stride, padding, dilation, groups, layout, algo
        As in `conv1d`.

    Returns
    -------
    ndarray, shape ``weight_shape``
        The gradient; zeros with N = 0.

    Raises
    ------
    ValueError, TypeError
        As in `conv2d_backward_weight`.
    """
    convolution = Convolution.of(1, stride, padding, dilation, groups, layout)
    return conv_layer.backward_weight(convolution, dy, x, weight_shape, algo)


def conv_transpose1d(
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
    """Transposed convolution of signals: the linear map of `conv1d`, transposed.

    Parameters
    ----------
    x : array_like, shape (N, C, L)
        Signals; (N, L, C) with ``layout="NHWC"`` or "NLC".
    w : array_like, shape (C, K / groups, KW)
        Filters; (KW, K / groups, C) with ``layout="NHWC"`` or "NLC".
    b : array_like, shape (K,), optional
        Bias, added to each output channel.
    stride, dilation, groups, layout, algo
        As in `conv1d`.
    padding : int, ((left, right),), "same" or "valid"
        Pixels cut off the output; "same" gives L * stride outputs.
    output_padding : int
        Pixels appended at the right, fewer than the greater of stride and dilation.

    Returns
    -------
    ndarray, shape (N, K, OL)
        (N, OL, K) with ``layout="NHWC"`` or "NLC".

    Raises
    ------
    ValueError, TypeError
        As in `conv_transpose2d`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.conv_transpose1d([[[1.0, 2.0]]], [[[1.0, 10.0, 100.0]]], stride=2)
    array([[[  1.,  10., 102.,  20., 200.]]])
    """
    convolution = Convolution.of(1, stride, padding, dilation, groups, layout)
    return conv_layer.transpose(convolution, x, w, b, output_padding, algo)
