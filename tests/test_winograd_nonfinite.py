"""NaN, infinity and overflow in tiles of Winograd reach exactly the outputs that see them."""

from __future__ import annotations

import numpy as np
import pytest
from cases import activations, weights
from variants import WINOGRAD, backward_input, backward_weight, forward

SPECIAL = (np.nan, np.inf, -np.inf)


@pytest.fixture(params=WINOGRAD)
def variant(request):
    return request.param


def assert_same(ours, exact, scale):
    """The same NaN and infinities, and the finite within the rounding of the transforms."""
    for special in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(special(ours), special(exact))
    finite = np.isfinite(exact)
    np.testing.assert_allclose(ours[finite], exact[finite], rtol=0, atol=100 * np.finfo(ours.dtype).eps * scale)


def integers(rng, *shapes):
    return [rng.integers(-4, 5, shape).astype(float) for shape in shapes]


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("padding", [0, 1, ((3, 0), (0, 4))], ids=str)
def test_one_at_every_pixel(rng, isa, dtype, layout, variant, padding, activation):
    """One image for each pixel: corners, edges, and the last tiles, of which the image fills a part."""
    height, width, side = 7, 11, WINOGRAD[variant][1]
    x, w, b = integers(rng, (height * width, 3, height, width), (5, 3, side, side), (5,))
    for pixel in range(height * width):
        x[pixel, pixel % 3, pixel // width, pixel % width] = SPECIAL[pixel % 4 % 3]
    x, w, b = activations(x, layout, dtype), weights(w, layout, dtype), b.astype(dtype)
    options = {"padding": padding, "activation": activation, "layout": layout}
    exact = forward(x, w, b, algo="im2col", **options)
    assert np.isnan(exact).any()
    assert_same(forward(x, w, b, algo=variant, **options), exact, scale=100)


@pytest.mark.parametrize("channel", [3, 60])
def test_one_in_a_part_of_the_channels(rng, isa, dtype, layout, variant, channel):
    """Of few tiles, one panel of filters and many channels these are summed in two parts."""
    side = WINOGRAD[variant][1]
    x, w, b = integers(rng, (1, 70, 7, 9), (5, 70, side, side), (5,))
    x[0, channel, 3, 8] = np.inf
    x, w, b = activations(x, layout, dtype), weights(w, layout, dtype), b.astype(dtype)
    options = {"padding": side // 2, "activation": "relu", "layout": layout}
    exact = forward(x, w, b, algo="im2col", **options)
    assert np.isinf(exact).any()
    assert np.isfinite(exact).any()
    assert_same(forward(x, w, b, algo=variant, **options), exact, scale=1000)


@pytest.mark.parametrize("pads", [((0, 0), (0, 0)), ((2, 0), (1, 2))], ids=str)
def test_one_at_every_pixel_of_an_output_gradient(rng, isa, dtype, layout, variant, pads):
    side = WINOGRAD[variant][1]
    (top, bottom), (left, right) = pads
    shape = (70, 3, 6 + side - top - bottom, 9 + side - left - right)
    dy, w = integers(rng, (70, 5, 7, 10), (5, 3, side, side))
    for pixel in range(70):
        dy[pixel, pixel % 5, pixel // 10, pixel % 10] = SPECIAL[pixel % 4 % 3]
    dy, w = activations(dy, layout, dtype), weights(w, layout, dtype)
    shape = activations(np.empty(shape), layout).shape
    options = {"padding": pads, "layout": layout}
    exact = backward_input(dy, w, shape, algo="im2col", **options)
    assert np.isnan(exact).any()
    assert_same(backward_input(dy, w, shape, algo=variant, **options), exact, scale=100)


@pytest.mark.parametrize("of_x", [True, False], ids=["x", "dy"])
def test_one_in_a_weight_gradient(rng, isa, dtype, layout, variant, of_x):
    """At a corner, which one tap sees, at an edge, and inside, in different channels."""
    side = WINOGRAD[variant][1]
    x, dy = integers(rng, (2, 5, 12, 10), (2, 4, 13 - side, 11 - side))
    special = x if of_x else dy
    special[0, 0, 0, 0], special[1, 1, -1, 2], special[0, 2, 4, 4] = SPECIAL
    x, dy = activations(x, layout, dtype), activations(dy, layout, dtype)
    shape = weights(np.empty((4, 5, side, side)), layout).shape
    exact = backward_weight(dy, x, shape, layout=layout, algo="im2col")
    assert np.isnan(exact).any()
    assert np.isfinite(exact).any()
    assert_same(backward_weight(dy, x, shape, layout=layout, algo=variant), exact, scale=100)


@pytest.mark.parametrize(("kernel", "stride"), [((5, 5), (2, 2)), ((5, 9), (2, 4)), ((2, 3), (1, 1))], ids=str)
def test_one_at_every_pixel_of_phases(rng, isa, dtype, layout, kernel, stride):
    """What is not finite where a phase's square has no tap is seen by the transform alone."""
    x, w, b = integers(rng, (90, 3, 9, 10), (5, 3, *kernel), (5,))
    for pixel in range(90):
        x[pixel, pixel % 3, pixel // 10, pixel % 10] = SPECIAL[pixel % 4 % 3]
    x, w, b = activations(x, layout, dtype), weights(w, layout, dtype), b.astype(dtype)
    options = {"padding": 1, "stride": stride, "layout": layout}
    exact = forward(x, w, b, algo="im2col", **options)
    assert np.isnan(exact).any()
    assert_same(forward(x, w, b, algo="F(4x4,3x3)", **options), exact, scale=100)
    dy = np.ones_like(exact)
    for n in (0, 47):
        exact = backward_weight(dy[:1], x[n : n + 1], w.shape, algo="im2col", **options)
        ours = backward_weight(dy[:1], x[n : n + 1], w.shape, algo="F(4x4,3x3)", **options)
        assert_same(ours, exact, scale=100)


def test_a_nan_reaches_the_windows_that_hold_it(rng, isa, dtype, variant):
    """Not by another algorithm but by definition: those around it in its own image and group."""
    side = WINOGRAD[variant][1]
    reach = side // 2
    x, w = integers(rng, (2, 6, 17, 19), (8, 3, side, side))
    x[1, 4, 9, 18] = np.nan
    y = forward(x.astype(dtype), w.astype(dtype), padding=reach, groups=2, algo=variant)
    seen = np.zeros(y.shape, bool)
    seen[1, 4:, 9 - reach : 10 + reach, 18 - reach :] = True
    np.testing.assert_array_equal(np.isnan(y), seen)


def test_outputs_far_away_keep_their_bits(rng, isa, dtype, layout, variant):
    """Rows of tiles of another block, and other images: nothing of them is computed again."""
    side = WINOGRAD[variant][1]
    x, w = rng.standard_normal((2, 96, 70, 40)), rng.standard_normal((20, 96, side, side))
    x, w = activations(x, layout, dtype), weights(w, layout, dtype)
    clean = forward(x, w, padding=1, layout=layout, algo=variant)
    x[(0, 5, 2, 3) if layout == "NCHW" else (0, 2, 3, 5)] = np.nan
    y = forward(x, w, padding=1, layout=layout, algo=variant)
    assert np.isnan(y[0]).any()
    rows = (slice(None), slice(60, None)) if layout == "NCHW" else slice(60, None)
    np.testing.assert_array_equal(y[0][rows], clean[0][rows])
    np.testing.assert_array_equal(y[1], clean[1])


@pytest.mark.parametrize("everywhere", [True, False], ids=["everywhere", "one pixel"])
def test_transforms_that_overflow(rng, isa, dtype, layout, variant, everywhere):
    """Pixels whose sums are finite and whose transform is not."""
    big = {4: 1e38, 8: 1e308}[dtype.itemsize]
    side = WINOGRAD[variant][1]
    x, w = rng.choice([-big, big], (1, 4, 9, 14)), rng.standard_normal((6, 4, side, side)) / 900
    if not everywhere:
        x[...] = 0
        x[0, 2, 4, 6] = 3 * big if dtype.itemsize == 4 else 1.7 * big
    x, w = activations(x, layout, dtype), weights(w, layout, dtype)
    exact = forward(x, w, padding=1, layout=layout, algo="im2col")
    assert np.isfinite(exact).all()
    assert_same(forward(x, w, padding=1, layout=layout, algo=variant), exact, scale=big)


def test_filters_that_overflow(rng, isa, dtype, layout, variant):
    """The transform of a filter of one sign is larger than the filter."""
    w = np.full((3, 2, *[WINOGRAD[variant][1]] * 2), np.finfo(dtype).max)
    w[1] = 1
    x = rng.standard_normal((1, 2, 9, 14)) / 1000
    x, w = activations(x, layout, dtype), weights(w, layout, dtype)
    exact = forward(x, w, padding=1, layout=layout, algo="im2col")
    y = forward(x, w, padding=1, layout=layout, algo=variant)
    assert np.isfinite(exact).all()
    assert_same(y, exact, scale=float(np.finfo(dtype).max))
    channel = (slice(None), 1) if layout == "NCHW" else (..., 1)
    assert_same(y[channel], exact[channel], scale=1)


@pytest.mark.parametrize("special", SPECIAL)
def test_weights_and_bias(rng, isa, dtype, layout, variant, special):
    """A filter spoils its own channel alone; on padding an infinite weight is infinity times zero."""
    side = WINOGRAD[variant][1]
    x, w, b = integers(rng, (2, 6, 9, 10), (20, 3, side, side), (20,))
    w[3, 1, 2, 0] = b[12] = special
    x, w, b = activations(x, layout, dtype), weights(w, layout, dtype), b.astype(dtype)
    options = {"padding": 1, "groups": 2, "layout": layout}
    exact = forward(x, w, b, algo="im2col", **options)
    y = forward(x, w, b, algo=variant, **options)
    assert_same(y, exact, scale=100)
    spoiled = ~np.isfinite(activations(y, "NCHW") if layout == "NCHW" else y.transpose(0, 3, 1, 2)).all((0, 2, 3))
    np.testing.assert_array_equal(np.flatnonzero(spoiled), [3, 12])
