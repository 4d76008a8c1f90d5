"""The fast layers of Stanford's CS231n assignment: same names, arguments and errors, over fastconv.

``from fastconv.integrations.cs231n import *`` takes the place of the assignment's ``fast_layers`` and its
convolutional ``layer_utils``. A cache is what the assignment's naive layer keeps; no im2col matrix is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from fastconv.arrays import Array
from fastconv.conv import conv2d, conv2d_backward
from fastconv.pool import max_pool2d, max_pool2d_backward

Param: TypeAlias = Mapping[str, int]
ConvCache: TypeAlias = tuple[Array, Array, Array, Param]
PoolCache: TypeAlias = tuple[Array, Param]

__all__ = [
    "conv_backward_fast",
    "conv_forward_fast",
    "conv_relu_backward",
    "conv_relu_forward",
    "conv_relu_pool_backward",
    "conv_relu_pool_forward",
    "max_pool_backward_fast",
    "max_pool_forward_fast",
]


def _assert_tiles(x: Array, kernel: tuple[int, int], stride: int, pad: int) -> None:
    """Raise the assignment's AssertionError for a window that does not tile the padded image."""
    for name, size, span in (("height", x.shape[2], kernel[0]), ("width", x.shape[3], kernel[1])):
        if (size + 2 * pad - span) % stride:
            raise AssertionError(f"{name} does not work: ({size} + 2 * {pad} - {span}) % {stride} != 0")


def conv_forward_fast(x: Array, w: Array, b: Array, conv_param: Param) -> tuple[Array, ConvCache]:
    """Convolve (N, C, H, W) with (F, C, HH, WW) and bias (F,); ``conv_param`` holds "stride" and "pad"."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    _assert_tiles(x, w.shape[2:], stride, pad)
    return conv2d(x, w, b, stride=stride, padding=pad), (x, w, b, conv_param)


def conv_backward_fast(dout: Array, cache: ConvCache) -> tuple[Any, Any, Any]:
    """Return (dx, dw, db) from the upstream gradient and the cache of `conv_forward_fast`."""
    x, w, _, conv_param = cache
    return conv2d_backward(dout, x, w, stride=conv_param["stride"], padding=conv_param["pad"])


def max_pool_forward_fast(x: Array, pool_param: Param) -> tuple[Array, PoolCache]:
    """Pool (N, C, H, W); ``pool_param`` holds "pool_height", "pool_width" and "stride"."""
    kernel, stride = (pool_param["pool_height"], pool_param["pool_width"]), pool_param["stride"]
    _assert_tiles(x, kernel, stride, 0)
    return max_pool2d(x, kernel, stride=stride), (x, pool_param)


def max_pool_backward_fast(dout: Array, cache: PoolCache) -> Array:
    """Return dx; a tie goes to the first maximum of a window, as in the assignment's im2col layer."""
    x, pool_param = cache
    kernel = (pool_param["pool_height"], pool_param["pool_width"])
    return max_pool2d_backward(dout, x, kernel, stride=pool_param["stride"])


def conv_relu_forward(x: Array, w: Array, b: Array, conv_param: Param) -> tuple[Array, tuple[ConvCache, Array]]:
    """Convolve, then rectify; the cache is (conv_cache, relu_cache)."""
    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    return np.maximum(0, a), (conv_cache, a)


def conv_relu_backward(dout: Array, cache: tuple[ConvCache, Array]) -> tuple[Any, Any, Any]:
    """Return (dx, dw, db) of `conv_relu_forward`."""
    conv_cache, relu_cache = cache
    return conv_backward_fast(dout * (relu_cache > 0), conv_cache)


def conv_relu_pool_forward(
    x: Array, w: Array, b: Array, conv_param: Param, pool_param: Param
) -> tuple[Array, tuple[ConvCache, Array, PoolCache]]:
    """Convolve, rectify and pool; the cache is (conv_cache, relu_cache, pool_cache)."""
    s, (conv_cache, relu_cache) = conv_relu_forward(x, w, b, conv_param)
    out, pool_cache = max_pool_forward_fast(s, pool_param)
    return out, (conv_cache, relu_cache, pool_cache)


def conv_relu_pool_backward(dout: Array, cache: tuple[ConvCache, Array, PoolCache]) -> tuple[Any, Any, Any]:
    """Return (dx, dw, db) of `conv_relu_pool_forward`."""
    conv_cache, relu_cache, pool_cache = cache
    return conv_relu_backward(max_pool_backward_fast(dout, pool_cache), (conv_cache, relu_cache))
