"""Input gradients as a product of all taps, and sums of what reaches a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from cases import activations, weights

import fastconv
from fastconv import reference

# Images, groups, channels and filters of a group, kernel, plane of dy, stride, dilation, padding.
PROBLEMS = {
    "seven_over_four": (3, 1, 5, 40, (7, 7), (4, 4), 1, 1, 0),
    "wide_rows": (2, 1, 3, 50, (5, 3), (2, 37), 1, 1, 0),  # rows of several vectors
    "many_channels": (2, 1, 37, 64, (3, 3), (3, 3), 1, 1, 0),
    "groups": (4, 3, 4, 33, (5, 5), (4, 3), 1, 1, 0),
    "padded": (3, 1, 6, 70, (7, 7), (3, 4), 1, 1, 1),
    "phases": (3, 1, 5, 60, (7, 6), (3, 4), 2, 1, 1),
    "phase_without_taps": (2, 1, 4, 90, (2, 5), (2, 2), 3, 1, 0),
    "dilated": (3, 1, 7, 48, (4, 3), (3, 2), 1, 2, 0),
    "one_row": (5, 2, 3, 80, (1, 9), (1, 5), 1, 1, 0),
    "one_pixel_strided": (2, 1, 6, 130, (4, 4), (1, 1), 2, 1, 1),
    "first_layer": (2, 1, 3, 40, (11, 11), (13, 12), 4, 1, 2),
    "first_layer_dilated": (1, 1, 1, 30, (5, 5), (11, 23), 1, 2, 3),
    "steps_as_wide_as_kernels": (2, 1, 30, 70, (3, 3), (5, 4), 3, 1, 1),  # a tap a phase
    "gaps_between_kernels": (3, 2, 17, 40, (2, 3), (4, 5), 4, 1, 0),
    "a_pixel_an_image": (9, 1, 40, 64, (3, 3), (1, 1), 3, 1, 1),
    "strided_many_channels": (2, 1, 40, 90, (3, 5), (7, 6), 2, 1, 1),
    "planes_a_page_apart": (2, 1, 20, 24, (4, 4), (7, 7), 5, 1, 1),  # 32 x 32 of four bytes
    "kernel_of_the_whole_image": (3, 1, 5, 90, (4, 4), (1, 1), 4, 1, 0),
    "blocks_of_images": (190, 1, 8, 72, (7, 7), (4, 4), 1, 1, 0),
    # Work for several threads: parts of the channels, of odd sizes, of groups, with more columns than an L2 has.
    "parts_of_channels": (2, 1, 11, 60, (5, 5), (12, 13), 2, 1, 2),
    "parts_of_groups": (3, 3, 4, 20, (7, 7), (9, 10), 2, 1, 3),
    "parts_in_cache": (1, 1, 12, 24, (7, 7), (31, 30), 1, 1, 3),
}


@pytest.fixture(params=PROBLEMS)
def problem(request, rng):
    """Whole numbers, so that sums are exact in any order: dy, w, the shape of x, options."""
    n, groups, c, k, kernel, plane, stride, dilation, padding = PROBLEMS[request.param]
    spans = [(o - 1) * stride + (r - 1) * dilation + 1 - 2 * padding for o, r in zip(plane, kernel, strict=True)]
    dy = rng.integers(-3, 4, (n, groups * k, *plane)).astype(np.float64)
    w = rng.integers(-3, 4, (groups * k, c, *kernel)).astype(np.float64)
    options = {"stride": stride, "dilation": dilation, "padding": padding, "groups": groups}
    return dy, w, (n, groups * c, *spans), options


def gradient(dy, w, shape, layout, dtype, algo="im2col", **options):
    """The gradient by fastconv, as NCHW."""
    dx = fastconv.conv2d_backward_input(
        activations(dy, layout, dtype),
        weights(w, layout, dtype),
        shape if layout == "NCHW" else tuple(shape[i] for i in (0, 2, 3, 1)),
        layout=layout,
        algo=algo,
        **options,
    )
    return dx if layout == "NCHW" else dx.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("algo", ["im2col", "direct"])
def test_gradients_are_exact(problem, isa, dtype, layout, algo):
    dy, w, shape, options = problem
    exact = reference.conv2d_backward_input(dy, w, shape, **options)
    np.testing.assert_array_equal(gradient(dy, w, shape, layout, dtype, algo, **options), exact)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_with_a_bias_on_any_number_of_threads(problem, dtype, layout, threads):
    """The transpose, whose bias is of what the gradient's channels are."""
    dy, w, shape, options = problem
    b = np.arange(shape[1], dtype=np.float64)
    exact = reference.conv2d_backward_input(dy, w, shape, **options) + b[:, None, None]
    dy, w, b = activations(dy, layout, dtype), weights(w, layout, dtype), b.astype(dtype)
    with fastconv.threads(threads):
        y = fastconv.conv_transpose2d(dy, w, b, layout=layout, algo="im2col", **options)
    np.testing.assert_array_equal(y if layout == "NCHW" else y.transpose(0, 3, 1, 2), exact)


@pytest.mark.parametrize("view", ["repeated", "backwards", "every second"])
def test_views_of_dy(rng, isa, dtype, layout, view):
    w = rng.integers(-3, 4, (40, 5, 7, 7)).astype(dtype)
    dy = rng.integers(-3, 4, (3, 80, 8, 4)).astype(dtype)
    dy = {
        "repeated": np.broadcast_to(dy[:1, :1, :4, :1], (3, 40, 4, 4)),
        "backwards": dy[::-1, 39::-1, 3::-1, ::-1],
        "every second": dy[:, ::2, ::2],
    }[view]
    exact = reference.conv2d_backward_input(dy, w, (3, 5, 10, 10))
    if layout == "NHWC":
        got = fastconv.conv2d_backward_input(
            dy.transpose(0, 2, 3, 1), weights(w, layout), (3, 10, 10, 5), layout=layout, algo="im2col"
        ).transpose(0, 3, 1, 2)
    else:
        got = fastconv.conv2d_backward_input(dy, w, (3, 5, 10, 10), algo="im2col")
    np.testing.assert_array_equal(got, exact)


def test_what_is_not_finite_reaches_what_its_taps_reach(rng, isa, dtype, layout):
    w = rng.integers(-3, 4, (40, 5, 7, 7)).astype(np.float64)
    dy = rng.integers(-3, 4, (2, 40, 4, 4)).astype(np.float64)
    dy[1, 3, 2, 1] = np.nan
    w[7, 2, 6, 6] = np.inf
    with np.errstate(invalid="ignore"):
        exact = reference.conv2d_backward_input(dy, w, (2, 5, 10, 10))
    np.testing.assert_array_equal(gradient(dy, w, (2, 5, 10, 10), layout, dtype), exact)
