"""Winograd of any geometry that it serves equals the reference within its rounding, and refuses the others."""

from __future__ import annotations

import numpy as np
import pytest
from cases import PARALLEL, activations, reals, weights
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from machine import DTYPES, ISAS, LAYOUTS, THREADS, using_isa
from tolerance import assert_close
from variants import FAST, OF_3X3, WINOGRAD, backward_input, backward_weight, fits_squares, forward

import fastconv
from fastconv import _core, reference

SHARED = [problem for problem in PARALLEL if (problem.r, problem.s, problem.u) == (3, 3, 1)]
NAMES = (*OF_3X3, "winograd")
SERVED = [(title, side) for title, (_, side) in WINOGRAD.items()] + [("winograd", 3), ("winograd", 5)]


def bound(dtype, terms, algo="winograd", units=100):
    """100 units of the RMS of a sum of products of normal numbers: the documented largest error is half of it.

    As many times that as the documented error of a variant is larger.
    """
    times = 5 if algo in FAST else 2 if algo in ("F(3x3,5x5)", "winograd") else 1
    return times * units * float(np.finfo(dtype).eps) * np.sqrt(terms)


def terms(w, stride=(1, 1), transposed=False):
    """Of the whole squares that the taps lie in: where they fill half of them, the sum is small beside its rounding."""
    side = 3 if fits_squares(3, w.shape[2:], stride) else 5
    return w.shape[0 if transposed else 1] * stride[0] * stride[1] * side**2


def strided(a, steps):
    """The same array as a view with these steps along its axes."""
    room = np.full([size * abs(step) for size, step in zip(a.shape, steps, strict=True)], np.nan, a.dtype)
    view = room[tuple(slice(None, None, step) for step in steps)]
    view[...] = a
    return view


STRIDES = ((1, 1), (2, 2), (2, 1), (1, 3), (3, 3), (4, 4))


@st.composite
def layers(draw, strides=((1, 1),)):
    """Shapes of x and w of a correlation that it serves, with any padding and groups, and what `algo` may be."""
    algo, side = draw(st.sampled_from(SERVED))
    stride, kernel = draw(st.sampled_from(strides)), (side, side)
    if strides[1:] or draw(st.booleans()):
        kernel = tuple(draw(st.integers(max(1, (side - 2) * step), side * step)) for step in stride)
        assume(fits_squares(side, kernel, stride))
    groups = draw(st.sampled_from((1, 1, 2, 5)))
    pads = draw(st.tuples(*[st.tuples(st.integers(0, 5), st.integers(0, 5))] * 2))
    size = [draw(st.integers(max(1, taps - sum(pair)), 42)) for taps, pair in zip(kernel, pads, strict=True)]
    c, k = draw(st.integers(1, 20)), draw(st.integers(1, 40))
    x = (draw(st.integers(1, 3)), groups * c, *size)
    return x, (groups * k, c, *kernel), {"padding": pads, "groups": groups, "stride": stride}, algo


