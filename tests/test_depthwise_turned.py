"""Depthwise convolution of NCHW on small planes, which are turned so that lanes run along channels."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import Conv2d, reference

CHANNELS = [
    2,
    16,
    17,
    33,
    100,
]  # parts of a vector, a last channel that has no block of its own, blocks of some vectors
OPTIONS = {
    "3x3": {"padding": 1},
    "inside": {},
    "strided": {"stride": 2, "padding": 1},
    "phases that no tap reaches": {"stride": 4, "padding": 1},
    "dilated": {"dilation": (1, 2), "padding": (1, 2)},
    "far padding": {"padding": 5},
}


@pytest.fixture(params=OPTIONS)
def options(request):
    return OPTIONS[request.param]


def operands(rng, channels, dtype, size=(9, 7)):
    x = rng.integers(-4, 5, (5, channels, *size)).astype(dtype)
    return x, rng.integers(-4, 5, (channels, 1, 3, 3)).astype(dtype), rng.integers(-20, 20, channels).astype(dtype)


@pytest.mark.parametrize("channels", CHANNELS)
def test_forward_and_gradients(rng, isa, dtype, threads, channels, options):
    x, w, b = operands(rng, channels, dtype)
    options = {**options, "groups": channels}
    exact = reference.conv2d(x, w, b, activation="relu", **options)
    np.testing.assert_array_equal(fastconv.conv2d(x, w, b, activation="relu", algo="direct", **options), exact)
    np.testing.assert_array_equal(Conv2d(w, b, activation="relu", algo="direct", **options)(x), exact)
    dy = rng.integers(-4, 5, exact.shape).astype(dtype)
    theirs = reference.conv2d_backward(dy, x, w, **options)
    for ours, gradient in zip(fastconv.conv2d_backward(dy, x, w, algo="direct", **options), theirs, strict=True):
        np.testing.assert_array_equal(ours, gradient)


@pytest.mark.parametrize("channels", CHANNELS)
def test_transposed_with_bias(rng, isa, dtype, channels):
    x, w, b = operands(rng, channels, dtype)
    for stride in (1, 2, 4):  # with 4, phases of the output that no tap reaches are the bias
        ours = fastconv.conv_transpose2d(x, w, b, stride=stride, groups=channels, algo="direct")
        np.testing.assert_array_equal(ours, reference.conv_transpose2d(x, w, b, stride=stride, groups=channels))


@pytest.mark.parametrize("view", ["rows", "channels", "backwards", "one plane"])
def test_views_are_read_in_place(rng, isa, view):
    x, w, _ = operands(rng, 33, np.float32, (18, 7))
    wide = np.repeat(x, 2, axis=1)
    x = {
        "rows": x[:, :, ::2],
        "channels": wide[:, ::2],
        "backwards": x[:, ::-1, ::-1],
        "one plane": np.broadcast_to(x[:1, :1], x.shape),
    }[view]
    exact = reference.conv2d(x, w, padding=1, groups=33)
    np.testing.assert_array_equal(fastconv.conv2d(x, w, padding=1, groups=33, algo="direct"), exact)
    dy = np.repeat(rng.integers(-4, 5, exact.shape), 2, axis=2).astype(np.float32)[:, :, ::2]
    theirs = reference.conv2d_backward(dy, x, w, padding=1, groups=33)
    ours = fastconv.conv2d_backward(dy, x, w, padding=1, groups=33, algo="direct")
    for gradient, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(gradient, expected)


def test_what_is_not_finite_meets_the_padding(rng, isa, dtype, options):
    """A weight times a zero of the padding is a NaN if the weight is infinite, and so is dy times one."""
    x, w, _ = operands(rng, 33, dtype)
    options = {**options, "groups": 33}
    w[0, 0, 0, 0] = w[-1, 0, 2, 2] = np.inf
    with np.errstate(invalid="ignore"):
        exact = reference.conv2d(x, w, **options)
        dy = rng.integers(-4, 5, exact.shape).astype(dtype)
        dy[0, 0, 0, 0] = dy[-1, -1, -1, -1] = -np.inf
        theirs = reference.conv2d_backward(dy, x, w, **options)
        np.testing.assert_array_equal(fastconv.conv2d(x, w, algo="direct", **options), exact)
        for ours, expected in zip(fastconv.conv2d_backward(dy, x, w, algo="direct", **options), theirs, strict=True):
            np.testing.assert_array_equal(ours, expected)


def test_bits_do_not_depend_on_threads(rng):
    x = rng.standard_normal((9, 40, 14, 14), np.float32)
    w = rng.standard_normal((40, 1, 3, 3), np.float32)
    results = []
    for count in (1, 2, 3):
        with fastconv.threads(count):
            y = fastconv.conv2d(x, w, padding=1, groups=40, algo="direct")
            results.append((y, *fastconv.conv2d_backward(y, x, w, padding=1, groups=40, algo="direct")))
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("channels", [33, 145])
def test_images_as_large_as_their_filters(rng, isa, channels):
    """A block of one channel would be a fully connected layer, which is another problem."""
    x, w, b = operands(rng, channels, np.float32, (3, 3))
    for images in (1, 2, 5):
        exact = reference.conv2d(x[:images], w, b, groups=channels)
        with fastconv.threads(2):
            np.testing.assert_array_equal(fastconv.conv2d(x[:images], w, b, groups=channels, algo="direct"), exact)
            dx = fastconv.conv2d_backward_input(exact, w, (images, channels, 3, 3), groups=channels, algo="direct")
        np.testing.assert_array_equal(dx, reference.conv2d_backward(exact, x[:images], w, groups=channels)[0])


@pytest.mark.parametrize("size", [60, 70, 80, 100])
def test_gradients_of_views_of_large_planes(rng, isa, size):
    """Strides of dy do not tell how large its planes are."""
    x, w, _ = operands(rng, 64, np.float32, (size, size))
    x = x[:1]
    dy = rng.integers(-4, 5, (1, 128, size, size)).astype(np.float32)
    for view in (np.broadcast_to(dy[:, :1], x.shape), dy[:, 63::-1], dy[:, ::2]):
        ours = fastconv.conv2d_backward(view, x, w, padding=1, groups=64, algo="direct")
        theirs = reference.conv2d_backward(view, x, w, padding=1, groups=64)
        for gradient, expected in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(gradient, expected)


def test_kernels_of_very_many_taps(rng):
    w = rng.integers(-4, 5, (2, 1, 301, 301)).astype(np.float32)
    x = rng.integers(-4, 5, (1, 2, 5, 5)).astype(np.float32)
    y = fastconv.conv2d(x, w, padding=150, groups=2, algo="direct")
    np.testing.assert_array_equal(y, reference.conv2d(x, w, padding=150, groups=2))
