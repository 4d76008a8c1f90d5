"""Layouts: the reference computes in NCHW and OIHW, and moves axes on the way in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[Any]

_CHANNELS_LAST = ("NHWC", "NLC")


def activations_in(x: ArrayLike, layout: str) -> Array:
    """View activations of `layout` as NCHW."""
    return np.moveaxis(np.asarray(x), -1, 1) if layout in _CHANNELS_LAST else np.asarray(x)


def activations_out(x: Array, layout: str) -> Array:
    """View NCHW activations in `layout`."""
    return np.moveaxis(x, 1, -1) if layout in _CHANNELS_LAST else x


def weights_in(w: ArrayLike, layout: str) -> Array:
    """View weights as OIHW: with NHWC they come as HWIO."""
    return np.moveaxis(np.asarray(w), (-1, -2), (0, 1)) if layout in _CHANNELS_LAST else np.asarray(w)


def weights_out(w: Array, layout: str) -> Array:
    """View OIHW weights the way `layout` holds them."""
    return np.moveaxis(w, (0, 1), (-1, -2)) if layout in _CHANNELS_LAST else w


def shape_in(shape: Sequence[int], layout: str) -> tuple[int, ...]:
    """NCHW shape of activations that have `shape` in `layout`."""
    return (shape[0], shape[-1], *shape[1:-1]) if layout in _CHANNELS_LAST else tuple(shape)


def weight_shape_in(shape: Sequence[int], layout: str) -> tuple[int, ...]:
    """OIHW shape of weights that have `shape` in `layout`."""
    return (shape[-1], shape[-2], *shape[:-2]) if layout in _CHANNELS_LAST else tuple(shape)
