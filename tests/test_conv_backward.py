"""Gradients of conv2d: every problem, on every instruction set, thread count, algorithm, dtype and layout."""

from __future__ import annotations

import numpy as np
import pytest
from cases import PROBLEMS, activations, integers, reals, weights
from gradients import numerical_gradient
from tolerance import assert_close, rounding_bound

import fastconv


def names(problem):
    return problem.name


@pytest.mark.parametrize("problem", PROBLEMS, ids=names)
def test_input_gradient_is_exact(problem, isa, threads, algo, dtype, layout):
    case = integers(problem)
    dy, w = activations(case.dy, layout, dtype), weights(case.w, layout, dtype)
    exact = activations(case.dx, layout)
    dx = fastconv.conv2d_backward_input(dy, w, exact.shape, algo=algo, layout=layout, **problem.conv_kwargs)
    assert dx.dtype == dtype
    np.testing.assert_array_equal(dx, exact)


@pytest.mark.parametrize("problem", PROBLEMS, ids=names)
def test_weight_gradient_is_exact(problem, isa, threads, algo, dtype, layout):
    case = integers(problem)
    dy, x = activations(case.dy, layout, dtype), activations(case.x, layout, dtype)
    exact = weights(case.dw, layout)
    dw = fastconv.conv2d_backward_weight(dy, x, exact.shape, algo=algo, layout=layout, **problem.conv_kwargs)
    assert dw.dtype == dtype
    np.testing.assert_array_equal(dw, exact)


@pytest.mark.parametrize("problem", PROBLEMS, ids=names)
def test_bias_gradient_is_exact(problem, isa, threads, dtype, layout):
    case = integers(problem)
    dy, x = activations(case.dy, layout, dtype), activations(case.x, layout, dtype)
    w = weights(case.w, layout, dtype)
    dx, dw, db = fastconv.conv2d_backward(dy, x, w, layout=layout, needs=("b",), **problem.conv_kwargs)
    assert dx is None
    assert dw is None
    np.testing.assert_array_equal(db, case.db)


@pytest.mark.parametrize("problem", PROBLEMS, ids=names)
def test_rounding_stays_within_its_bound(problem, isa, algo, dtype, layout):
    case = reals(problem)
    dy, x = activations(case.dy, layout, dtype), activations(case.x, layout, dtype)
    w = weights(case.w, layout, dtype)
    dx, dw, db = fastconv.conv2d_backward(dy, x, w, layout=layout, algo=algo, **problem.conv_kwargs)
    n, k, oh, ow = problem.y_shape
    bound = rounding_bound(dtype, k // problem.g * problem.r * problem.s, case.dy, case.w)
    assert_close(dx, activations(case.dx, layout), bound)
    assert_close(dw, weights(case.dw, layout), rounding_bound(dtype, n * oh * ow, case.dy, case.x))
    assert_close(db, case.db, rounding_bound(dtype, n * oh * ow, case.dy))


SMALL = {
    "plain": ((1, 2, 5, 6), (3, 2, 3, 2), {}),
    "padded": ((2, 1, 4, 5), (2, 1, 3, 3), {"padding": ((0, 2), (1, 0))}),
    "strided": ((1, 2, 6, 7), (2, 2, 3, 3), {"stride": (2, 3), "padding": 1}),
    "gaps": ((1, 2, 7, 6), (3, 2, 2, 1), {"stride": (4, 3)}),
    "dilated": ((1, 2, 6, 7), (2, 2, 2, 3), {"dilation": (3, 2), "padding": "same"}),
    "depthwise": ((1, 3, 5, 5), (6, 1, 3, 3), {"groups": 3, "stride": 2, "padding": 1}),
}


@pytest.mark.parametrize("name", SMALL)
def test_gradients_by_finite_differences(rng, isa, algo, layout, name):
    x_shape, w_shape, options = SMALL[name]
    options = {**options, "layout": layout, "algo": algo}
    x, w = activations(rng.standard_normal(x_shape), layout), weights(rng.standard_normal(w_shape), layout)
    b = rng.standard_normal(w_shape[0])
    conv = fastconv.conv2d
    dy = rng.standard_normal(conv(x, w, b, **options).shape)
    dx, dw, db = fastconv.conv2d_backward(dy, x, w, **options)
    # The operator is linear in each operand: a difference of any step is its slope.
    np.testing.assert_allclose(dx, numerical_gradient(lambda x: conv(x, w, b, **options), x, dy, 1.0), atol=1e-10)
    np.testing.assert_allclose(dw, numerical_gradient(lambda w: conv(x, w, b, **options), w, dy, 1.0), atol=1e-10)
    np.testing.assert_allclose(db, numerical_gradient(lambda b: conv(x, w, b, **options), b, dy, 1.0), atol=1e-10)


@pytest.mark.parametrize("needs", [(), "x", ("w",), {"b", "x"}, ["x", "w", "b"], "wb"], ids=str)
def test_needs_selects(rng, needs):
    x, w = rng.standard_normal((2, 3, 6, 5)), rng.standard_normal((4, 3, 3, 3))
    dy = fastconv.conv2d(x, w)
    everything = fastconv.conv2d_backward(dy, x, w)
    for name, gradient, expected in zip(
        "xwb", fastconv.conv2d_backward(dy, x, w, needs=needs), everything, strict=True
    ):
        if name in needs:
            np.testing.assert_array_equal(gradient, expected)
        else:
            assert gradient is None


def test_pixels_that_no_window_meets_have_no_gradient(isa, algo, dtype, layout):
    w = weights(np.ones((2, 3, 2, 2)), layout, dtype)
    dy = activations(np.ones((1, 2, 3, 2)), layout, dtype)
    shape = activations(np.ones((1, 3, 10, 8)), layout).shape
    dx = fastconv.conv2d_backward_input(dy, w, shape, stride=(3, 4), layout=layout, algo=algo)
    exact = 2 * np.outer([1, 1, 0] * 3 + [0], [1, 1, 0, 0] * 2)  # two filters of ones
    np.testing.assert_array_equal(dx, activations(np.broadcast_to(exact, (1, 3, 10, 8)), layout))


def test_float16_gradients(rng):
    x, w = rng.integers(-4, 5, (2, 2, 5, 5)), rng.integers(-4, 5, (3, 2, 3, 3))
    dy = rng.integers(-4, 5, (2, 3, 3, 3))
    exact = fastconv.conv2d_backward(dy.astype(float), x.astype(float), w.astype(float))
    half = fastconv.conv2d_backward(dy.astype(np.float16), x.astype(np.float16), w.astype(np.float16))
    for gradient, expected in zip(half, exact, strict=True):
        assert gradient.dtype == np.float16
        np.testing.assert_array_equal(gradient, expected)
    mixed = fastconv.conv2d_backward(dy.astype(np.float32), x.astype(np.float16), w.astype(float))
    assert [gradient.dtype for gradient in mixed] == [np.float64] * 3
