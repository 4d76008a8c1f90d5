"""The reference's pools and normalisation: worked by hand, and their gradients by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from gradients import numerical_gradient
from pools import TINY_POOLS

from fastconv import reference

LECTURE = np.array([[[[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]]])  # CS231n, "Pooling layer"
NAN = np.nan


def test_max_pool_of_the_lecture():
    y, indices = reference.max_pool2d(LECTURE, 2, stride=2, return_indices=True)
    np.testing.assert_array_equal(y, [[[[6, 8], [3, 4]]]])
    np.testing.assert_array_equal(indices, [[[[5, 7], [8, 15]]]])


def test_avg_pool_of_the_lecture():
    np.testing.assert_array_equal(reference.avg_pool2d(LECTURE, 2), [[[[3.25, 5.25], [2, 2]]]])


def test_gradient_goes_to_the_maximum():
    dx = reference.max_pool2d_backward([[[[1.0, 2], [3, 4]]]], LECTURE, 2)
    np.testing.assert_array_equal(dx, [[[[0, 0, 0, 0], [0, 1, 0, 2], [3, 0, 0, 0], [0, 0, 0, 4]]]])
    dx = reference.max_pool2d_backward([[[[1.0, 2], [3, 4]]]], LECTURE, 2, indices=[[[[0, 2], [2, 15]]]])
    np.testing.assert_array_equal(dx, [[[[1, 0, 5, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 4]]]])


def test_ties_go_to_the_first_in_row_major_order():
    _, indices = reference.max_pool2d(np.zeros((1, 1, 4, 4)), 3, stride=1, padding=1, return_indices=True)
    np.testing.assert_array_equal(indices[0, 0], [[0, 0, 1, 2], [0, 0, 1, 2], [4, 4, 5, 6], [8, 8, 9, 10]])


@pytest.mark.parametrize(
    ("row", "expected", "index"),
    [
        ([1, NAN, 5, NAN], NAN, 1),
        ([-np.inf, -np.inf, -np.inf, -np.inf], -np.inf, 0),
        ([-np.inf, -np.inf, -3, -np.inf], -3, 2),
        ([np.inf, 2, NAN, np.inf], NAN, 2),
        ([-0.0, 0.0, -0.0, 0.0], 0.0, 0),
    ],
)
def test_max_pool_of_special_values(row, expected, index):
    y, indices = reference.max_pool2d([[[row]]], (3, 4), padding=1, return_indices=True)
    np.testing.assert_array_equal(y, [[[[expected]]]])
    assert indices.item() == index


def test_padding_never_wins():
    y = reference.max_pool2d(np.full((1, 1, 2, 2), -7.0), 3, stride=1, padding=1)
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 2), -7.0))


def test_divisors():
    ones = np.ones((1, 1, 3, 3))
    y = reference.avg_pool2d(ones, 2, stride=2, padding=1)
    np.testing.assert_array_equal(y, [[[[1 / 4, 1 / 2], [1 / 2, 1]]]])
    y = reference.avg_pool2d(ones, 2, stride=2, padding=1, count_include_pad=False)
    np.testing.assert_array_equal(y, [[[[1, 1], [1, 1]]]])
    # The last windows begin inside and reach past even the padding: only what is inside it counts.
    y = reference.avg_pool2d(np.ones((1, 1, 1, 6)), (1, 4), stride=3, padding=(0, 1), ceil_mode=True)
    np.testing.assert_array_equal(y, [[[[3 / 4, 1, 1 / 2]]]])


@pytest.mark.parametrize("pool", TINY_POOLS, ids=str)
@pytest.mark.parametrize("include", [True, False])
def test_avg_gradient_by_finite_differences(rng, pool, include):
    x = rng.standard_normal((1, 1, *pool.shape[2:]))
    options = {**pool.options, "count_include_pad": include}
    y = reference.avg_pool2d(x, pool.kernel_size, **options)
    dy = rng.standard_normal(y.shape)
    dx = reference.avg_pool2d_backward(dy, x.shape, pool.kernel_size, **options)
    slope = numerical_gradient(lambda x: reference.avg_pool2d(x, pool.kernel_size, **options), x, dy, 1.0)
    np.testing.assert_allclose(dx, slope, atol=1e-12)


@pytest.mark.parametrize("pool", TINY_POOLS, ids=str)
def test_max_gradient_by_finite_differences(rng, pool):
    size = int(np.prod(pool.shape[2:]))
    x = rng.permutation(np.arange(size)).astype(float).reshape(1, 1, *pool.shape[2:])  # no ties, a whole apart
    dy = rng.standard_normal(reference.max_pool2d(x, pool.kernel_size, **pool.options).shape)
    dx = reference.max_pool2d_backward(dy, x, pool.kernel_size, **pool.options)
    slope = numerical_gradient(lambda x: reference.max_pool2d(x, pool.kernel_size, **pool.options), x, dy, 0.25)
    np.testing.assert_allclose(dx, slope, atol=1e-9)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, [1 / 4, 2 / 13, 3 / 28]), (2, [1 / 2.5, 2 / 8.5, 3 / 20.5]), (3, [1 / 6, 2 / 15, 3 / 14])],
)
def test_local_response_norm_by_hand(size, expected):
    x = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    y = reference.local_response_norm(x, size, alpha=3, beta=1, k=1)
    np.testing.assert_allclose(y.ravel(), expected)


@pytest.mark.parametrize("size", range(1, 8))
def test_local_response_norm_gradient_by_finite_differences(rng, size):
    x, dy = rng.standard_normal((2, 2, 5, 2, 3))
    options = {"alpha": 0.9, "beta": 0.75, "k": 1.5}
    dx = reference.local_response_norm_backward(dy, x, size, **options)
    slope = numerical_gradient(lambda x: reference.local_response_norm(x, size, **options), x, dy, 1e-5)
    np.testing.assert_allclose(dx, slope, atol=1e-9)


def test_a_line_is_an_image_of_one_row(rng):
    x = rng.standard_normal((2, 3, 11))
    options = {"stride": 2, "padding": 1, "ceil_mode": True}
    plane = {"stride": (1, 2), "padding": (0, 1), "ceil_mode": True}
    y, indices = reference.max_pool1d(x, 3, return_indices=True, **options)
    y2, indices2 = reference.max_pool2d(x[:, :, None], (1, 3), return_indices=True, **plane)
    np.testing.assert_array_equal(y, y2[:, :, 0])
    np.testing.assert_array_equal(indices, indices2[:, :, 0])
    dx = reference.max_pool2d_backward(y2, x[:, :, None], (1, 3), **plane)[:, :, 0]
    np.testing.assert_array_equal(reference.max_pool1d_backward(y, x, 3, **options), dx)
    np.testing.assert_array_equal(reference.max_pool1d_backward(y, x, 3, indices=indices, **options), dx)
    mean = reference.avg_pool2d(x[:, :, None], (1, 3), **plane)
    np.testing.assert_array_equal(reference.avg_pool1d(x, 3, **options), mean[:, :, 0])
    dx = reference.avg_pool2d_backward(mean, (2, 3, 1, 11), (1, 3), **plane)[:, :, 0]
    np.testing.assert_array_equal(reference.avg_pool1d_backward(mean[:, :, 0], x.shape, 3, **options), dx)
    last = reference.max_pool1d(x.swapaxes(1, 2), 3, layout="NHWC", **options)
    np.testing.assert_array_equal(last, y.swapaxes(1, 2))
