"""Any geometry, on any instruction set, algorithm and thread count, equals the reference exactly."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from cases import activations, weights
from hypothesis import given, settings
from hypothesis import strategies as st
from machine import ALGORITHMS, DTYPES, ISAS, LAYOUTS, THREADS, using_isa

import fastconv
from fastconv import reference

small = st.integers(1, 4)


class How(NamedTuple):
    """The means: all must give the same."""

    isa: str
    threads: int
    algo: str
    dtype: np.dtype
    layout: str


@contextmanager
def using(how):
    """Run as `how` says, "auto" without Winograd, which would round: these comparisons are exact."""
    with using_isa(how.isa), fastconv.threads(how.threads), fastconv.allow_winograd(False):
        yield


hows = st.builds(
    How,
    st.sampled_from(ISAS),
    st.sampled_from(THREADS),
    st.sampled_from((*ALGORITHMS, "auto")),
    st.sampled_from(DTYPES),
    st.sampled_from(LAYOUTS),
)


class Layer(NamedTuple):
    """A convolution: shapes of x and w in NCHW and OIHW, and its options."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    options: dict[str, Any]
    seed: int


@st.composite
def layers(draw):
    """A layer with at least one output pixel, and at most a few thousand multiplications a pixel."""
    groups, kernel = draw(st.integers(1, 5)), (draw(small), draw(st.integers(1, 6)))
    stride, dilation = draw(st.tuples(small, small)), draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pads = draw(st.tuples(*[st.tuples(st.integers(0, 5), st.integers(0, 5))] * 2))
    least = [d * (k - 1) + 1 - sum(p) for d, k, p in zip(dilation, kernel, pads, strict=True)]
    height = draw(st.integers(max(1, least[0]), max(1, least[0]) + 12))
    width = draw(st.integers(max(1, least[1]), max(1, least[1]) + 40))
    c, k = draw(st.integers(1, 7)), draw(st.integers(1, 18))
    padding = draw(st.one_of(st.just(pads), st.just("same")))
    if padding == "same":
        height, width = max(height, 1), max(width, 1)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x = (draw(st.integers(0, 3)), groups * c, height, width)
    return Layer(x, (groups * k, c, *kernel), options, draw(st.integers(0, 2**16)))


def integers(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.integers(-4, 5, shape).astype(float) for shape in shapes]


@settings(max_examples=300)
@given(layers(), hows, st.sampled_from((None, "relu")), st.booleans())
def test_convolution(layer, how, activation, biased):
    x, w, b = integers(layer.seed, layer.x, layer.w, layer.w[:1])
    exact = reference.conv2d(x, w, b if biased else None, activation=activation, **layer.options)
    with using(how):
        y = fastconv.conv2d(
            activations(x, how.layout, how.dtype), weights(w, how.layout, how.dtype),
            b.astype(how.dtype) if biased else None,
            activation=activation, layout=how.layout, algo=how.algo, **layer.options,
        )  # fmt: skip
    np.testing.assert_array_equal(y, activations(exact, how.layout))


@settings(max_examples=300)
@given(layers(), hows)
def test_gradients(layer, how):
    shape = reference.conv2d(np.zeros(layer.x), np.zeros(layer.w), **layer.options).shape
    x, w, dy = integers(layer.seed, layer.x, layer.w, shape)
    exact_dx, exact_dw, exact_db = reference.conv2d_backward(dy, x, w, **layer.options)
    with using(how):
        dx, dw, db = fastconv.conv2d_backward(
            activations(dy, how.layout, how.dtype), activations(x, how.layout, how.dtype),
            weights(w, how.layout, how.dtype), layout=how.layout, algo=how.algo, **layer.options,
        )  # fmt: skip
    np.testing.assert_array_equal(dx, activations(exact_dx, how.layout))
    np.testing.assert_array_equal(dw, weights(exact_dw, how.layout))
    np.testing.assert_array_equal(db, exact_db)


