"""Grouped convolutions of NHWC with few channels a group, which are turned to planes."""

from __future__ import annotations

import numpy as np
import pytest
from cases import activations, weights

import fastconv
from fastconv import reference

# Images, groups, channels and filters of a group, kernel, image, stride, dilation, padding.
PROBLEMS = {
    "multiplier": (2, 37, 1, 2, (3, 3), (9, 10), 1, 1, 1),
    "pixels": (3, 20, 1, 3, (1, 1), (7, 8), 1, 1, 0),
    "few_channels": (2, 33, 4, 4, (3, 3), (14, 13), 1, 1, 1),
    "one_output": (3, 18, 3, 1, (3, 2), (8, 8), 1, 1, 0),
    "strided": (2, 24, 2, 4, (3, 3), (11, 12), 2, 1, 1),
    "gaps": (2, 16, 4, 2, (2, 2), (10, 11), 3, 1, 0),
    "dilated": (1, 16, 2, 2, (3, 3), (12, 9), 1, 2, 2),
    "few_groups": (2, 3, 5, 4, (5, 5), (10, 10), 1, 1, 2),
    "planes_a_page_apart": (1, 16, 4, 4, (3, 3), (32, 32), 1, 1, 1),
    "a_lone_last_group": (1, 33, 4, 4, (3, 3), (3, 3), 1, 1, 0),  # whose kernel is as large as its image
    "a_lone_last_group_strided": (1, 65, 2, 3, (2, 2), (14, 14), 2, 1, 0),
    "one_pixel": (9, 32, 2, 2, (3, 3), (3, 3), 1, 1, 0),
}


@pytest.fixture(params=PROBLEMS)
def problem(request, rng):
    """Whole numbers, so that sums are exact in any order: x, w, dy, options."""
    n, groups, q, m, kernel, image, stride, dilation, padding = PROBLEMS[request.param]
    options = {"stride": stride, "dilation": dilation, "padding": padding, "groups": groups}
    x = rng.integers(-3, 4, (n, groups * q, *image)).astype(np.float64)
    w = rng.integers(-3, 4, (groups * m, q, *kernel)).astype(np.float64)
    dy = rng.integers(-3, 4, reference.conv2d(x, w, **options).shape).astype(np.float64)
    return x, w, dy, options


def compute(operation, x, w, dy, dtype, **options):
    """The result by fastconv, as NCHW and OIHW."""
    options = {"layout": "NHWC", "algo": "direct", **options}
    x, dy, w = activations(x, "NHWC", dtype), activations(dy, "NHWC", dtype), weights(w, "NHWC", dtype)
    if operation == "forward":
        return fastconv.conv2d(x, w, **options).transpose(0, 3, 1, 2)
    if operation == "input":
        return fastconv.conv2d_backward_input(dy, w, x.shape, **options).transpose(0, 3, 1, 2)
    return fastconv.conv2d_backward_weight(dy, x, w.shape, **options).transpose(3, 2, 0, 1)


def exact(operation, x, w, dy, **options):
    if operation == "forward":
        return reference.conv2d(x, w, **options)
    if operation == "input":
        return reference.conv2d_backward_input(dy, w, x.shape, **options)
    return reference.conv2d_backward_weight(dy, x, w.shape, **options)


@pytest.mark.parametrize("operation", ["forward", "input", "weight"])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_are_exact(problem, isa, dtype, operation, threads):
    *arrays, options = problem
    with fastconv.threads(threads):
        got = compute(operation, *arrays, dtype, **options)
    np.testing.assert_array_equal(got, exact(operation, *arrays, **options))


