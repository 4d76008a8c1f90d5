"""The fast layers of Stanford's CS231n assignment: same names, arguments and errors, over fastconv.

``from fastconv.integrations.cs231n import *`` takes the place of the assignment's ``fast_layers`` and its
convolutional ``layer_utils``. A cache is what the assignment's naive layer keeps; no im2col matrix is stored.
Spatial batch normalisation is that of the assignment, in NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, TypeAlias

import numpy as np

from fastconv.arrays import Array
from fastconv.conv import conv2d, conv2d_backward
from fastconv.pool import max_pool2d, max_pool2d_backward

Param: TypeAlias = Mapping[str, int]
ConvCache: TypeAlias = tuple[Array, Array, Array, Param]
PoolCache: TypeAlias = tuple[Array, Param]
NormParam: TypeAlias = MutableMapping[str, Any]
NormCache: TypeAlias = tuple[Array, Array, Array, str]
ConvNormCache: TypeAlias = tuple[ConvCache, NormCache, Array]

__all__ = [
    "conv_backward_fast",
    "conv_bn_relu_backward",
    "conv_bn_relu_forward",
    "conv_bn_relu_pool_backward",
    "conv_bn_relu_pool_forward",
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


def _normalize(x: Array, gamma: Array, beta: Array, bn_param: NormParam) -> tuple[Array, NormCache]:
    """Normalise each channel of (N, C, H, W) over images and pixels, then scale by gamma and shift by beta, (C,).

    ``bn_param`` holds "mode", "train" or "test", and maybe "eps" (1e-5), "momentum" (0.9), "running_mean" and
    "running_var" (zeros). Training moves the last two towards the batch's mean and biased variance and stores them;
    the test mode normalises by them.
    """
    mode, channels = bn_param["mode"], x.shape[1]
    running_mean = bn_param.get("running_mean", np.zeros(channels, x.dtype))
    running_var = bn_param.get("running_var", np.zeros(channels, x.dtype))
    if mode == "train":
        mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        momentum = bn_param.get("momentum", 0.9)
        bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mean
        bn_param["running_var"] = momentum * running_var + (1 - momentum) * var
    elif mode == "test":
        mean, var = running_mean, running_var
    else:
        raise ValueError(f'Invalid forward batchnorm mode "{mode}"')
    inverse = 1 / np.sqrt(var + bn_param.get("eps", 1e-5))
    normalized = (x - _per_channel(mean)) * _per_channel(inverse)
    return _per_channel(gamma) * normalized + _per_channel(beta), (normalized, gamma, inverse, mode)


def _normalize_backward(dout: Array, cache: NormCache) -> tuple[Array, Array, Array]:
    """Return (dx, dgamma, dbeta); in test mode the mean and the variance are constants."""
    normalized, gamma, inverse, mode = cache
    dgamma, dbeta = (dout * normalized).sum(axis=(0, 2, 3)), dout.sum(axis=(0, 2, 3))
    if mode == "train":
        count = dout.size // dout.shape[1]
        dout = dout - (_per_channel(dbeta) + normalized * _per_channel(dgamma)) / count
    return dout * _per_channel(gamma * inverse), dgamma, dbeta


def _per_channel(values: Array) -> Array:
    return values.reshape(-1, 1, 1)


def conv_bn_relu_forward(
    x: Array, w: Array, b: Array, gamma: Array, beta: Array, conv_param: Param, bn_param: NormParam
) -> tuple[Array, ConvNormCache]:
    """Convolve, normalise and rectify; the cache is (conv_cache, bn_cache, relu_cache).

    ``bn_param`` holds "mode", "train" or "test", and maybe "eps", "momentum", "running_mean" and "running_var", the
    last two of which training updates. Another mode is a ValueError.
    """
    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    an, bn_cache = _normalize(a, gamma, beta, bn_param)
    return np.maximum(0, an), (conv_cache, bn_cache, an)


def conv_bn_relu_backward(dout: Array, cache: ConvNormCache) -> tuple[Any, Any, Any, Array, Array]:
    """Return (dx, dw, db, dgamma, dbeta) of `conv_bn_relu_forward`."""
    conv_cache, bn_cache, relu_cache = cache
    da, dgamma, dbeta = _normalize_backward(dout * (relu_cache > 0), bn_cache)
    return *conv_backward_fast(da, conv_cache), dgamma, dbeta


def conv_bn_relu_pool_forward(
    x: Array,
    w: Array,
    b: Array,
    gamma: Array,
    beta: Array,
    conv_param: Param,
    bn_param: NormParam,
    pool_param: Param,
) -> tuple[Array, tuple[ConvCache, NormCache, Array, PoolCache]]:
    """Convolve, normalise, rectify and pool; the cache is (conv_cache, bn_cache, relu_cache, pool_cache)."""
    s, (conv_cache, bn_cache, relu_cache) = conv_bn_relu_forward(x, w, b, gamma, beta, conv_param, bn_param)
    out, pool_cache = max_pool_forward_fast(s, pool_param)
    return out, (conv_cache, bn_cache, relu_cache, pool_cache)


def conv_bn_relu_pool_backward(
    dout: Array, cache: tuple[ConvCache, NormCache, Array, PoolCache]
) -> tuple[Any, Any, Any, Array, Array]:
    """Return (dx, dw, db, dgamma, dbeta) of `conv_bn_relu_pool_forward`."""
    conv_cache, bn_cache, relu_cache, pool_cache = cache
    return conv_bn_relu_backward(max_pool_backward_fast(dout, pool_cache), (conv_cache, bn_cache, relu_cache))