@settings(max_examples=200)
@given(layers(), hows, st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_transposed_convolution(layer, how, output_padding):
    limits = [max(pair) - 1 for pair in zip(layer.options["stride"], layer.options["dilation"], strict=True)]
    output_padding = tuple(min(pair) for pair in zip(output_padding, limits, strict=True))
    y_shape = reference.conv2d(np.zeros(layer.x), np.zeros(layer.w), **layer.options).shape
    options = {**layer.options, "padding": 0, "output_padding": output_padding}
    x, w, b = integers(layer.seed, y_shape, layer.w, (layer.x[1],))
    exact = reference.conv_transpose2d(x, w, b, **options)
    with using(how):
        y = fastconv.conv_transpose2d(
            activations(x, how.layout, how.dtype), weights(w, how.layout, how.dtype), b.astype(how.dtype),
            layout=how.layout, algo=how.algo, **options,
        )  # fmt: skip
    np.testing.assert_array_equal(y, activations(exact, how.layout))


@settings(max_examples=200)
@given(layers(), layers(), hows)
def test_a_held_layer_serves_any_size(layer, other, how):
    """Packed once, for no size in particular."""
    (x, w), options = integers(layer.seed, layer.x, layer.w), layer.options
    wide = integers(other.seed, (2, layer.x[1], layer.x[2] + other.x[2], layer.x[3] + other.x[3]))[0]
    with using(how):
        conv = fastconv.Conv2d(weights(w, how.layout, how.dtype), layout=how.layout, algo=how.algo, **options)
        for images in (x, wide, x):
            y = conv(activations(images, how.layout, how.dtype))
            np.testing.assert_array_equal(y, activations(reference.conv2d(images, w, **options), how.layout))


@st.composite
def pools(draw):
    """Shape, kernel and options of a pool in which every window holds a pixel."""
    kernel, stride = draw(st.tuples(small, st.integers(1, 6))), draw(st.tuples(small, small))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    pads = tuple(draw(st.tuples(st.integers(0, s - 1), st.integers(0, s - 1))) for s in spans)
    size = [draw(st.integers(s, s + 30)) for s in spans]
    options = {"stride": stride, "padding": pads, "dilation": dilation, "ceil_mode": draw(st.booleans())}
    return (draw(st.integers(0, 3)), draw(st.integers(1, 40)), *size), kernel, options


@settings(max_examples=300)
@given(pools(), hows, st.integers(0, 2**16), st.sampled_from((0.0, 0.3)))
def test_max_pool(pool, how, seed, nans):
    shape, kernel, options = pool
    (x,) = integers(seed, shape)
    x[np.random.default_rng(seed).random(shape) < nans] = np.nan
    exact, exact_indices = reference.max_pool2d(x, kernel, return_indices=True, **options)
    (dy,) = integers(seed + 1, exact.shape)
    exact_dx = reference.max_pool2d_backward(dy, x, kernel, **options)
    x, dy = activations(x, how.layout, how.dtype), activations(dy, how.layout, how.dtype)
    options["layout"] = how.layout
    with using(how):
        y, indices = fastconv.max_pool2d(x, kernel, return_indices=True, **options)
        dx = fastconv.max_pool2d_backward(dy, x, kernel, **options)
        dx_by_indices = fastconv.max_pool2d_backward(dy, x, kernel, indices=indices, **options)
    np.testing.assert_array_equal(y, activations(exact, how.layout))
    np.testing.assert_array_equal(indices, activations(exact_indices, how.layout))
    np.testing.assert_array_equal(dx, activations(exact_dx, how.layout))
    np.testing.assert_array_equal(dx_by_indices, dx)


@settings(max_examples=200)
@given(pools(), hows, st.integers(0, 2**16), st.booleans())
def test_avg_pool(pool, how, seed, include):
    shape, kernel, options = pool
    options["count_include_pad"] = include
    (x,) = integers(seed, shape)
    exact = reference.avg_pool2d(x, kernel, **options)
    (dy,) = integers(seed + 1, exact.shape)
    exact_dx = reference.avg_pool2d_backward(dy, shape, kernel, **options)
    x, dy = activations(x, how.layout, how.dtype), activations(dy, how.layout, how.dtype)
    options["layout"] = how.layout
    with using(how):
        y = fastconv.avg_pool2d(x, kernel, **options)
        dx = fastconv.avg_pool2d_backward(dy, x.shape, kernel, **options)
    eps = np.finfo(how.dtype).eps
    np.testing.assert_allclose(y, activations(exact, how.layout), rtol=2 * eps, atol=0)
    np.testing.assert_allclose(dx, activations(exact_dx, how.layout), rtol=0, atol=4 * eps * kernel[0] * kernel[1])
