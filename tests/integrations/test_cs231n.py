"""CS231n's layers against the reference operators and finite differences, and their errors."""

from collections.abc import Callable

import numpy as np
import pytest

from fastconv import reference
from fastconv.integrations import cs231n

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.mark.parametrize(("size", "kernel", "stride", "pad"), [(8, 3, 1, 1), (9, 3, 2, 1), (7, 5, 1, 0)])
def test_conv_relu_pool(rng: np.random.Generator, size: int, kernel: int, stride: int, pad: int) -> None:
    x, w, b = rng.normal(size=(2, 3, size, size)), rng.normal(size=(4, 3, kernel, kernel)), rng.normal(size=4)
    conv_param, pool_param = {"stride": stride, "pad": pad}, {"pool_height": 2, "pool_width": 2, "stride": 1}
    a = reference.conv2d(x, w, b, stride=stride, padding=pad)
    s = np.maximum(a, 0)
    want = reference.max_pool2d(s, 2, stride=1)
    out, cache = cs231n.conv_relu_pool_forward(x, w, b, conv_param, pool_param)
    np.testing.assert_allclose(out, want, **CLOSE)
    dout = rng.normal(size=out.shape)
    da = reference.max_pool2d_backward(dout, s, 2, stride=1) * (a > 0)
    gradients = reference.conv2d_backward(da, x, w, stride=stride, padding=pad)
    for got, wanted in zip(cs231n.conv_relu_pool_backward(dout, cache), gradients, strict=True):
        np.testing.assert_allclose(got, wanted, **CLOSE)


def test_windows_that_do_not_tile() -> None:
    x, w, b = np.zeros((1, 1, 8, 7)), np.zeros((1, 1, 3, 3)), np.zeros(1)
    with pytest.raises(AssertionError, match=r"height does not work: \(8 \+ 2 \* 0 - 3\) % 2"):
        cs231n.conv_forward_fast(x, w, b, {"stride": 2, "pad": 0})
    with pytest.raises(AssertionError, match=r"width does not work: \(7 \+ 2 \* 0 - 2\) % 2"):
        cs231n.max_pool_forward_fast(x, {"pool_height": 2, "pool_width": 2, "stride": 2})


def normalized(a: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float):
    """Normalise channel by channel."""
    channels = [gamma[c] * (a[:, c] - mean[c]) / np.sqrt(var[c] + eps) + beta[c] for c in range(a.shape[1])]
    return np.stack(channels, axis=1)


def slope(loss: Callable[[], float], array: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Return the gradient of a loss by an array that it reads, by central differences."""
    gradient = np.empty_like(array)
    for place in np.ndindex(array.shape):
        value = array[place]
        array[place] = value + step
        after = loss()
        array[place] = value - step
        gradient[place] = (after - loss()) / (2 * step)
        array[place] = value
    return gradient


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("mode", ["train", "test"])
def test_conv_bn_relu(rng: np.random.Generator, mode: str, pool: bool) -> None:
    arrays = [rng.normal(size=shape) for shape in ((2, 2, 6, 6), (3, 2, 3, 3), (3,), (3,), (3,))]
    x, w, b, gamma, beta = arrays
    conv_param, pool_param = {"stride": 1, "pad": 1}, {"pool_height": 2, "pool_width": 2, "stride": 2}
    given = {"eps": 1e-3, "running_mean": rng.normal(size=3), "running_var": rng.uniform(1, 2, 3)}

    def plain() -> np.ndarray:
        a = reference.conv2d(x, w, b, padding=1)
        train = mode == "train"
        mean = a.mean(axis=(0, 2, 3)) if train else given["running_mean"]
        var = ((a - mean[:, None, None]) ** 2).mean(axis=(0, 2, 3)) if train else given["running_var"]
        s = np.maximum(normalized(a, gamma, beta, mean, var, given["eps"]), 0)
        return reference.max_pool2d(s, 2) if pool else s

    how = [conv_param, {"mode": mode, **given}, *([pool_param] if pool else [])]
    forward = cs231n.conv_bn_relu_pool_forward if pool else cs231n.conv_bn_relu_forward
    backward = cs231n.conv_bn_relu_pool_backward if pool else cs231n.conv_bn_relu_backward
    out, cache = forward(*arrays, *how)
    np.testing.assert_allclose(out, plain(), **CLOSE)
    assert len(cache) == (4 if pool else 3)
    dout = rng.normal(size=out.shape)
    for got, array in zip(backward(dout, cache), arrays, strict=True):
        np.testing.assert_allclose(got, slope(lambda: float((dout * plain()).sum()), array), rtol=1e-5, atol=1e-6)


def test_running_statistics(rng: np.random.Generator) -> None:
    x, w, b = rng.normal(size=(4, 2, 5, 5)), rng.normal(size=(3, 2, 3, 3)), np.ones(3)
    conv_param = {"stride": 1, "pad": 0}
    a = reference.conv2d(x, w, b)
    mean, var = a.mean(axis=(0, 2, 3)), a.var(axis=(0, 2, 3))
    bn_param: dict = {"mode": "train"}
    cs231n.conv_bn_relu_forward(x, w, b, np.ones(3), np.zeros(3), conv_param, bn_param)
    np.testing.assert_allclose(bn_param["running_mean"], 0.1 * mean, **CLOSE)
    np.testing.assert_allclose(bn_param["running_var"], 0.1 * var, **CLOSE)
    bn_param["momentum"] = 0.5
    cs231n.conv_bn_relu_forward(x, w, b, np.ones(3), np.zeros(3), conv_param, bn_param)
    np.testing.assert_allclose(bn_param["running_mean"], 0.55 * mean, **CLOSE)
    np.testing.assert_allclose(bn_param["running_var"], 0.55 * var, **CLOSE)
    bn_param["mode"] = "test"
    kept = dict(bn_param)
    cs231n.conv_bn_relu_forward(x, w, b, np.ones(3), np.zeros(3), conv_param, bn_param)
    assert all(kept[name] is bn_param[name] for name in kept)


def test_normalisation_keeps_float32(rng: np.random.Generator) -> None:
    arrays = [rng.normal(size=s).astype(np.float32) for s in ((2, 2, 4, 4), (3, 2, 3, 3), (3,), (3,), (3,))]
    out, cache = cs231n.conv_bn_relu_forward(*arrays, {"stride": 1, "pad": 1}, {"mode": "train"})
    assert {array.dtype for array in (out, *cs231n.conv_bn_relu_backward(out, cache))} == {np.dtype(np.float32)}


def test_mode_of_normalisation() -> None:
    arrays = [np.zeros(shape) for shape in ((1, 1, 3, 3), (1, 1, 3, 3), (1,), (1,), (1,))]
    with pytest.raises(ValueError, match='Invalid forward batchnorm mode "dev"'):
        cs231n.conv_bn_relu_forward(*arrays, {"stride": 1, "pad": 0}, {"mode": "dev"})
