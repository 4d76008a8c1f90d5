"""The one-dimensional family: the two-dimensional operators on images of one row.

Activations are (N, C, L) and weights (O, I, K); with the layout NHWC, or NLC, they are (N, L, C) and (K, I, O).
The options are those of the two-dimensional operators, with one number where those take a pair.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from numpy.typing import ArrayLike

from fastconv.geometry import pads, pair
from fastconv.reference import conv, pool
from fastconv.reference.layout import (
    Array,
    activations_in,
    activations_out,
    shape_in,
    weight_shape_in,
    weights_in,
    weights_out,
)


def _activations(x: ArrayLike, layout: str) -> Array:
    return activations_in(x, layout)[:, :, None]


def _weights(w: ArrayLike, layout: str) -> Array:
    return weights_in(w, layout)[:, :, None]


def _shape(shape: Sequence[int]) -> tuple[int, ...]:
    return (*shape[:2], 1, shape[2])


def _options(options: dict[str, Any]) -> dict[str, Any]:
    """Give the row, one pixel high, a stride, dilation and kernel of one and no padding."""
    lifted = dict(options)
    for name, neutral in (("stride", 1), ("dilation", 1), ("output_padding", 0)):
        if lifted.get(name) is not None:
            lifted[name] = pair(lifted[name], 1, name, neutral)
    sides = pads(lifted.get("padding", 0), 1)
    lifted["padding"] = "same" if sides is None else (sides[:2], sides[2:])
    return lifted


def conv1d(x: ArrayLike, w: ArrayLike, b: ArrayLike | None = None, *, layout: str = "NCHW", **options: Any) -> Array:
    """`conv2d` along one axis."""
    y = conv.conv2d(_activations(x, layout), _weights(w, layout), b, **_options(options))
    return activations_out(y[:, :, 0], layout)


def conv1d_backward_input(
    dy: ArrayLike, w: ArrayLike, input_shape: Sequence[int], *, layout: str = "NCHW", **options: Any
) -> Array:
    """`conv2d_backward_input` along one axis."""
    shape = _shape(shape_in(input_shape, layout))
    dx = conv.conv2d_backward_input(_activations(dy, layout), _weights(w, layout), shape, **_options(options))
    return activations_out(dx[:, :, 0], layout)


def conv1d_backward_weight(
    dy: ArrayLike, x: ArrayLike, weight_shape: Sequence[int], *, layout: str = "NCHW", **options: Any
) -> Array:
    """`conv2d_backward_weight` along one axis."""
    shape = _shape(weight_shape_in(weight_shape, layout))
    dw = conv.conv2d_backward_weight(_activations(dy, layout), _activations(x, layout), shape, **_options(options))
    return weights_out(dw[:, :, 0], layout)


def conv1d_backward(
    dy: ArrayLike,
    x: ArrayLike,
    w: ArrayLike,
    *,
    layout: str = "NCHW",
    needs: Container[str] = ("x", "w", "b"),
    **options: Any,
) -> tuple[Array | None, Array | None, Array | None]:
    """`conv2d_backward` along one axis."""
    dx, dw, db = conv.conv2d_backward(
        _activations(dy, layout), _activations(x, layout), _weights(w, layout), needs=needs, **_options(options)
    )
    return (
        None if dx is None else activations_out(dx[:, :, 0], layout),
        None if dw is None else weights_out(dw[:, :, 0], layout),
        db,
    )


def conv_transpose1d(
    x: ArrayLike, w: ArrayLike, b: ArrayLike | None = None, *, layout: str = "NCHW", **options: Any
) -> Array:
    """`conv_transpose2d` along one axis."""
    y = conv.conv_transpose2d(_activations(x, layout), _weights(w, layout), b, **_options(options))
    return activations_out(y[:, :, 0], layout)


def max_pool1d(
    x: ArrayLike, kernel_size: Any, *, return_indices: bool = False, layout: str = "NCHW", **options: Any
) -> Array | tuple[Array, Array]:
    """`max_pool2d` along one axis."""
    kernel = pair(kernel_size, 1, "kernel_size")
    y, indices = pool.max_pool2d(_activations(x, layout), kernel, return_indices=True, **_options(options))
    y, indices = activations_out(y[:, :, 0], layout), activations_out(indices[:, :, 0], layout)
    return (y, indices) if return_indices else y


def max_pool1d_backward(
    dy: ArrayLike,
    x: ArrayLike,
    kernel_size: Any,
    *,
    indices: ArrayLike | None = None,
    layout: str = "NCHW",
    **options: Any,
) -> Array:
    """`max_pool2d_backward` along one axis."""
    kernel = pair(kernel_size, 1, "kernel_size")
    if indices is not None:
        indices = _activations(indices, layout)
    dx = pool.max_pool2d_backward(
        _activations(dy, layout), _activations(x, layout), kernel, indices=indices, **_options(options)
    )
    return activations_out(dx[:, :, 0], layout)


def avg_pool1d(x: ArrayLike, kernel_size: Any, *, layout: str = "NCHW", **options: Any) -> Array:
    """`avg_pool2d` along one axis."""
    y = pool.avg_pool2d(_activations(x, layout), pair(kernel_size, 1, "kernel_size"), **_options(options))
    return activations_out(y[:, :, 0], layout)


def avg_pool1d_backward(
    dy: ArrayLike, input_shape: Sequence[int], kernel_size: Any, *, layout: str = "NCHW", **options: Any
) -> Array:
    """`avg_pool2d_backward` along one axis."""
    shape = _shape(shape_in(input_shape, layout))
    kernel = pair(kernel_size, 1, "kernel_size")
    dx = pool.avg_pool2d_backward(_activations(dy, layout), shape, kernel, **_options(options))
    return activations_out(dx[:, :, 0], layout)
