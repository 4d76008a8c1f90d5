"""Convolution and max pooling as primitives of HIPS autograd, differentiable any number of times.

``from fastconv.integrations.autograd import conv2d, max_pool2d``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.extend import defvjp, primitive
from numpy.typing import ArrayLike

import fastconv
from fastconv.arrays import Array
from fastconv.geometry import Ints, Padding

__all__ = ["conv2d", "max_pool2d"]

# A convolution is bilinear in image and filter: the gradients of its two gradients lead back to these three.
_forward = primitive(fastconv.conv2d)
_by_input = primitive(fastconv.conv2d_backward_input)
_by_weight = primitive(fastconv.conv2d_backward_weight)

defvjp(
    _forward,
    lambda y, x, w, strict=False, **how: lambda dy: _by_input(dy, w, np.shape(x), **how),
    lambda y, x, w, strict=False, **how: lambda dy: _by_weight(dy, x, np.shape(w), **how),
)
defvjp(
    _by_input,
    lambda dx, dy, w, shape, **how: lambda g: _forward(g, w, **how),
    lambda dx, dy, w, shape, **how: lambda g: _by_weight(dy, g, np.shape(w), **how),
    argnums=(0, 1),
)
defvjp(
    _by_weight,
    lambda dw, dy, x, shape, **how: lambda g: _forward(x, g, **how),
    lambda dw, dy, x, shape, **how: lambda g: _by_input(dy, g, np.shape(x), **how),
    argnums=(0, 1),
)


def conv2d(
    x: ArrayLike, w: ArrayLike, b: ArrayLike | None = None, *, activation: str | None = None, **how: Any
) -> Array:
    """Convolve as `fastconv.conv2d`, with gradients by ``x``, ``w`` and ``b``; ``out`` is not taken."""
    if "out" in how:
        raise TypeError("out= has no gradient")
    if activation not in (None, "relu"):
        raise ValueError(f'activation must be None or "relu", not {activation!r}')
    y = _forward(x, w, **how)
    if b is not None:
        y = y + (b if how.get("layout") == "NHWC" else anp.reshape(b, (-1, 1, 1)))
    return anp.maximum(y, 0) if activation else y


def _value(x: Any) -> Any:
    """Return the array that autograd's boxes hold."""
    while hasattr(x, "_value"):
        x = x._value
    return x


@primitive
def _pool(x: Array, kernel_size: Ints, how: dict[str, Any], strict: bool) -> Array:
    return fastconv.max_pool2d(x, kernel_size, strict=strict, **how)


@primitive
def _scatter(dy: Array, x: Array, indices: Array, kernel_size: Ints, how: dict[str, Any]) -> Array:
    return fastconv.max_pool2d_backward(dy, x, kernel_size, indices=indices, **how)


@primitive
def _gather(g: Array, x: Array, indices: Array, kernel_size: Ints, how: dict[str, Any]) -> Array:
    """Take the elements that won their windows: what `_scatter` is the transpose of."""
    axis, flat = (1, (g.shape[0], -1, g.shape[3])) if how.get("layout") == "NHWC" else (2, (*g.shape[:2], -1))
    picked = np.take_along_axis(g.reshape(flat), indices.reshape(flat), axis)
    return picked.reshape(indices.shape)


def _pool_vjp(y: Array, x: Array, kernel_size: Ints, how: dict[str, Any], strict: bool) -> Callable[[Array], Array]:
    image = _value(x)
    _, indices = fastconv.max_pool2d(image, kernel_size, return_indices=True, **how)
    return lambda dy: _scatter(dy, image, indices, kernel_size, how)


defvjp(_pool, _pool_vjp, argnums=(0,))
defvjp(_scatter, lambda dx, dy, *rest: lambda g: _gather(g, *rest), argnums=(0,))
defvjp(_gather, lambda dy, g, *rest: lambda h: _scatter(h, *rest), argnums=(0,))


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
) -> Array | tuple[Array, Array]:
    """Pool as `fastconv.max_pool2d`, with the gradient by ``x``; ``out`` is not taken, and indices have no gradient."""
    how: dict[str, Any] = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": ceil_mode,
        "layout": layout,
    }
    y = _pool(x, kernel_size, how, strict)
    return (y, fastconv.max_pool2d(_value(x), kernel_size, return_indices=True, **how)[1]) if return_indices else y
