"""Pools at the edges of vectors: widths around the lanes, strides, dilation, padding; ties, NaN and -0.0 anywhere."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from cases import activations
from machine import using_isa

import fastconv
from fastconv import _core, reference

WIDTHS = (1, 2, 3, 5, 7, 8, 9, 13, 15, 16, 17, 31, 33, 34, 66)  # below, at and beyond one to four vectors of any dtype
VALUES = (-1.0, -0.0, 0.0, 1.0, 2.0, np.nan, -np.nan, np.inf, -np.inf)
KINDS = [
    {"kernel_size": taps, "stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil}
    for taps, stride, padding, dilation, ceil in product((1, 2, 3, 4), (1, 2, 3), (0, 1), (1, 2), (False, True))
    if padding < dilation * (taps - 1) + 1
]


@cache
def problems():
    """Return inputs, kinds and what the reference makes of them; of an odd number of planes one has no partner."""
    rng = np.random.default_rng(7)
    found = []
    for width, (number, kind) in product(WIDTHS, enumerate(KINDS)):
        too_wide = kind["dilation"] * (kind["kernel_size"] - 1) + 1 > width + 2 * kind["padding"]
        if too_wide or kind["dilation"] > width:  # taps that step over the image are refused
            continue
        special = number % 3  # ties and zeros of either sign; NaN and infinities, too; minus infinity for the most part
        share = ([0.4, 0.2, 0.2, 0.1, 0.1], [0.2, 0.15, 0.15, 0.2, 0.1, 0.05, 0.05, 0.05, 0.05], None)[special]
        height = max(5, kind["dilation"] * (kind["kernel_size"] - 1) + 1)
        shape = (1, 3, height, width)
        x = (
            rng.choice((-np.inf, -np.inf, -np.inf, 1.0), shape)
            if share is None
            else rng.choice(VALUES[: len(share)], shape, p=share)
        )
        y, indices = reference.max_pool2d(x, return_indices=True, **kind)
        dy = rng.integers(1, 5, y.shape).astype(float)
        found.append((x, kind, y, indices, dy, reference.max_pool2d_backward(dy, x, **kind)))
    return found


def bits(a):
    """Return values with the signs of zeros and NaNs."""
    return np.nan_to_num(a, nan=1e30), np.signbit(a)


def test_every_width_and_kind(isa, dtype, layout):
    for x, kind, y, indices, dy, dx in problems():
        image, gradient = activations(x, layout, dtype), activations(dy, layout, dtype)
        ours, places = fastconv.max_pool2d(image, return_indices=True, layout=layout, **kind)
        alone = fastconv.max_pool2d(image, layout=layout, **kind)
        expected = np.take_along_axis(x.reshape(1, 3, -1), indices.reshape(1, 3, -1).astype(int), 2).reshape(y.shape)
        for actual, wanted in zip(bits(ours), bits(activations(expected, layout, dtype)), strict=True):
            np.testing.assert_array_equal(actual, wanted, err_msg=str((x.shape, kind)))
        for actual, wanted in zip(bits(alone), bits(ours), strict=True):
            np.testing.assert_array_equal(actual, wanted, err_msg=str((x.shape, kind)))
        np.testing.assert_array_equal(places, activations(indices, layout), err_msg=str((x.shape, kind)))
        ours = fastconv.max_pool2d_backward(gradient, image, layout=layout, **kind)
        np.testing.assert_array_equal(ours, activations(dx, layout), err_msg=str((x.shape, kind)))


@pytest.mark.parametrize("include", [True, False])
def test_means_of_every_width_and_kind(isa, dtype, layout, include):
    eps = np.finfo(dtype).eps
    for x, kind, _, _, dy, _ in problems():
        numbers = np.where(np.isfinite(x), x, 3.0)
        mean = reference.avg_pool2d(numbers, count_include_pad=include, **kind)
        spread = reference.avg_pool2d_backward(dy, x.shape, count_include_pad=include, **kind)
        options = {"count_include_pad": include, "layout": layout, **kind}
        ours = fastconv.avg_pool2d(activations(numbers, layout, dtype), **options)
        np.testing.assert_allclose(ours, activations(mean, layout), rtol=2 * eps, atol=0, err_msg=str((x.shape, kind)))
        gradient = activations(dy, layout, dtype)
        ours = fastconv.avg_pool2d_backward(gradient, activations(x, layout).shape, **options)
        expected = activations(spread, layout)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=64 * eps, err_msg=str((x.shape, kind)))


@pytest.mark.parametrize("kind", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 3, 2)], ids=str)
@pytest.mark.parametrize("size", [7, 14, 57, 130], ids=str)
def test_the_same_bits_for_any_number_of_threads(rng, isa, layout, kind, size):
    """Gradients of real numbers, whose sums round, and blocks that cut planes in several ways."""
    kernel, stride, padding = kind
    options = {"stride": stride, "padding": padding, "layout": layout}
    x = activations(rng.standard_normal((2, 37, size, size)), layout, np.float32)
    results = []
    for threads in (1, 2, 3, 8):
        with fastconv.threads(threads):
            y = fastconv.max_pool2d(x, kernel, **options)
            dy = np.sin(y)
            results.append(
                [
                    y.tobytes(),
                    fastconv.max_pool2d_backward(dy, x, kernel, **options).tobytes(),
                    fastconv.avg_pool2d(x, kernel, **options).tobytes(),
                    fastconv.avg_pool2d_backward(dy, x.shape, kernel, **options).tobytes(),
                ]
            )
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("kind", [(2, 1, 1), (2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 3, 2)], ids=str)
@pytest.mark.parametrize("shape", [(1, 2, 1400, 130), (1, 1, 5, 40_000)], ids=str)
def test_long_and_wide_planes(rng, isa, layout, kind, shape):
    """Threads share rows of two planes, whose windows reach across the cuts; and rows too wide for a cache."""
    kernel, stride, padding = kind
    options = {"stride": stride, "padding": padding, "layout": layout}
    x = activations(rng.integers(0, 9, shape), layout, np.float32)
    y = fastconv.max_pool2d(x, kernel, **options)
    np.testing.assert_array_equal(y, reference.max_pool2d(x, kernel, **options))
    mean = fastconv.avg_pool2d(x, kernel, **options)
    eps = np.finfo(np.float32).eps
    np.testing.assert_allclose(mean, reference.avg_pool2d(x.astype(float), kernel, **options), rtol=2 * eps, atol=0)
    dy = rng.standard_normal(y.shape, np.float32)
    expected = reference.max_pool2d_backward(dy.astype(float), x, kernel, **options)
    results = []
    for threads in (1, 2, 3, 8):
        with fastconv.threads(threads):
            results.append(fastconv.max_pool2d_backward(dy, x, kernel, **options))
    np.testing.assert_allclose(results[0], expected, rtol=0, atol=kernel**2 * 8 * eps)
    assert all(result.tobytes() == results[0].tobytes() for result in results)


def test_a_nan_far_from_the_rest_of_its_strip(isa, dtype, layout):
    """The strip with a NaN is done again; those around it are not, and none loses its gradient."""
    x = np.zeros((1, 5, 140, 70))
    x[0, 2, 77, 33] = np.nan
    y, indices = reference.max_pool2d(x, 3, stride=2, return_indices=True)
    dy = np.ones_like(y)
    image = activations(x, layout, dtype)
    ours, places = fastconv.max_pool2d(image, 3, stride=2, return_indices=True, layout=layout)
    np.testing.assert_array_equal(ours, activations(y, layout))
    np.testing.assert_array_equal(places, activations(indices, layout))
    np.testing.assert_array_equal(fastconv.max_pool2d(image, 3, stride=2, layout=layout), ours)
    dx = fastconv.max_pool2d_backward(activations(dy, layout, dtype), image, 3, stride=2, layout=layout)
    np.testing.assert_array_equal(dx, activations(reference.max_pool2d_backward(dy, x, 3, stride=2), layout))


@pytest.mark.parametrize("kind", [(2, 1, 1), (2, 2, 0), (3, 2, 1), (3, 1, 1)], ids=str)
def test_a_nan_in_any_column_of_a_wide_plane(isa, dtype, kind):
    """Windows at the edges of strips, and of what a kernel takes of them at once."""
    kernel, stride, padding = kind
    x = np.zeros((1, 600, 4, 600), dtype)
    column = np.arange(600)  # and the plane in which it holds a NaN
    x[0, column, column % 4, column] = np.nan
    y = fastconv.max_pool2d(x, kernel, stride=stride, padding=padding)
    np.testing.assert_array_equal(y, reference.max_pool2d(x, kernel, stride=stride, padding=padding))


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_planes_rows_and_columns_that_are_one_in_memory(rng, isa, dtype, axis):
    """Narrow planes share vectors, those of a broadcast array too."""
    shape = [2, 5, 7, 7]
    shape[axis] = 1
    x = np.broadcast_to(rng.integers(0, 9, shape).astype(dtype), (2, 5, 7, 7))
    dy = np.broadcast_to(rng.integers(1, 9, shape).astype(dtype), (2, 5, 7, 7))
    dx = fastconv.max_pool2d_backward(dy, x, 3, stride=1, padding=1)
    np.testing.assert_array_equal(dx, reference.max_pool2d_backward(dy, x, 3, stride=1, padding=1))
    y = fastconv.max_pool2d(x, 2)
    np.testing.assert_array_equal(y, reference.max_pool2d(x, 2))
    np.testing.assert_array_equal(fastconv.avg_pool2d(x, 2), reference.avg_pool2d(x, 2))  # quarters are exact


def test_a_gradient_of_minus_zero_is_zero():
    x, dy = np.ones((1, 1, 4, 4), np.float32), np.full((1, 1, 2, 2), -0.0, np.float32)
    assert not np.signbit(fastconv.max_pool2d_backward(dy, x, 2)).any()


def test_instruction_sets_agree_on_maxima_bit_for_bit(rng):
    x = rng.standard_normal((2, 19, 45, 51), np.float32)
    x[x > 2.2] = np.nan
    results = []
    for name in _core.isas_supported():
        with using_isa(name):
            results.append(fastconv.max_pool2d(x, 3, stride=2, padding=1).tobytes())
    assert len(set(results)) == 1


@pytest.mark.parametrize("axis", [0, 1])
def test_windows_of_many_taps_in_the_padding_cost_nothing(isa, dtype, layout, axis):
    """Most of a window of 10**9 taps lies in the padding; going through them would take minutes."""
    x = activations(np.arange(2.0 * 3 * 5 * 7).reshape(2, 3, 5, 7) % 11, layout, dtype)
    many, few = 10**9, 2
    kernel = (many, few) if axis == 0 else (few, many)
    padding = ((many - 1, 0), (0, 0)) if axis == 0 else ((0, 0), (many - 1, 0))
    options = {"stride": 1, "padding": padding, "layout": layout}
    y = fastconv.max_pool2d(x, kernel, **options)
    size = (5, 7)[axis]
    short = (size, few) if axis == 0 else (few, size)  # of as many taps as there are pixels: the same windows
    near = ((size - 1, 0), (0, 0)) if axis == 0 else ((0, 0), (size - 1, 0))
    short_options = {"stride": 1, "padding": near, "layout": layout}
    np.testing.assert_array_equal(y, fastconv.max_pool2d(x, short, **short_options))
    dx = fastconv.max_pool2d_backward(y, x, kernel, **options)
    np.testing.assert_array_equal(dx, fastconv.max_pool2d_backward(y, x, short, **short_options))
    mean = fastconv.avg_pool2d(x, kernel, count_include_pad=False, **options)
    np.testing.assert_array_equal(mean, fastconv.avg_pool2d(x, short, count_include_pad=False, **short_options))
    spread = fastconv.avg_pool2d_backward(y, x.shape, kernel, count_include_pad=False, **options)
    expected = fastconv.avg_pool2d_backward(y, x.shape, short, count_include_pad=False, **short_options)
    np.testing.assert_allclose(spread, expected, rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axis", [0, 1])
def test_strides_far_beyond_the_plane_cost_nothing(rng, isa, dtype, layout, axis):
    """One window along an axis whose stride could count for hours; the other axis has an ordinary one."""
    kernel, stride = (3, 2), [2, 2]
    stride[axis] = 2**40
    x = rng.integers(-3, 4, (2, 3, 6, 13)).astype(dtype)
    y = reference.max_pool2d(x, kernel, stride=tuple(stride))
    assert y.shape[2 + axis] == 1
    dy = rng.integers(-3, 4, y.shape).astype(dtype)
    inputs = activations(dy, layout, dtype), activations(x, layout, dtype)
    options = {"stride": tuple(stride), "layout": layout}
    np.testing.assert_array_equal(
        fastconv.max_pool2d_backward(*inputs, kernel, **options),
        activations(reference.max_pool2d_backward(dy, x, kernel, stride=tuple(stride)), layout),
    )
    np.testing.assert_allclose(
        fastconv.avg_pool2d_backward(inputs[0], inputs[1].shape, kernel, **options),
        activations(reference.avg_pool2d_backward(dy, x.shape, kernel, stride=tuple(stride)), layout),
        rtol=1e-6,
    )


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stride", [1, 2, 5, 50])
def test_gradients_of_dilated_windows_with_more_taps_than_pixels(rng, isa, dtype, layout, stride):
    kernel, options = (2, 101), {"stride": (1, stride), "padding": (0, 100), "dilation": (1, 2)}
    x = rng.integers(-3, 4, (2, 3, 4, 21)).astype(dtype)
    y = reference.max_pool2d(x, kernel, **options)
    dy = rng.integers(-3, 4, y.shape).astype(dtype)
    inputs = activations(dy, layout, dtype), activations(x, layout, dtype)
    np.testing.assert_array_equal(
        fastconv.max_pool2d_backward(*inputs, kernel, layout=layout, **options),
        activations(reference.max_pool2d_backward(dy, x, kernel, **options), layout),
    )
    np.testing.assert_allclose(
        fastconv.avg_pool2d_backward(inputs[0], inputs[1].shape, kernel, layout=layout, **options),
        activations(reference.avg_pool2d_backward(dy, x.shape, kernel, **options), layout),
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip


def test_gradients_of_dilated_windows_of_a_billion_taps(dtype, isa):
    """Going through all taps, of which the input lies under one, would take seconds."""
    dy, taps = np.ones((1, 5, 1), dtype), 10**9 + 1
    dx = fastconv.avg_pool1d_backward(dy, (1, 5, 9), taps, padding="same", dilation=2, count_include_pad=False)
    np.testing.assert_allclose(dx.sum(axis=2), 1, rtol=1e-6)
