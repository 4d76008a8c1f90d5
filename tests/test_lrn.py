"""Local response normalisation: every window size, on every instruction set, thread count, dtype and layout."""

from __future__ import annotations

import numpy as np
import pytest
from cases import activations
from gradients import numerical_gradient

import fastconv
from fastconv import reference

SHAPES = [(2, 7, 3, 5), (1, 1, 4, 4), (3, 16, 1, 1), (1, 33, 5, 7), (1, 5, 1, 35), (2, 96, 13, 13)]
OPTIONS = [
    {},
    {"alpha": 0.9, "beta": 0.75, "k": 2.0},
    {"alpha": 0.3, "beta": 0.5, "k": 1.0},
    {"alpha": 2.0, "beta": 1.3, "k": 0.5},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 9])
def test_forward_and_backward(rng, isa, threads, dtype, layout, shape, size):
    options = OPTIONS[size % len(OPTIONS)]
    x, dy = rng.standard_normal((2, *shape), np.float32).astype(float)
    exact = reference.local_response_norm(x, size, **options)
    exact_dx = reference.local_response_norm_backward(dy, x, size, **options)
    x, dy = activations(x, layout, dtype), activations(dy, layout, dtype)
    y = fastconv.local_response_norm(x, size, layout=layout, **options)
    dx = fastconv.local_response_norm_backward(dy, x, size, layout=layout, **options)
    assert y.dtype == dx.dtype == dtype
    # A power amplifies the relative error of its base by beta, and a sum of squares loses no digits; the gradient
    # subtracts terms of the size of `size` products.
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(y, activations(exact, layout), rtol=32 * eps, atol=0)
    np.testing.assert_allclose(dx, activations(exact_dx, layout), rtol=0, atol=64 * size * eps)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_parameter_counts(rng, isa, dtype, options):
    x = rng.standard_normal((1, 6, 4, 5), np.float32)
    exact = reference.local_response_norm(x.astype(float), 3, **options)
    y = fastconv.local_response_norm(x.astype(dtype), 3, **options)
    np.testing.assert_allclose(y, exact, rtol=32 * np.finfo(dtype).eps)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_gradient_by_finite_differences(rng, isa, layout, size):
    x, dy = (activations(a, layout) for a in rng.standard_normal((2, 2, 5, 2, 3)))
    options = {"alpha": 0.9, "beta": 0.75, "k": 1.5, "layout": layout}
    dx = fastconv.local_response_norm_backward(dy, x, size, **options)
    slope = numerical_gradient(lambda x: fastconv.local_response_norm(x, size, **options), x, dy, 1e-5)
    np.testing.assert_allclose(dx, slope, atol=1e-9)


def test_a_window_wider_than_all_channels(rng, isa, dtype, layout):
    x = rng.standard_normal((2, 3, 4, 5))
    exact = reference.local_response_norm(x, 11, alpha=1.0)
    y = fastconv.local_response_norm(activations(x, layout, dtype), 11, alpha=1.0, layout=layout)
    np.testing.assert_allclose(y, activations(exact, layout), rtol=64 * np.finfo(dtype).eps)


def test_no_images_give_no_results(dtype, layout):
    x = activations(np.ones((0, 3, 4, 5)), layout, dtype)
    assert fastconv.local_response_norm(x, 3, layout=layout).shape == x.shape
    assert fastconv.local_response_norm_backward(x, x, 3, layout=layout).shape == x.shape


def test_float16_is_computed_in_float32():
    x = np.full((1, 3, 1, 1), 300, np.float16)  # its square is beyond float16
    y = fastconv.local_response_norm(x, 3, alpha=1.0)
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, reference.local_response_norm(x.astype(float), 3, alpha=1.0), rtol=1e-3)
    assert fastconv.local_response_norm_backward(y, x, 3).dtype == np.float16


