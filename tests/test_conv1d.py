"""The one-dimensional family against the reference."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import reference

# Shapes of x (N, C, L) and w (K, C / groups, KW), and the options.
CONVOLUTIONS = {
    "plain": ((2, 3, 33), (5, 3, 4), {}),
    "padded": ((1, 4, 17), (6, 4, 3), {"padding": 1}),
    "causal": ((2, 3, 20), (4, 3, 5), {"padding": ((4, 0),)}),
    "same": ((1, 2, 15), (3, 2, 4), {"padding": "same", "stride": 2}),
    "valid": ((1, 2, 15), (3, 2, 4), {"padding": "valid", "stride": (3,)}),
    "dilated": ((1, 3, 31), (7, 3, 3), {"dilation": 4, "padding": 4}),
    "groups": ((2, 6, 19), (9, 2, 3), {"groups": 3, "stride": 2}),
    "depthwise": ((1, 8, 16), (8, 1, 3), {"groups": 8, "padding": 1}),
    "whole": ((3, 4, 9), (5, 4, 9), {}),
    "empty": ((0, 3, 9), (5, 3, 2), {}),
}
POOLS = {
    "halve": ((2, 3, 20), 2, {}),
    "rest": ((1, 3, 21), 4, {"stride": 3}),
    "padded": ((2, 5, 17), 3, {"stride": 1, "padding": 1}),
    "asymmetric": ((1, 2, 14), 4, {"stride": 3, "padding": ((0, 3),)}),
    "same": ((1, 2, 14), 3, {"stride": 2, "padding": "same"}),
    "ceil": ((1, 2, 14), (3,), {"stride": 4, "padding": 1, "ceil_mode": True}),
    "dilated": ((1, 4, 23), 3, {"stride": 2, "dilation": 3, "padding": 2}),
    "empty": ((0, 2, 14), 3, {}),
}
LAYOUTS = ("NCHW", "NHWC", "NCL", "NLC")


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return request.param


def signal(a, layout, dtype=np.float64):
    return np.ascontiguousarray(a if layout in ("NCHW", "NCL") else a.swapaxes(1, 2), dtype)


def filters(w, layout, dtype=np.float64):
    return np.ascontiguousarray(w if layout in ("NCHW", "NCL") else w.T, dtype)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv1d_and_its_gradients(rng, isa, algo, dtype, layout, name):
    x, w, options = CONVOLUTIONS[name]
    x, w, b = (rng.integers(-4, 5, shape).astype(float) for shape in (x, w, w[:1]))
    exact = reference.conv1d(x, w, b, **options)
    dy = rng.integers(-4, 5, exact.shape).astype(float)
    exact_dx, exact_dw, exact_db = reference.conv1d_backward(dy, x, w, **options)
    x, w, dy = signal(x, layout, dtype), filters(w, layout, dtype), signal(dy, layout, dtype)
    options = {**options, "layout": layout, "algo": algo}
    y = fastconv.conv1d(x, w, b.astype(dtype), activation="relu", **options)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, signal(np.maximum(exact, 0), layout))
    dx, dw, db = fastconv.conv1d_backward(dy, x, w, **options)
    np.testing.assert_array_equal(dx, signal(exact_dx, layout))
    np.testing.assert_array_equal(dw, filters(exact_dw, layout))
    np.testing.assert_array_equal(db, exact_db)
    np.testing.assert_array_equal(fastconv.conv1d_backward_input(dy, w, x.shape, **options), dx)
    np.testing.assert_array_equal(fastconv.conv1d_backward_weight(dy, x, w.shape, **options), dw)


@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((2, 4, 9), (4, 3, 4), {"stride": 2, "padding": 1}),
        ((1, 6, 7), (6, 2, 3), {"stride": 3, "groups": 2, "output_padding": 2, "dilation": 2}),
        ((1, 3, 8), (3, 2, 3), {"stride": 2, "padding": "same"}),
        ((1, 3, 8), (3, 2, 3), {"padding": ((2, 0),)}),
    ],
)
def test_conv_transpose1d(rng, isa, algo, dtype, layout, x, w, options):
    x, w, b = (rng.integers(-4, 5, shape).astype(float) for shape in (x, w, (w[1] * options.get("groups", 1),)))
    exact = reference.conv_transpose1d(x, w, b, **options)
    x, w = signal(x, layout, dtype), filters(w, layout, dtype)
    y = fastconv.conv_transpose1d(x, w, b.astype(dtype), layout=layout, algo=algo, **options)
    np.testing.assert_array_equal(y, signal(exact, layout))


@pytest.mark.parametrize("name", POOLS)
def test_pools_and_their_gradients(rng, isa, dtype, layout, name):
    shape, kernel, options = POOLS[name]
    x = rng.integers(-4, 5, shape).astype(float)
    exact, exact_indices = reference.max_pool1d(x, kernel, return_indices=True, **options)
    mean = reference.avg_pool1d(x, kernel, **options)
    dy = rng.integers(-4, 5, exact.shape).astype(float)
    exact_dx = reference.max_pool1d_backward(dy, x, kernel, **options)
    exact_spread = reference.avg_pool1d_backward(dy, x.shape, kernel, **options)
    x, dy = signal(x, layout, dtype), signal(dy, layout, dtype)
    options = {**options, "layout": layout}
    y, indices = fastconv.max_pool1d(x, kernel, return_indices=True, **options)
    np.testing.assert_array_equal(y, signal(exact, layout))
    np.testing.assert_array_equal(indices, signal(exact_indices, layout))
    np.testing.assert_array_equal(fastconv.max_pool1d(x, kernel, **options), y)
    dx = signal(exact_dx, layout)
    np.testing.assert_array_equal(fastconv.max_pool1d_backward(dy, x, kernel, **options), dx)
    np.testing.assert_array_equal(fastconv.max_pool1d_backward(dy, x, kernel, indices=indices, **options), dx)
    close = np.finfo(dtype).eps * 32
    np.testing.assert_allclose(fastconv.avg_pool1d(x, kernel, **options), signal(mean, layout), atol=close)
    spread = fastconv.avg_pool1d_backward(dy, x.shape, kernel, **options)
    np.testing.assert_allclose(spread, signal(exact_spread, layout), atol=close)
