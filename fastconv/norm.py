"""Local response normalisation across channels."""

from __future__ import annotations

import math
from numbers import Real
from typing import NamedTuple, SupportsIndex

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv.arrays import (
    Array,
    Layout,
    as_array,
    check_shape,
    delivered,
    find_layout,
    promoted,
    readable,
)
from fastconv.geometry import integer
from fastconv.threads import get_num_threads


class _Response(NamedTuple):
    """The checked arguments of a normalisation."""

    layout: Layout
    size: int
    alpha: float
    beta: float
    k: float

    @classmethod
    def of(cls, size: SupportsIndex, alpha: float, beta: float, k: float, layout: str) -> _Response:
        for name, value in (("alpha", alpha), ("beta", beta), ("k", k)):
            if not isinstance(value, Real) or isinstance(value, bool):
                raise TypeError(f"{name} must be a real number, not {value!r}")
            if not math.isfinite(value):
                raise ValueError(f"{name} must be finite, not {value}")
        return cls(find_layout(layout, 2), integer(size, "size", 1), float(alpha), float(beta), float(k))

    def core(self) -> tuple[bool, int, float, float, float]:
        """Return the arguments in the order of the core."""
        return self.layout.nhwc, self.size, self.alpha, self.beta, self.k


def local_response_norm(
    x: ArrayLike,
    size: SupportsIndex,
    *,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    layout: str = "NCHW",
) -> Array:
    """Divide each pixel by the energy of the channels next to its own.

    Computes ``x / (k + alpha / size * sum of x**2 over the window)**beta``. The window of channel c holds the
    channels from ``c - size // 2`` to ``c + (size - 1) // 2``; those that do not exist count as zero.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W)
        Images; (N, H, W, C) with ``layout="NHWC"``. N may be 0.
    size : int
        Channels in a window, at least 1.
    alpha, beta, k : float
        Scale, exponent and offset, finite.
    layout : {"NCHW", "NHWC"}
        Order of the axes.

    Returns
    -------
    ndarray
        In the shape and the dtype of ``x``; float16 is computed in float32.

    Raises
    ------
    ValueError
        If ``x`` has not four axes, one other than N is empty, or an argument is out of range.
    TypeError
        If ``x`` is not of float16, float32 or float64, or an argument is not a number of the right kind.

    Notes
    -----
    Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks" (2012),
    section 3.3, with ``alpha`` divided by ``size`` and the window of an even size as PyTorch has them.

    The power is a product of square roots for ``beta`` 0.5, 0.75 and 1; others are computed by polynomials, off by at
    most 2 units in the last place for ``abs(beta) <= 1.3`` and 4 for ``abs(beta) <= 4``.

    Examples
    --------
    >>> import fastconv
    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    >>> fastconv.local_response_norm(x, 3, alpha=3.0, beta=1.0).ravel()  # 1 / (1 + 1 + 4), 2 / (1 + 1 + 4 + 9), ...
    array([0.16666667, 0.13333333, 0.21428571])
    """
    response = _Response.of(size, alpha, beta, k, layout)
    x = as_array(x, "x")
    result, dtype = promoted(x)
    y = _core.empty(x.shape, dtype)
    if response.layout.sizes(x.shape, "x")[0]:
        _core.lrn_forward(readable(x, dtype), y, *response.core(), get_num_threads())
    return delivered(y, result)


def local_response_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    size: SupportsIndex,
    *,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    layout: str = "NCHW",
) -> Array:
    """Gradient of `local_response_norm` with respect to its input.

    Parameters
    ----------
    dy : array_like
        Gradient of a loss with respect to the output, in the shape of ``x``.
    x : array_like
        The input of `local_response_norm`.
    size, alpha, beta, k, layout
        As in `local_response_norm`.

    Returns
    -------
    ndarray
        In the shape of ``x``, and the dtype NumPy promotes the inputs to.

    Raises
    ------
    ValueError
        As in `local_response_norm`, or if ``dy`` has not the shape of ``x``.
    TypeError
        As in `local_response_norm`.

    Examples
    --------
    >>> import fastconv
    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    >>> options = {"alpha": 3.0, "beta": 1.0}
    >>> dx = fastconv.local_response_norm_backward(np.ones_like(x), x, 3, **options)
    >>> step = np.array([1e-6, 0.0, 0.0]).reshape(x.shape)
    >>> above, below = (fastconv.local_response_norm(x + h, 3, **options).sum() for h in (step, -step))
    >>> bool(np.isclose(dx[0, 0, 0, 0], (above - below) / 2e-6))
    True
    """
    response = _Response.of(size, alpha, beta, k, layout)
    dy, x = as_array(dy, "dy"), as_array(x, "x")
    result, dtype = promoted(dy, x)
    dx = _core.empty(x.shape, dtype)
    n = response.layout.sizes(x.shape, "x")[0]
    check_shape(dy, x.shape, "dy", "x has shape")
    if n:
        _core.lrn_backward(readable(dy, dtype), readable(x, dtype), dx, *response.core(), get_num_threads())
    return delivered(dx, result)
