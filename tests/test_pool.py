"""Maximum and average pools: every problem, on every instruction set, thread count, dtype and layout."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from cases import activations
from gradients import numerical_gradient
from pools import PARALLEL_POOLS, POOLS, TINY_POOLS

import fastconv
from fastconv import reference

every_pool = pytest.mark.parametrize("pool", POOLS + PARALLEL_POOLS, ids=str)
NAN, INF = np.nan, np.inf


@cache
def operands(name):
    """Input and output gradient of a pool: small integers, so that most windows hold ties."""
    pool = next(p for p in POOLS + PARALLEL_POOLS if p.name == name)
    rng = np.random.default_rng(len(name))
    x = rng.integers(-4, 5, pool.shape).astype(float)
    y, indices = reference.max_pool2d(x, pool.kernel_size, return_indices=True, **pool.options)
    return x, y, indices, rng.integers(-4, 5, y.shape).astype(float)


@cache
def exact_gradient(name):
    pool = next(p for p in POOLS + PARALLEL_POOLS if p.name == name)
    x, _, _, dy = operands(name)
    return reference.max_pool2d_backward(dy, x, pool.kernel_size, **pool.options)


@every_pool
def test_maxima_and_their_indices(pool, isa, threads, dtype, layout):
    x, y, indices, _ = operands(pool.name)
    x = activations(x, layout, dtype)
    ours, our_indices = fastconv.max_pool2d(x, pool.kernel_size, return_indices=True, layout=layout, **pool.options)
    assert ours.dtype == dtype
    assert our_indices.dtype == np.int64
    np.testing.assert_array_equal(ours, activations(y, layout))
    np.testing.assert_array_equal(our_indices, activations(indices, layout))
    out = np.full_like(ours, np.nan)
    assert fastconv.max_pool2d(x, pool.kernel_size, layout=layout, out=out, **pool.options) is out
    np.testing.assert_array_equal(out, ours)


@every_pool
def test_gradient_of_the_maximum(pool, isa, threads, dtype, layout):
    x, _, indices, dy = (activations(a, layout) for a in operands(pool.name))
    x, dy = x.astype(dtype), dy.astype(dtype)
    exact = activations(exact_gradient(pool.name), layout)
    options = {**pool.options, "layout": layout}
    dx = fastconv.max_pool2d_backward(dy, x, pool.kernel_size, **options)
    assert dx.dtype == dtype
    np.testing.assert_array_equal(dx, exact)
    dx = fastconv.max_pool2d_backward(dy, x, pool.kernel_size, indices=indices.astype(np.int64), **options)
    np.testing.assert_array_equal(dx, exact)


@every_pool
@pytest.mark.parametrize("include", [True, False])
def test_average_and_its_gradient(pool, isa, threads, dtype, layout, include):
    x, _, _, dy = operands(pool.name)
    options = {**pool.options, "count_include_pad": include}
    mean = reference.avg_pool2d(x, pool.kernel_size, **options)
    spread = reference.avg_pool2d_backward(dy, x.shape, pool.kernel_size, **options)
    x, dy = activations(x, layout, dtype), activations(dy, layout, dtype)
    y = fastconv.avg_pool2d(x, pool.kernel_size, layout=layout, **options)
    dx = fastconv.avg_pool2d_backward(dy, x.shape, pool.kernel_size, layout=layout, **options)
    assert y.dtype == dx.dtype == dtype
    # The sums of integers are exact; the mean is rounded once or twice, each share before it is summed.
    taps = np.prod(pool.kernel_size) if isinstance(pool.kernel_size, tuple) else pool.kernel_size**2
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(y, activations(mean, layout), rtol=2 * eps, atol=0)
    np.testing.assert_allclose(dx, activations(spread, layout), rtol=0, atol=eps * 4 * taps)


@pytest.mark.parametrize("pool", TINY_POOLS, ids=str)
def test_gradients_by_finite_differences(rng, isa, pool):
    size = int(np.prod(pool.shape[2:]))
    x = rng.permutation(np.arange(size)).astype(float).reshape(1, 1, *pool.shape[2:])  # no ties, a whole apart
    for operator, backward in (
        (fastconv.max_pool2d, lambda dy: fastconv.max_pool2d_backward(dy, x, pool.kernel_size, **pool.options)),
        (fastconv.avg_pool2d, lambda dy: fastconv.avg_pool2d_backward(dy, x.shape, pool.kernel_size, **pool.options)),
    ):
        dy = rng.standard_normal(operator(x, pool.kernel_size, **pool.options).shape)
        slope = numerical_gradient(lambda x, f=operator: f(x, pool.kernel_size, **pool.options), x, dy, 0.25)
        np.testing.assert_allclose(backward(dy), slope, atol=1e-9)


@pytest.mark.parametrize("values", [(NAN,), (NAN, INF, -INF), (-INF,), (-0.0, 0.0)], ids=str)
@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_special_values_in_bodies_and_tails(rng, isa, dtype, layout, pool, values):
    """A NaN or an infinity is treated alike wherever in a vector it lies."""
    x = np.where(rng.random(pool.shape) < 0.3, rng.choice(values, pool.shape), rng.integers(-2, 3, pool.shape))
    if values == (-INF,):
        x = np.where(rng.random(pool.shape) < 0.6, -INF, x)
    y, indices = reference.max_pool2d(x, pool.kernel_size, return_indices=True, **pool.options)
    dy = rng.integers(1, 5, y.shape).astype(float)
    dx = reference.max_pool2d_backward(dy, x, pool.kernel_size, **pool.options)
    x = activations(x, layout, dtype)
    ours, our_indices = fastconv.max_pool2d(x, pool.kernel_size, return_indices=True, layout=layout, **pool.options)
    np.testing.assert_array_equal(ours, activations(y, layout))
    np.testing.assert_array_equal(our_indices, activations(indices, layout))
    ours = fastconv.max_pool2d_backward(
        activations(dy, layout, dtype), x, pool.kernel_size, layout=layout, **pool.options
    )
    np.testing.assert_array_equal(ours, activations(dx, layout))


@pytest.mark.parametrize("index_dtype", [np.int32, np.uint8, np.int64])
def test_indices_of_any_integer_dtype_and_strides(rng, layout, index_dtype):
    x = activations(rng.standard_normal((2, 3, 8, 9)), layout)
    y, indices = fastconv.max_pool2d(x, 3, return_indices=True, layout=layout)
    expected = fastconv.max_pool2d_backward(y, x, 3, layout=layout)
    indices = np.asfortranarray(indices.astype(index_dtype))
    np.testing.assert_array_equal(fastconv.max_pool2d_backward(y, x, 3, indices=indices, layout=layout), expected)


def test_stride_is_the_kernel_unless_given(rng):
    x = rng.standard_normal((1, 2, 9, 11))
    np.testing.assert_array_equal(fastconv.max_pool2d(x, (3, 2)), fastconv.max_pool2d(x, (3, 2), stride=(3, 2)))
    np.testing.assert_array_equal(fastconv.avg_pool2d(x, (3, 2)), fastconv.avg_pool2d(x, (3, 2), stride=(3, 2)))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_no_images_give_no_results(layout):
    x = activations(np.ones((0, 3, 8, 9)), layout, np.float32)
    y, indices = fastconv.max_pool2d(x, 2, return_indices=True, layout=layout)
    assert y.shape == indices.shape == activations(np.ones((0, 3, 4, 4)), layout).shape
    assert fastconv.max_pool2d_backward(y, x, 2, layout=layout).shape == x.shape
    assert fastconv.avg_pool2d(x, 2, layout=layout).shape == y.shape
    assert fastconv.avg_pool2d_backward(y, x.shape, 2, layout=layout).shape == x.shape


def test_float16_and_mixed_dtypes(rng):
    x = rng.integers(-4, 5, (2, 3, 8, 9))
    y = fastconv.max_pool2d(x.astype(np.float16), 3)
    assert y.dtype == np.float16
    np.testing.assert_array_equal(y, reference.max_pool2d(x.astype(float), 3))
    assert fastconv.max_pool2d_backward(y, x.astype(np.float64), 3).dtype == np.float64
    mean = fastconv.avg_pool2d(x.astype(np.float16), 2)
    assert mean.dtype == np.float16
    np.testing.assert_array_equal(mean, reference.avg_pool2d(x.astype(float), 2))
    assert fastconv.avg_pool2d_backward(mean, x.shape, 2).dtype == np.float16
    large = np.full((1, 1, 2, 2), 60000, np.float16)  # the sum is beyond float16, the mean is not
    assert fastconv.avg_pool2d(large, 2).item() == np.float16(60000)


def test_strict_takes_windows_that_tile():
    assert fastconv.max_pool2d(np.ones((1, 1, 8, 8)), 2, strict=True).shape == (1, 1, 4, 4)
