"""Depthwise convolution of NHWC, lanes along the channels of all groups: taps side by side, apart, and on padding."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import reference

CHANNELS = 40  # whole vectors of every instruction set, and 37 with a part of one
OPTIONS = {
    "3x3": {"padding": 1},
    "inside": {},
    "strided": {"stride": 2, "padding": 1},
    "dilated": {"dilation": (1, 2), "padding": (1, 2)},
    "tall": {"dilation": (3, 1), "padding": (3, 1)},
}


@pytest.fixture(params=[37, CHANNELS])
def case(request, rng, dtype):
    """An image of integers and its weights."""
    channels = request.param
    x = rng.integers(-4, 5, (3, 11, 21, channels)).astype(dtype)
    return x, rng.integers(-4, 5, (3, 3, 1, channels)).astype(dtype), {"layout": "NHWC", "groups": channels}


def gradient_of(x, w, rng, options):
    dy = rng.integers(-4, 5, reference.conv2d(x, w, **options).shape).astype(x.dtype)
    return dy, reference.conv2d_backward(dy, x, w, **options)


@pytest.mark.parametrize("name", OPTIONS)
def test_forward_with_bias_and_relu(case, name, rng, isa):
    x, w, options = case
    b = rng.integers(-20, 20, x.shape[-1]).astype(x.dtype)
    options = {**options, **OPTIONS[name], "activation": "relu"}
    np.testing.assert_array_equal(
        fastconv.conv2d(x, w, b, algo="direct", **options), reference.conv2d(x, w, b, **options)
    )


@pytest.mark.parametrize("name", OPTIONS)
def test_gradients(case, name, rng, isa):
    x, w, options = case
    options = {**options, **OPTIONS[name]}
    dy, exact = gradient_of(x, w, rng, options)
    for ours, theirs in zip(fastconv.conv2d_backward(dy, x, w, algo="direct", **options), exact, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", OPTIONS)
def test_what_is_not_finite_meets_the_padding(case, name, rng, isa):
    """A weight times a zero of the padding is a NaN if the weight is infinite, and so is dy times one."""
    x, w, options = case
    options = {**options, **OPTIONS[name]}
    w[0, 0, 0, 1] = w[2, 2, 0, -1] = np.inf
    with np.errstate(invalid="ignore"):
        dy, _ = gradient_of(x, w, rng, options)
        dy[0, 0, 0, 3] = dy[-1, -1, -1, -1] = np.inf
        y = reference.conv2d(x, w, **options)
        exact = reference.conv2d_backward(dy, x, w, **options)
    np.testing.assert_array_equal(fastconv.conv2d(x, w, algo="direct", **options), y)
    for ours, theirs in zip(fastconv.conv2d_backward(dy, x, w, algo="direct", **options), exact, strict=True):
        np.testing.assert_array_equal(ours, theirs)