def outputs(x_shape, w_shape, options):
    """The shape of the output."""
    axes = zip(x_shape[2:], w_shape[2:], options["padding"], options["stride"], strict=True)
    return (x_shape[0], w_shape[0], *((n + sum(pads) - k) // step + 1 for n, k, pads, step in axes))


places = (st.sampled_from(ISAS), st.sampled_from(THREADS), st.sampled_from(DTYPES), st.sampled_from(LAYOUTS))
steps = st.tuples(*[st.sampled_from((1, 1, 2, -1))] * 4)


@settings(max_examples=300, suppress_health_check=[HealthCheck.filter_too_much])
@given(layers(STRIDES), *places, st.sampled_from((None, "relu")), st.booleans(), st.integers(0, 99))
def test_forward(layer, isa, threads, dtype, layout, activation, biased, seed):
    x_shape, w_shape, options, algo = layer
    rng = np.random.default_rng(seed)
    x, w, b = (rng.standard_normal(shape, np.float32) for shape in (x_shape, w_shape, w_shape[:1]))
    b = b if biased else None
    exact = reference.conv2d(
        *(a if a is None else a.astype(float) for a in (x, w, b)), activation=activation, **options
    )
    with using_isa(isa), fastconv.threads(threads):
        y = forward(
            activations(x, layout, dtype), weights(w, layout, dtype), None if b is None else b.astype(dtype),
            activation=activation, layout=layout, algo=algo, **options,
        )  # fmt: skip
    assert_close(y, activations(exact, layout), bound(dtype, terms(w, options["stride"]), algo))


@settings(max_examples=300, suppress_health_check=[HealthCheck.filter_too_much])
@given(layers(STRIDES), *places, st.integers(0, 99))
def test_weight_gradient(layer, isa, threads, dtype, layout, seed):
    x_shape, w_shape, options, algo = layer
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(x_shape, np.float32)
    dy = rng.standard_normal(outputs(x_shape, w_shape, options), np.float32)
    exact = weights(reference.conv2d_backward_weight(dy.astype(float), x.astype(float), w_shape, **options), layout)
    with using_isa(isa), fastconv.threads(threads):
        dw = backward_weight(
            activations(dy, layout, dtype),
            activations(x, layout, dtype),
            exact.shape,
            layout=layout,
            algo=algo,
            **options,
        )
    # The documented largest error of weight gradients is twice as large: they sum tiles, not channels of one tile, and
    # with 5x5 taps of few images 110 units were met without FMA.
    assert_close(dw, exact, bound(dtype, dy[:, 0].size, algo, units=200))


@settings(max_examples=200)
@given(layers(), *places, st.integers(0, 99))
def test_input_gradient(layer, isa, threads, dtype, layout, seed):
    x_shape, w_shape, options, algo = layer
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(w_shape, np.float32)
    dy = rng.standard_normal(outputs(x_shape, w_shape, options), np.float32)
    exact = activations(reference.conv2d_backward_input(dy.astype(float), w.astype(float), x_shape, **options), layout)
    with using_isa(isa), fastconv.threads(threads):
        dx = backward_input(
            activations(dy, layout, dtype), weights(w, layout, dtype), exact.shape, layout=layout, algo=algo, **options
        )
    # A filter of one of the groups sums over the filters of its group.
    assert_close(dx, exact, bound(dtype, terms(w, transposed=True), algo))


@settings(max_examples=100, suppress_health_check=[HealthCheck.filter_too_much])
@given(layers(STRIDES), steps, steps, st.sampled_from(DTYPES), st.sampled_from(LAYOUTS), st.integers(0, 99))
def test_views(layer, x_steps, w_steps, dtype, layout, seed):
    """The NaN between the elements of a view is not read."""
    x_shape, w_shape, options, _ = layer
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal(x_shape, np.float32), rng.standard_normal(w_shape, np.float32)
    exact = reference.conv2d(x.astype(float), w.astype(float), **options)
    x, w = activations(x, layout, dtype), weights(w, layout, dtype)
    y = fastconv.conv2d(strided(x, x_steps), strided(w, w_steps), layout=layout, algo="winograd", **options)
    assert_close(y, activations(exact, layout), bound(dtype, terms(np.empty(w_shape), options["stride"])))


# Filters, strides and dilations whose phases of the input gradient are 3x3, or 3x2, or have no tap.
PHASES = {
    "6x6 by 2": ((6, 6), {"stride": 2, "padding": 2}),
    "6x3 by 2 and 1": ((6, 3), {"stride": (2, 1), "padding": ((0, 3), (2, 1))}),
    "9x6 by 3 and 2": ((9, 6), {"stride": (3, 2), "padding": 1}),
    "dilation and stride 2": ((3, 3), {"stride": 2, "dilation": 2, "padding": 2}),
    "6x5 by 2": ((6, 5), {"stride": 2, "padding": 2}),
    "9x8 by 3": ((9, 8), {"stride": 3, "padding": (3, 1)}),
}


@pytest.mark.parametrize("algo", NAMES)
@pytest.mark.parametrize("name", PHASES)
def test_strided_gradients_whose_phases_are_3x3(rng, isa, dtype, layout, name, algo):
    kernel, options = PHASES[name]
    x_shape, w = (2, 6, 23, 26), rng.standard_normal((14, 3, *kernel), np.float32)
    options = {**options, "groups": 2}
    dy = rng.standard_normal(reference.conv2d(np.zeros(x_shape), w, **options).shape, np.float32)
    exact = activations(reference.conv2d_backward_input(dy.astype(float), w.astype(float), x_shape, **options), layout)
    dx = backward_input(
        activations(dy, layout, dtype), weights(w, layout, dtype), exact.shape, layout=layout, algo=algo, **options
    )
    assert_close(dx, exact, bound(dtype, terms(w, transposed=True), algo))


def test_transposed_convolution(rng, isa, dtype, layout):
    x, w, b = (rng.standard_normal(shape, np.float32) for shape in ((2, 9, 11, 10), (9, 5, 6, 6), (5,)))
    exact = reference.conv_transpose2d(x.astype(float), w.astype(float), b.astype(float), stride=2, padding=1)
    y = fastconv.conv_transpose2d(
        activations(x, layout, dtype), weights(w, layout, dtype), b.astype(dtype),
        stride=2, padding=1, layout=layout, algo="winograd",
    )  # fmt: skip
    assert_close(y, activations(exact, layout), bound(dtype, terms(w, transposed=True)))


@pytest.mark.parametrize("algo", ["F(4x4,3x3)", "F(6x6,3x3)", "winograd"])
@pytest.mark.parametrize(("kernel", "stride"), [((5, 5), 2), ((11, 11), 4), ((2, 3), 1)], ids=str)
def test_bits_of_phases_do_not_depend_on_threads(rng, isa, dtype, layout, kernel, stride, algo):
    x, w = rng.standard_normal((3, 10, 61, 50)), rng.standard_normal((37, 10, *kernel))
    x, w = activations(x, layout, dtype), weights(w, layout, dtype)
    options = {"stride": stride, "padding": 2, "layout": layout, "algo": algo}
    results = []
    for count in THREADS:
        with fastconv.threads(count):
            y = forward(x, w, **options)
            results.append((y, backward_weight(y, x, w.shape, **options)))
    for arrays in results[1:]:
        for a, first in zip(arrays, results[0], strict=True):
            np.testing.assert_array_equal(a, first)


@pytest.mark.parametrize("algo", NAMES)
@pytest.mark.parametrize("problem", SHARED, ids=lambda p: p.name)
def test_bits_do_not_depend_on_threads(problem, isa, dtype, layout, algo):
    """Nor where a NaN makes a part of the image be computed again."""
    case, options = reals(problem), {**problem.conv_kwargs, "layout": layout, "algo": algo}
    x, dy, w = activations(case.x, layout, dtype), activations(case.dy, layout, dtype), weights(case.w, layout, dtype)
    x, dy = x.copy(), dy.copy()
    for nan in (False, True):
        if nan:
            x[-1, 1, 1, 1] = dy[0, -1, -1, -1] = np.nan
        results = []
        for count in THREADS:
            with fastconv.threads(count):
                y, dx = forward(x, w, **options), backward_input(dy, w, x.shape, **options)
                results.append((y, dx, backward_weight(dy, x, w.shape, **options)))
        assert [bool(np.isnan(a).any()) for a in results[0]] == [nan] * 3
        for arrays in results[1:]:
            for a, first in zip(arrays, results[0], strict=True):
                np.testing.assert_array_equal(a, first)


def test_a_held_layer_takes_it(rng, isa, dtype, layout):
    x, w = rng.standard_normal((2, 19, 14, 13)), rng.standard_normal((33, 19, 3, 3))
    x, w = activations(x, layout, dtype), weights(w, layout, dtype)
    options = {"padding": 1, "layout": layout, "algo": "winograd"}
    np.testing.assert_array_equal(fastconv.Conv2d(w, **options)(x), fastconv.conv2d(x, w, **options))


@pytest.mark.parametrize(
    ("algo", "c", "k", "kernel", "stride"),
    [("F(2x2,3x3)", 500, 531, (3, 3), 1), ("F(4x4,3x3)", 340, 350, (3, 3), 1), ("F(4x4,3x3)", 340, 350, (2, 3), 1),
     ("F(6x6,3x3)", 256, 257, (3, 3), 1), ("F(2x2,5x5)", 340, 350, (5, 5), 1), ("F(3x3,5x5)", 250, 350, (4, 5), 1),
     ("F(4x4,3x3)", 30, 250, (11, 11), 4), ("F(4x4,3x3)", 690, 701, (3, 3), 1)],
)  # fmt: skip
def test_held_filters_that_no_cache_keeps(rng, isa, layout, algo, c, k, kernel, stride):
    """Calls of few tiles hold them packed and transform them, calls of many hold them transformed: of the same bits."""
    w = weights(rng.standard_normal((k, c, *kernel)), layout, np.float32)
    packed = _core.PackedWeights()
    many = 40 if w.nbytes < 2**24 else 1  # the last ones are beyond every cache as they are
    for n in (1, many, 1):
        x = activations(rng.standard_normal((n, c, 7 * stride, 6 * stride)), layout, np.float32)
        options = {"padding": 1, "stride": stride, "layout": layout, "algo": algo}
        held = forward(x, w, packed=packed, **options)
        np.testing.assert_array_equal(held, forward(x, w, **options))


GEOMETRY = r"winograd.*cannot serve.*within 5x5 pixels, or within as many of each phase of a stride, 144 in all"
GAPS = r"winograd.*cannot serve.*taps fill less than half of the square of 3x3 or 5x5, or of the squares of all phases"


@pytest.mark.parametrize(
    ("kernel", "options", "why"),
    [((6, 6), {}, GEOMETRY), ((1, 9), {}, GEOMETRY), ((3, 3), {"dilation": 3}, GEOMETRY),
     ((11, 11), {"stride": 2}, GEOMETRY), ((12, 12), {"stride": 3}, GEOMETRY), ((15, 15), {"stride": 5}, GEOMETRY),
     ((1, 1), {}, GAPS), ((2, 2), {}, GAPS), ((1, 3), {}, GAPS), ((3, 3), {"stride": 2}, GAPS),
     ((2, 3), {"stride": (1, 2)}, GAPS), ((3, 3), {"dilation": 2}, GAPS), ((3, 3), {"dilation": (2, 1)}, GAPS)],
    ids=str,
)  # fmt: skip
def test_other_correlations_are_refused(kernel, options, why):
    x, w = np.ones((1, 2, 16, 16), np.float32), np.ones((3, 2, *kernel), np.float32)
    with pytest.raises(ValueError, match=why):
        fastconv.conv2d(x, w, algo="winograd", **options)
    assert "winograd" not in {r.name for r in fastconv.algorithms(x.shape, w.shape, **options)}


@pytest.mark.parametrize(("kernel", "stride", "why"), [(5, 2, GAPS), (3, 2, GAPS), (7, 1, GEOMETRY), (11, 2, GEOMETRY)])
def test_input_gradients_with_other_phases_are_refused(kernel, stride, why):
    """A 5x5 filter at stride 2 has phases of 3x3, 3x2, 2x3 and 2x2."""
    w = np.ones((3, 2, kernel, kernel))
    dy = fastconv.conv2d(np.ones((1, 2, 12, 12)), w, stride=stride)
    with pytest.raises(ValueError, match=why):
        fastconv.conv2d_backward_input(dy, w, (1, 2, 12, 12), stride=stride, algo="winograd")


def test_a_weight_gradient_of_many_tiles(rng, isa, dtype, layout):
    """Several blocks of tiles, of several images each or of one."""
    for shape, pad in (((9, 5, 30, 31), 1), ((1, 3, 200, 150), 2)):
        x = rng.standard_normal(shape, np.float32)
        dy = rng.standard_normal((shape[0], 7, shape[2] + 2 * pad - 2, shape[3] + 2 * pad - 2), np.float32)
        exact = reference.conv2d_backward_weight(dy.astype(float), x.astype(float), (7, shape[1], 3, 3), padding=pad)
        exact = weights(exact, layout)
        dy, x = activations(dy, layout, dtype), activations(x, layout, dtype)
        for algo in NAMES:
            dw = backward_weight(dy, x, exact.shape, padding=pad, layout=layout, algo=algo)
            assert_close(dw, exact, bound(dtype, dy.size / 7, algo))


def test_a_weight_gradient_of_many_tiles_and_weights(rng, isa, layout):
    """Blocks of tiles that threads share, whose products are added to one sum after the other."""
    x = rng.standard_normal((2, 70, 62, 61), np.float32)
    dy = rng.standard_normal((2, 72, 62, 61), np.float32)
    exact = reference.conv2d_backward_weight(dy.astype(float), x.astype(float), (72, 70, 3, 3), padding=1)
    exact = weights(exact, layout)
    dy, x = activations(dy, layout, np.float32), activations(x, layout, np.float32)
    arguments = {"padding": 1, "layout": layout, "algo": "F(4x4,3x3)"}
    dw = backward_weight(dy, x, exact.shape, **arguments)
    assert_close(dw, exact, bound(np.float32, dy.size / 72))
    with fastconv.threads(5):
        assert np.array_equal(backward_weight(dy, x, exact.shape, **arguments), dw)
