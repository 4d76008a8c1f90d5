"""The reference against PyTorch, where it is installed: other people's reading of the same operators."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import reference

torch = pytest.importorskip("torch")
F = torch.nn.functional

close = np.testing.assert_allclose


def leaf(a):
    return torch.tensor(a, requires_grad=True)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("dilation", [1, (2, 3)])
@pytest.mark.parametrize("padding", [0, (2, 4)])
@pytest.mark.parametrize("stride", [1, (3, 2)])
def test_conv2d(rng, stride, padding, dilation, groups):
    x, w, b = rng.standard_normal((2, 6, 13, 11)), rng.standard_normal((12, 6 // groups, 3, 2)), rng.standard_normal(12)
    tx, tw, tb = leaf(x), leaf(w), leaf(b)
    y = F.conv2d(tx, tw, tb, stride, padding, dilation, groups)
    dy = rng.standard_normal(y.shape)
    y.backward(torch.tensor(dy))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    close(reference.conv2d(x, w, b, **options), y.detach(), atol=1e-12)
    for ours, theirs in zip(reference.conv2d_backward(dy, x, w, **options), (tx, tw, tb), strict=True):
        close(ours, theirs.grad, atol=1e-11)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_at_stride_1(rng, kernel, dilation):
    x, w = rng.standard_normal((1, 2, 7, 8)), rng.standard_normal((3, 2, kernel, kernel))
    y = F.conv2d(torch.tensor(x), torch.tensor(w), padding="same", dilation=dilation)
    close(reference.conv2d(x, w, padding="same", dilation=dilation), y, atol=1e-12)


@pytest.mark.parametrize("dilation", [1, (2, 3)])
@pytest.mark.parametrize(("stride", "output_padding"), [(1, 0), (2, 1), ((3, 2), (2, 0)), ((3, 4), (1, 3))])
@pytest.mark.parametrize("padding", [0, (2, 1)])
def test_conv_transpose2d(rng, stride, padding, output_padding, dilation):
    x, w, b = rng.standard_normal((2, 6, 5, 7)), rng.standard_normal((6, 4, 3, 2)), rng.standard_normal(8)
    y = F.conv_transpose2d(*map(torch.tensor, (x, w, b)), stride, padding, output_padding, 2, dilation)
    options = {
        "stride": stride,
        "padding": padding,
        "output_padding": output_padding,
        "dilation": dilation,
        "groups": 2,
    }
    close(reference.conv_transpose2d(x, w, b, **options), y, atol=1e-12)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [None, 1, (3, 2), 4])
@pytest.mark.parametrize("kernel", [2, 3, (3, 2)])
def test_max_pool2d(rng, kernel, stride, padding, dilation, ceil_mode):
    x = rng.integers(-3, 4, (2, 3, 10, 11)).astype(float)  # with ties
    tx = leaf(x)
    y, indices = F.max_pool2d(tx, kernel, stride, padding, dilation, ceil_mode, return_indices=True)
    dy = rng.standard_normal(y.shape)
    y.backward(torch.tensor(dy))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    ours, our_indices = reference.max_pool2d(x, kernel, return_indices=True, **options)
    np.testing.assert_array_equal(ours, y.detach())
    np.testing.assert_array_equal(our_indices, indices)
    close(reference.max_pool2d_backward(dy, x, kernel, **options), tx.grad, atol=1e-12)


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [None, 1, (3, 2), 4])
@pytest.mark.parametrize("kernel", [2, 3, (3, 2)])
def test_avg_pool2d(rng, kernel, stride, padding, ceil_mode, include):
    x = rng.standard_normal((2, 3, 10, 11))
    tx = leaf(x)
    y = F.avg_pool2d(tx, kernel, stride, padding, ceil_mode, include)
    dy = rng.standard_normal(y.shape)
    y.backward(torch.tensor(dy))
    options = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode, "count_include_pad": include}
    close(reference.avg_pool2d(x, kernel, **options), y.detach(), atol=1e-12)
    close(reference.avg_pool2d_backward(dy, x.shape, kernel, **options), tx.grad, atol=1e-12)


@pytest.mark.parametrize("size", range(1, 10))
def test_local_response_norm(rng, size):
    x = rng.standard_normal((2, 7, 3, 4))
    tx = leaf(x)
    y = F.local_response_norm(tx, size, alpha=0.3, beta=0.6, k=2.0)
    dy = rng.standard_normal(y.shape)
    y.backward(torch.tensor(dy))
    options = {"alpha": 0.3, "beta": 0.6, "k": 2.0}
    close(reference.local_response_norm(x, size, **options), y.detach(), atol=1e-12)
    close(reference.local_response_norm_backward(dy, x, size, **options), tx.grad, atol=1e-12)
