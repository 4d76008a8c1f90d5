"""NaN and infinity reach exactly the outputs that see them, whatever the algorithm.

The operands are integers, so the finite outputs compare exactly. Tiles run over the edges of arrays: what a kernel
computes there, or finds in scratch memory, must not come back.
"""

from __future__ import annotations

import numpy as np
import pytest
from cases import PARALLEL, SHAPES, TILES, activations, integers, weights

import fastconv
from fastconv import reference

SOME = [*TILES[::3], *SHAPES, *PARALLEL[:2]]
SPECIAL = (np.nan, np.inf, -np.inf)


def sprinkle(a, rng, count):
    """A copy of `a` with special values at its first and last element and some others."""
    flat = a.ravel().copy()
    places = [0, flat.size - 1, *rng.integers(0, flat.size, count)]
    flat[places] = rng.choice(SPECIAL, len(places))
    return flat.reshape(a.shape)


@pytest.fixture(params=[0, 3], ids=["ends", "more"])
def count(request):
    return request.param


@pytest.mark.parametrize("problem", SOME, ids=lambda p: p.name)
def test_inputs(problem, isa, algo, dtype, layout, rng, count):
    case = integers(problem)
    x = sprinkle(case.x, rng, count)
    with np.errstate(invalid="ignore"):
        y = reference.conv2d(x, case.w, case.b, activation="relu", **problem.conv_kwargs)
    ours = fastconv.conv2d(
        activations(x, layout, dtype), weights(case.w, layout, dtype), case.b.astype(dtype),
        activation="relu", layout=layout, algo=algo, **problem.conv_kwargs,
    )  # fmt: skip
    np.testing.assert_array_equal(ours, activations(y, layout))


@pytest.mark.parametrize("problem", SOME, ids=lambda p: p.name)
def test_weights_of_the_input_gradient(problem, isa, algo, dtype, layout, rng, count):
    """The zeros around dy are no part of it: no pixel sees a weight through them."""
    case = integers(problem)
    w = sprinkle(case.w, rng, count)
    with np.errstate(invalid="ignore"):
        dx = reference.conv2d_backward_input(case.dy, w, case.x.shape, **problem.conv_kwargs)
    dx = activations(dx, layout)
    ours = fastconv.conv2d_backward_input(
        activations(case.dy, layout, dtype), weights(w, layout, dtype), dx.shape,
        layout=layout, algo=algo, **problem.conv_kwargs,
    )  # fmt: skip
    np.testing.assert_array_equal(ours, dx)


@pytest.mark.parametrize("problem", SOME, ids=lambda p: p.name)
def test_gradients_into_the_input(problem, isa, algo, dtype, layout, rng, count):
    case = integers(problem)
    dy = sprinkle(case.dy, rng, count)
    with np.errstate(invalid="ignore"):
        dx = reference.conv2d_backward_input(dy, case.w, case.x.shape, **problem.conv_kwargs)
    dx = activations(dx, layout)
    ours = fastconv.conv2d_backward_input(
        activations(dy, layout, dtype), weights(case.w, layout, dtype), dx.shape,
        layout=layout, algo=algo, **problem.conv_kwargs,
    )  # fmt: skip
    np.testing.assert_array_equal(ours, dx)


@pytest.mark.parametrize("problem", SOME, ids=lambda p: p.name)
def test_inputs_into_the_weights(problem, isa, algo, dtype, layout, rng):
    case = integers(problem)
    x = sprinkle(case.x, rng, 0)
    with np.errstate(invalid="ignore"):
        dw = reference.conv2d_backward_weight(case.dy, x, case.w.shape, **problem.conv_kwargs)
    dw = weights(dw, layout)
    ours = fastconv.conv2d_backward_weight(
        activations(case.dy, layout, dtype), activations(x, layout, dtype), dw.shape,
        layout=layout, algo=algo, **problem.conv_kwargs,
    )  # fmt: skip
    np.testing.assert_array_equal(ours, dw)


@pytest.mark.parametrize("problem", SOME, ids=lambda p: p.name)
def test_weights_and_output_gradients(problem, isa, algo, dtype, layout, rng):
    """Padding is zeros like any others: zero times NaN is seen."""
    case = integers(problem)
    w, dy, b = sprinkle(case.w, rng, 1), sprinkle(case.dy, rng, 1), sprinkle(case.b, rng, 0)
    with np.errstate(invalid="ignore"):
        y = reference.conv2d(case.x, w, b, **problem.conv_kwargs)
        _, dw, db = reference.conv2d_backward(dy, case.x, w, needs="wb", **problem.conv_kwargs)
    x, dy, w = activations(case.x, layout, dtype), activations(dy, layout, dtype), weights(w, layout, dtype)
    options = {**problem.conv_kwargs, "algo": algo, "layout": layout}
    np.testing.assert_array_equal(fastconv.conv2d(x, w, b.astype(dtype), **options), activations(y, layout))
    _, our_dw, our_db = fastconv.conv2d_backward(dy, x, w, needs="wb", **options)
    np.testing.assert_array_equal(our_dw, weights(dw, layout))
    np.testing.assert_array_equal(our_db, db)


