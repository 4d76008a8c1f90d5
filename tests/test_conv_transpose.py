"""conv_transpose2d: the input gradient of a convolution under another name, with a size of its own."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from cases import activations, weights
from tolerance import assert_close, rounding_bound

import fastconv
from fastconv import reference

# Shapes of x (N, C, H, W) and w (C, K / groups, KH, KW), and the options.
PROBLEMS = {
    "up_2": ((2, 5, 4, 6), (5, 7, 2, 2), {"stride": 2}),
    "up_2_overlapping": ((1, 6, 5, 4), (6, 3, 4, 4), {"stride": 2, "padding": 1}),
    "plain": ((2, 3, 5, 7), (3, 4, 3, 3), {}),
    "one_pixel": ((1, 17, 1, 1), (17, 5, 4, 4), {}),
    "cropped": ((1, 3, 5, 6), (3, 4, 3, 3), {"padding": ((2, 0), (1, 3))}),
    "output_padding": ((1, 4, 4, 5), (4, 3, 3, 2), {"stride": (3, 2), "padding": 1, "output_padding": (2, 1)}),
    "output_padding_past_all_filters": ((2, 3, 3, 4), (3, 2, 1, 2), {"stride": 4, "output_padding": 3}),
    "output_padding_by_dilation": ((1, 3, 4, 4), (3, 2, 2, 2), {"dilation": 3, "output_padding": (2, 0)}),
    "dilated": ((1, 4, 5, 5), (4, 6, 3, 2), {"dilation": (2, 3)}),
    "dilated_strided": ((1, 4, 5, 4), (4, 6, 3, 3), {"dilation": (2, 3), "stride": (3, 2), "padding": (1, 2)}),
    "gaps": ((1, 4, 3, 4), (4, 3, 2, 1), {"stride": (5, 3)}),
    "groups": ((2, 6, 4, 5), (6, 4, 3, 3), {"stride": 2, "groups": 3, "padding": 1}),
    "depthwise": ((1, 9, 5, 6), (9, 1, 3, 3), {"stride": 2, "groups": 9}),
    "same": ((1, 3, 4, 5), (3, 2, 3, 4), {"stride": 2, "padding": "same"}),
    "valid": ((1, 3, 4, 5), (3, 2, 3, 4), {"stride": 2, "padding": "valid"}),
    "wide": ((1, 33, 3, 17), (33, 15, 3, 3), {"padding": 1}),
    "parallel": ((3, 48, 18, 17), (48, 40, 4, 4), {"stride": 2, "padding": 1}),
}


def operands(rng, name, sample):
    x, w, options = PROBLEMS[name]
    return sample(x), sample(w), sample((w[1] * options.get("groups", 1),)), options


@cache
def integers(name):
    """Operands, options and the exact result, computed once for all that run it."""
    rng = np.random.default_rng(20150629)
    x, w, b, options = operands(rng, name, lambda shape: rng.integers(-4, 5, shape).astype(float))
    return x, w, b, options, reference.conv_transpose2d(x, w, b, **options)


@pytest.mark.parametrize("name", PROBLEMS)
def test_integers_are_exact(isa, threads, algo, dtype, layout, name):
    x, w, b, options, exact = integers(name)
    y = fastconv.conv_transpose2d(
        activations(x, layout, dtype), weights(w, layout, dtype), b.astype(dtype), layout=layout, algo=algo, **options
    )
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, activations(exact, layout))


@pytest.mark.parametrize("name", PROBLEMS)
def test_rounding_stays_within_its_bound(rng, isa, algo, dtype, name):
    x, w, b, options = operands(rng, name, lambda shape: rng.standard_normal(shape, np.float32).astype(float))
    y = fastconv.conv_transpose2d(x.astype(dtype), w.astype(dtype), b.astype(dtype), algo=algo, **options)
    length = w.shape[0] // options.get("groups", 1) * w.shape[2] * w.shape[3] + 1
    assert_close(y, reference.conv_transpose2d(x, w, b, **options), rounding_bound(dtype, length, x, w))


@pytest.mark.parametrize(
    "name", [name for name, (_, _, options) in PROBLEMS.items() if "output_padding" not in options]
)
def test_without_output_padding_it_is_the_input_gradient(rng, name):
    x, w, _, options = operands(rng, name, lambda shape: rng.integers(-4, 5, shape).astype(float))
    y = fastconv.conv_transpose2d(x, w, **options)
    if options.get("padding") == "same":
        assert y.shape[2:] == tuple(2 * size for size in x.shape[2:])
    else:
        np.testing.assert_array_equal(fastconv.conv2d_backward_input(x, w, y.shape, **options), y)


def test_no_images_give_no_results():
    y = fastconv.conv_transpose2d(np.ones((0, 3, 4, 5), np.float32), np.ones((3, 2, 3, 3)), stride=2)
    assert y.shape == (0, 2, 9, 11)
    assert y.dtype == np.float64


def test_float16_is_returned_as_float16(rng):
    x, w, b, options = operands(rng, "up_2", lambda shape: rng.integers(-4, 5, shape).astype(np.float16))
    y = fastconv.conv_transpose2d(x, w, b, **options)
    assert y.dtype == np.float16
    np.testing.assert_array_equal(y, reference.conv_transpose2d(x.astype(float), w.astype(float), b, **options))
