"""CS231n's layers against the reference operators, and their errors."""

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