@pytest.mark.parametrize(
    ("height", "padding", "dilation", "place"),
    [(5, (4, 0), 1, (0, 3)), (5, (0, 4), 1, (1, 12)), (2, (10, 0), (5, 1), (3, 2))],
    ids=["above", "beside", "between taps"],
)
def test_an_output_that_sees_padding_alone(isa, algo, dtype, layout, rng, height, padding, dilation, place):
    """A NaN of dy there makes one of each of its filter's weights' gradients."""
    x, w = rng.integers(-4, 5, (2, 40, height, 7)), rng.integers(-4, 5, (40, 1, 3, 3))
    options = {"groups": 40, "padding": padding, "dilation": dilation}
    dy = reference.conv2d(x, w, **options).astype(np.float64)
    dy[1, 4, place[0], place[1]] = np.nan
    with np.errstate(invalid="ignore"):
        dw = reference.conv2d_backward(dy, x, w, needs="w", **options)[1]
    assert np.isnan(dw[4]).all()
    x, dy = activations(x, layout, dtype), activations(dy, layout, dtype)
    ours = fastconv.conv2d_backward_weight(dy, x, weights(w, layout).shape, layout=layout, algo=algo, **options)
    np.testing.assert_array_equal(ours, weights(dw, layout))


@pytest.mark.parametrize("problem", [*TILES, *SHAPES], ids=lambda p: p.name)
def test_what_one_call_leaves_behind_does_not_reach_the_next(problem, isa, algo, dtype, layout):
    """Scratch memory and the heap are full of NaN after the first round."""
    case = integers(problem)
    x, dy, w = activations(case.x, layout, dtype), activations(case.dy, layout, dtype), weights(case.w, layout, dtype)
    options = {**problem.conv_kwargs, "algo": algo, "layout": layout}
    fastconv.conv2d_backward(*(np.full_like(a, np.nan) for a in (dy, x, w)), **options)
    fastconv.conv2d(*(np.full_like(a, np.nan) for a in (x, w)), **options)
    np.testing.assert_array_equal(fastconv.conv2d(x, w, case.b.astype(dtype), **options), activations(case.y, layout))
    dx, dw, db = fastconv.conv2d_backward(dy, x, w, **options)
    np.testing.assert_array_equal(dx, activations(case.dx, layout))
    np.testing.assert_array_equal(dw, weights(case.dw, layout))
    np.testing.assert_array_equal(db, case.db)


def test_relu_hands_nan_on(isa, algo, dtype, layout):
    """At every place of a vector, body and tail."""
    for width in range(1, 36):
        x = np.arange(width, dtype=float) - width // 2
        x[width // 3] = np.nan
        x[-1] = -np.inf
        image, one = x.reshape(1, 1, 1, width), np.ones((1, 1, 1, 1))
        y = fastconv.conv2d(
            activations(image, layout, dtype), weights(one, layout, dtype), activation="relu", algo=algo, layout=layout
        )
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(y.ravel(), np.maximum(x, 0))


def test_images_and_groups_do_not_mix(isa, algo, dtype, layout, rng):
    x, w = rng.integers(-4, 5, (3, 6, 9, 8)).astype(float), rng.integers(-4, 5, (9, 2, 3, 3)).astype(float)
    x[1, 2:4] = np.nan
    y = fastconv.conv2d(
        activations(x, layout, dtype), weights(w, layout, dtype), padding=1, groups=3, algo=algo, layout=layout
    )
    seen = np.zeros((3, 9, 9, 8), bool)
    seen[1, 3:6] = True
    np.testing.assert_array_equal(np.isnan(y), activations(seen, layout, bool))


def test_average_pool_and_normalisation(isa, dtype, layout, rng):
    x = sprinkle(rng.integers(1, 5, (2, 9, 7, 17)).astype(float), rng, 4)
    with np.errstate(invalid="ignore"):
        mean = reference.avg_pool2d(x, 3, stride=2, padding=1)
        normed = reference.local_response_norm(x, 3, alpha=1.0)
    x = activations(x, layout, dtype)
    ours = fastconv.avg_pool2d(x, 3, stride=2, padding=1, layout=layout)
    np.testing.assert_allclose(ours, activations(mean, layout), rtol=1e-6)
    ours = fastconv.local_response_norm(x, 3, alpha=1.0, layout=layout)
    np.testing.assert_allclose(ours, activations(normed, layout), rtol=1e-5)
