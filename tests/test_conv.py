"""conv2d: every problem, on every instruction set, thread count, algorithm, dtype and layout."""

from __future__ import annotations

import numpy as np
import pytest
from cases import PARALLEL, PROBLEMS, activations, integers, reals, weights
from tolerance import assert_close, rounding_bound

import fastconv
from fastconv import reference


def convolve(problem, case, algo, dtype, layout, **options):
    x, w = activations(case.x, layout, dtype), weights(case.w, layout, dtype)
    return fastconv.conv2d(x, w, case.b.astype(dtype), algo=algo, layout=layout, **problem.conv_kwargs, **options)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_integers_are_exact(problem, isa, threads, algo, dtype, layout):
    case = integers(problem)
    y = convolve(problem, case, algo, dtype, layout)
    assert y.dtype == dtype
    assert y.flags.c_contiguous
    np.testing.assert_array_equal(y, activations(case.y, layout))


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_rounding_stays_within_its_bound(problem, isa, algo, dtype, layout):
    case = reals(problem)
    y = convolve(problem, case, algo, dtype, layout)
    length = problem.c // problem.g * problem.r * problem.s + 1
    assert_close(y, activations(case.y, layout), rounding_bound(dtype, length, case.x, case.w))


@pytest.mark.usefixtures("exact_auto")
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_auto_without_bias_with_relu(problem, isa, dtype, layout):
    case = integers(problem)
    x, w = activations(case.x, layout, dtype), weights(case.w, layout, dtype)
    y = fastconv.conv2d(x, w, activation="relu", layout=layout, **problem.conv_kwargs)
    exact = np.maximum(case.y - case.b[:, None, None], 0)
    np.testing.assert_array_equal(y, activations(exact, layout))


@pytest.mark.parametrize("problem", PARALLEL, ids=lambda p: p.name)
def test_out_is_filled_and_returned(problem, isa, threads, algo, dtype, layout):
    case = integers(problem)
    exact = activations(np.maximum(case.y, 0), layout)
    out = np.full(exact.shape, np.nan, dtype)
    assert convolve(problem, case, algo, dtype, layout, activation="relu", out=out) is out
    np.testing.assert_array_equal(out, exact)


@pytest.mark.parametrize(
    "padding",
    ["valid", "same", 0, 2, (1, 3), ((0, 1), (2, 0)), ((3, 0), (0, 5)), [[1, 2], [3, 4]], np.array([1, 2])],
    ids=str,
)
@pytest.mark.parametrize("stride", [1, 2, (3, 2)])
@pytest.mark.parametrize("dilation", [1, (2, 1)])
def test_padding_forms(rng, isa, algo, layout, padding, stride, dilation):
    x, w = rng.integers(-4, 5, (2, 3, 8, 9)), rng.integers(-4, 5, (5, 3, 3, 4))
    options = {"padding": padding, "stride": stride, "dilation": dilation}
    y = fastconv.conv2d(activations(x, layout), weights(w, layout), layout=layout, algo=algo, **options)
    np.testing.assert_array_equal(y, activations(reference.conv2d(x, w, **options), layout))


def test_same_gives_ceil_of_size_over_stride():
    x, w = np.ones((1, 1, 10, 11)), np.ones((1, 1, 2, 3))
    for stride in range(1, 13):
        y = fastconv.conv2d(x, w, stride=stride, padding="same")
        assert y.shape == (1, 1, -(-10 // stride), -(-11 // stride))


def test_defaults_are_those_of_the_contract(rng):
    x, w = rng.integers(-4, 5, (1, 2, 5, 5)).astype(float), rng.integers(-4, 5, (3, 2, 3, 3)).astype(float)
    explicit = fastconv.conv2d(
        x, w, None, stride=1, padding=0, dilation=1, groups=1, layout="NCHW", activation=None, algo="auto", strict=False
    )
    np.testing.assert_array_equal(fastconv.conv2d(x, w), explicit)


@pytest.mark.parametrize("shape", [(0, 3, 8, 9), (0, 3, 3, 3)])
def test_no_images_give_no_results(dtype, layout, shape):
    x, w = activations(np.ones(shape), layout, dtype), weights(np.ones((4, 3, 3, 3)), layout, dtype)
    y = fastconv.conv2d(x, w, layout=layout)
    assert y.shape == activations(np.ones((0, 4, shape[2] - 2, shape[3] - 2)), layout).shape
    assert y.dtype == dtype
    dx, dw, db = fastconv.conv2d_backward(y, x, w, layout=layout)
    assert dx.shape == x.shape
    np.testing.assert_array_equal(dw, np.zeros(w.shape))
    np.testing.assert_array_equal(db, np.zeros(4))


def test_array_likes_are_taken():
    y = fastconv.conv2d([[[[1.0, 2.0], [3.0, 4.0]]]], [[[[1.0, -1.0]]]], (0.5,))
    np.testing.assert_array_equal(y, [[[[-0.5], [-0.5]]]])
    assert y.dtype == np.float64


@pytest.mark.parametrize("x_dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("w_dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("b_dtype", [np.float16, np.float32, np.float64])
def test_mixed_dtypes_promote(rng, x_dtype, w_dtype, b_dtype):
    x, w, b = rng.integers(-4, 5, (2, 3, 5, 6)), rng.integers(-4, 5, (4, 3, 3, 3)), rng.integers(-4, 5, 4)
    y = fastconv.conv2d(x.astype(x_dtype), w.astype(w_dtype), b.astype(b_dtype))
    assert y.dtype == np.result_type(x_dtype, w_dtype, b_dtype)
    np.testing.assert_array_equal(y, reference.conv2d(x, w, b))


def test_float16_is_summed_in_float32(isa, algo):
    """4096 + 1 + ... is lost in float16, whose integers end at 2048, and kept in float32."""
    x = np.ones((1, 65, 1, 1), np.float16)
    x[0, 0] = 4096
    out = np.empty((1, 1, 1, 1), np.float16)
    y = fastconv.conv2d(x, np.ones((1, 65, 1, 1), np.float16), algo=algo, out=out)
    assert y is out
    assert y.item() == 4160


def test_strict_takes_filters_that_tile():
    x = np.ones((1, 1, 7, 7))
    assert fastconv.conv2d(x, np.ones((1, 1, 3, 3)), stride=2, strict=True).shape == (1, 1, 3, 3)
    assert fastconv.conv2d(x, np.ones((1, 1, 3, 3)), stride=3, padding=1, strict=True).shape == (1, 1, 3, 3)