@pytest.mark.parametrize(("beta", "units"), [(0.5, 2), (0.75, 2), (1.0, 2), (0.6, 2), (1.3, 2), (-0.7, 2), (3.9, 4)])
def test_powers_in_units_of_the_last_place(rng, isa, dtype, beta, units):
    """With one channel, k = 0 and alpha = 1 the scale is a square, here from 2**-40 to 2**40."""
    x = (2 ** rng.uniform(-20, 20, (1, 1, 300, 41))).astype(dtype)
    y = fastconv.local_response_norm(x, 1, alpha=1.0, beta=beta, k=0.0)
    scale = (x * x).astype(np.longdouble)
    power = scale ** np.longdouble(-beta)
    exact = x * power
    normal = np.logical_and.reduce([(a > np.finfo(dtype).tiny) & (a < np.finfo(dtype).max) for a in (exact, power)])
    assert normal.mean() > 0.5
    error = np.abs(y - exact)[normal] / exact[normal]
    assert error.max() <= units * np.finfo(dtype).eps


@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0, 1.3, 2.0])
def test_scales_without_a_normal_power(isa, dtype, layout, beta):
    """Infinite, NaN, zero, negative, denormal and huge scales are as NumPy's power has them, their neighbours too."""
    tiny, huge = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    row = np.array([1.0, np.inf, 2.0, np.nan, 0.0, 3.0, tiny**0.5 / 4, huge**0.5 * 0.99, 0.5, 1.0, -2.0])
    x = np.tile(row, 7)[None, None, None, :].astype(dtype)
    for k, alpha in ((0.0, 1.0), (1.0, -1.0), (0.0, 0.0)):
        y = fastconv.local_response_norm(activations(x, layout, dtype), 1, alpha=alpha, beta=beta, k=k, layout=layout)
        with np.errstate(all="ignore"):
            expected = x * (k + alpha * x * x) ** dtype.type(-beta)
        np.testing.assert_allclose(y, activations(expected, layout), rtol=32 * np.finfo(dtype).eps)


def test_a_nan_reaches_the_channels_that_see_it_and_no_other(rng, isa, dtype, layout):
    x = rng.standard_normal((1, 40, 3, 9))
    x[0, 17, 1, 4] = np.nan
    y = fastconv.local_response_norm(activations(x, layout, dtype), 5, layout=layout)
    y = y if layout == "NCHW" else y.transpose(0, 3, 1, 2)
    seen = np.zeros(x.shape, bool)
    seen[0, 15:20, 1, 4] = True
    np.testing.assert_array_equal(np.isnan(y), seen)


@pytest.mark.parametrize("channels", [1, 3, 15, 16, 17, 33, 70])
def test_channels_and_pixels_around_the_lanes(rng, isa, dtype, layout, channels):
    for width, size in ((1, 2), (7, 5), (16, 3), (65, 5), (130, 9)):
        x, dy = rng.standard_normal((2, 1, channels, 2, width))
        options = {"alpha": 0.5, "beta": 0.6}
        exact = reference.local_response_norm(x, size, **options)
        exact_dx = reference.local_response_norm_backward(dy, x, size, **options)
        x, dy = activations(x, layout, dtype), activations(dy, layout, dtype)
        eps = np.finfo(dtype).eps
        y = fastconv.local_response_norm(x, size, layout=layout, **options)
        np.testing.assert_allclose(y, activations(exact, layout), rtol=32 * eps)
        dx = fastconv.local_response_norm_backward(dy, x, size, layout=layout, **options)
        np.testing.assert_allclose(dx, activations(exact_dx, layout), rtol=0, atol=64 * size * eps)


def test_views_with_rows_apart_and_columns_of_one_pixel(rng, layout):
    wide = rng.standard_normal((2, 12, 11, 10))
    pixels = np.ascontiguousarray(wide.transpose(0, 2, 3, 1))
    views = {
        "NCHW": (wide[:, :, ::2, 1:8], wide[:, ::3, :, 4:5], wide[:, :, 3:4], wide[::-1, 2:9]),
        "NHWC": (wide.transpose(0, 2, 3, 1)[:, ::2, 1:8, 3:9], pixels[:, ::2, 1:8, 3:9], pixels[:, :, 8:1:-1]),
    }
    for x in views[layout]:
        y = fastconv.local_response_norm(x, 3, alpha=1.0, layout=layout)
        np.testing.assert_array_equal(y, fastconv.local_response_norm(x.copy(), 3, alpha=1.0, layout=layout))
        dx = fastconv.local_response_norm_backward(y, x, 3, alpha=1.0, layout=layout)
        copied = fastconv.local_response_norm_backward(y, x.copy(), 3, alpha=1.0, layout=layout)
        np.testing.assert_array_equal(dx, copied)
