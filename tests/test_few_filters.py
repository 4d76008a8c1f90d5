"""Direct convolution with few filters: tiles of every height, in place and in a block, and parts of a reduction."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import Conv2d, reference

FILTERS = [3, 4, 8, 16]  # one vector of one instruction set and dtype or another, and less
CHANNELS = 40


@pytest.fixture(params=FILTERS)
def filters(request):
    return request.param


@pytest.mark.parametrize("side", [1, 3])
def test_every_number_of_pixels(rng, isa, dtype, filters, side):
    """Rows of 1 to 29 pixels: the tallest tile, which AVX-512 has in float32, holds 28."""
    w, b = (
        rng.integers(-4, 5, (filters, CHANNELS, side, side)).astype(dtype),
        rng.integers(-9, 9, filters).astype(dtype),
    )
    layer = Conv2d(w, b, padding=side // 2, activation="relu", algo="direct")
    for pixels in range(1, 30):
        x = rng.integers(-4, 5, (2, CHANNELS, 3, pixels)).astype(dtype)
        exact = reference.conv2d(x, w, b, padding=side // 2, activation="relu")
        np.testing.assert_array_equal(layer(x), exact)
        plain = fastconv.conv2d(x, w, b, padding=side // 2, activation="relu", algo="direct")
        np.testing.assert_array_equal(plain, exact)


@pytest.mark.parametrize("view", ["repeated", "backwards", "every second"])
def test_channels_at_any_step(rng, isa, dtype, filters, view):
    """A channel repeated lies at a step of 0, which means packed panels to the micro-kernel."""
    w = rng.integers(-4, 5, (filters, CHANNELS, 1, 1)).astype(dtype)
    x = rng.integers(-4, 5, (2, 2 * CHANNELS, 7, 5)).astype(dtype)
    x = {
        "repeated": np.broadcast_to(x[:, :1], (2, CHANNELS, 7, 5)),
        "backwards": x[:, CHANNELS - 1 :: -1],
        "every second": x[:, ::2],
    }[view]
    exact = reference.conv2d(x, w)
    np.testing.assert_array_equal(fastconv.conv2d(x, w, algo="direct"), exact)
    np.testing.assert_array_equal(Conv2d(w, algo="direct")(x), exact)


@pytest.mark.parametrize("filters", [8, 10, 20, 42, 96])
@pytest.mark.parametrize("side", [1, 3])
def test_long_reductions_for_few_pixels(rng, isa, dtype, filters, side):
    """Panels of filters that are no equal work, in parts of the reduction where their weights are not held."""
    channels = 1100 // side**2
    w = rng.integers(-2, 3, (filters, channels, side, side)).astype(dtype)
    b = rng.integers(-9, 9, filters).astype(dtype)
    x = rng.integers(-2, 3, (1, channels, 7, 9)).astype(dtype)
    exact = reference.conv2d(x, w, b, padding=side // 2, activation="relu")
    for threads in (1, 2, 3):
        with fastconv.threads(threads):
            y = fastconv.conv2d(x, w, b, padding=side // 2, activation="relu", algo="direct")
            held = Conv2d(w, b, padding=side // 2, activation="relu", algo="direct")(x)
        np.testing.assert_array_equal(y, exact)
        np.testing.assert_array_equal(held, exact)