def test_bias_and_relu_held_and_transposed(problem, isa, dtype):
    x, w, dy, options = problem
    b = np.arange(w.shape[0], dtype=np.float64) - 5
    y = np.maximum(exact("forward", x, w, dy, **options) + b[:, None, None], 0)
    options = {**options, "layout": "NHWC", "algo": "direct"}
    layer = fastconv.Conv2d(weights(w, "NHWC", dtype), b.astype(dtype), activation="relu", **options)
    for _ in range(2):
        np.testing.assert_array_equal(layer(activations(x, "NHWC", dtype)).transpose(0, 3, 1, 2), y)
    b = np.arange(x.shape[1], dtype=np.float64)
    up = fastconv.conv_transpose2d(
        activations(dy, "NHWC", dtype), weights(w, "NHWC", dtype), b.astype(dtype), **options
    ).transpose(0, 3, 1, 2)
    whole = exact("input", x[:, :, : up.shape[2], : up.shape[3]], w, dy, **problem[-1])
    np.testing.assert_array_equal(up, whole + b[:, None, None])


@pytest.mark.parametrize("operation", ["forward", "input", "weight"])
@pytest.mark.parametrize("where", ["x", "w", "dy"])
def test_what_is_not_finite_reaches_what_the_formula_has(rng, isa, dtype, operation, where):
    arrays = {
        "x": rng.integers(-3, 4, (2, 64, 9, 9)).astype(np.float64),
        "w": rng.integers(-3, 4, (64, 4, 3, 3)).astype(np.float64),
        "dy": rng.integers(-3, 4, (2, 64, 9, 9)).astype(np.float64),
    }
    arrays[where][1, 3, 2, 1] = np.inf
    options = {"padding": 1, "groups": 16}
    with np.errstate(invalid="ignore"):
        expected = exact(operation, *arrays.values(), **options)
        got = compute(operation, *arrays.values(), dtype, **options)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)])
def test_a_gradient_that_is_the_same_everywhere(rng, isa, dtype, axes):
    dy = rng.integers(-3, 4, [1 if axis in axes else size for axis, size in enumerate((3, 8, 9, 64))]).astype(dtype)
    dy = np.broadcast_to(dy, (3, 8, 9, 64))
    x = rng.integers(-3, 4, (3, 8, 9, 64)).astype(dtype)
    w = rng.integers(-3, 4, (3, 3, 4, 64)).astype(dtype)
    options = {"padding": 1, "groups": 16}
    planes = [np.ascontiguousarray(a.transpose(0, 3, 1, 2)) for a in (x, dy)]
    dx = fastconv.conv2d_backward_input(dy, w, x.shape, layout="NHWC", algo="direct", **options)
    dw = fastconv.conv2d_backward_weight(dy, x, w.shape, layout="NHWC", algo="direct", **options)
    turned = w.transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(
        dx.transpose(0, 3, 1, 2), reference.conv2d_backward_input(planes[1], turned, planes[0].shape, **options)
    )
    np.testing.assert_array_equal(
        dw.transpose(3, 2, 0, 1), reference.conv2d_backward_weight(planes[1], planes[0], turned.shape, **options)
    )


@pytest.mark.parametrize("view", ["backwards", "wider rows", "some channels"])
def test_views(rng, isa, dtype, view):
    whole = rng.integers(-3, 4, (2, 9, 12, 96)).astype(dtype)
    x = {"backwards": whole[::-1, ::-1, ::-1], "wider rows": whole[:, :, 2:10], "some channels": whole[..., 16:80]}[
        view
    ]
    groups = x.shape[3] // 4
    w = rng.integers(-3, 4, (3, 3, 4, groups * 4)).astype(dtype)
    dense = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    y = reference.conv2d(dense, w.transpose(3, 2, 0, 1), padding=1, groups=groups)
    got = fastconv.conv2d(x, w, padding=1, groups=groups, layout="NHWC", algo="direct")
    np.testing.assert_array_equal(got.transpose(0, 3, 1, 2), y)
    dw = reference.conv2d_backward_weight(y, dense, (groups * 4, 4, 3, 3), padding=1, groups=groups)
    got = fastconv.conv2d_backward_weight(
        activations(y, "NHWC", dtype), x, w.shape, padding=1, groups=groups, layout="NHWC", algo="direct"
    )
    np.testing.assert_allclose(got.transpose(3, 2, 0, 1), dw, rtol=0, atol=np.abs(dw).max() * np.finfo(dtype).eps * 16)
