"""The reference by cases worked by hand, by its definition in seven loops, and its gradients by finite differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from gradients import numerical_gradient

from fastconv import reference

IMAGE = np.arange(16.0).reshape(1, 1, 4, 4)
GEOMETRIES = [
    {},
    {"stride": 2},
    {"padding": 1},
    {"padding": ((2, 0), (1, 3))},
    {"padding": "same"},
    {"padding": "same", "stride": (2, 3)},
    {"dilation": 2, "padding": 1},
    {"stride": (3, 1), "dilation": (1, 2), "padding": (0, 2)},
    {"groups": 2, "stride": 2, "padding": 1},
    {"groups": 4, "dilation": (2, 1)},
]


def operands(rng, groups):
    """A 2 x 4 x 6 x 7 batch and eight filters of 3 x 2."""
    return rng.standard_normal((2, 4, 6, 7)), rng.standard_normal((8, 4 // groups, 3, 2)), rng.standard_normal(8)


def test_sums_of_three_by_three():
    y = reference.conv2d(IMAGE, np.ones((1, 1, 3, 3)))
    np.testing.assert_array_equal(y, [[[[45, 54], [81, 90]]]])


def test_padding_counts_what_a_window_covers():
    y = reference.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), padding=1)
    np.testing.assert_array_equal(y, [[[[4, 6, 4], [6, 9, 6], [4, 6, 4]]]])


def test_same_puts_the_odd_pixel_at_the_bottom_and_right():
    y = reference.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)), padding="same")
    np.testing.assert_array_equal(y, [[[[4, 4, 2], [4, 4, 2], [2, 2, 1]]]])


def test_filters_are_not_flipped():
    y = reference.conv2d([[[[1.0, 2.0, 3.0]]]], [[[[1.0, 10.0]]]])
    np.testing.assert_array_equal(y, [[[[21, 32]]]])


def test_stride_dilation_bias_and_relu():
    w = np.array([[[[-1.0, 0.0], [0.0, 1.0]]]])
    np.testing.assert_array_equal(reference.conv2d(IMAGE, w, stride=2), [[[[5, 5], [5, 5]]]])
    np.testing.assert_array_equal(reference.conv2d(IMAGE, w, dilation=3), [[[[15]]]])
    y = reference.conv2d(IMAGE, IMAGE[:, :, :1, :1] - 1, np.array([7.5]), activation="relu")
    np.testing.assert_array_equal(y[0, 0, :2], [[7.5, 6.5, 5.5, 4.5], [3.5, 2.5, 1.5, 0.5]])
    np.testing.assert_array_equal(y[0, 0, 2:], np.zeros((2, 4)))


def test_groups_keep_to_themselves():
    x = np.array([1.0, 10.0, 100.0, 1000.0]).reshape(1, 4, 1, 1)
    y = reference.conv2d(x, np.ones((2, 2, 1, 1)), groups=2)
    np.testing.assert_array_equal(y.ravel(), [11, 1100])


@pytest.mark.parametrize(
    ("x", "w", "options", "expected"),
    [
        ((1, 3, 32, 32), (10, 3, 5, 5), {"padding": 2}, (1, 10, 32, 32)),
        ((1, 3, 227, 227), (96, 3, 11, 11), {"stride": 4}, (1, 96, 55, 55)),
        ((1, 1, 7, 7), (1, 1, 3, 3), {}, (1, 1, 5, 5)),
        ((1, 1, 7, 7), (1, 1, 3, 3), {"stride": 2}, (1, 1, 3, 3)),
        ((1, 1, 7, 7), (1, 1, 3, 3), {"stride": 3}, (1, 1, 2, 2)),
    ],
)
def test_shapes_of_the_lecture(x, w, options, expected):
    assert reference.conv2d(np.zeros(x), np.zeros(w), **options).shape == expected


def test_transposed_convolution_spreads_its_input():
    x, w = np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), np.ones((1, 1, 2, 2))
    y = reference.conv_transpose2d(x, w, np.array([0.5]))
    np.testing.assert_array_equal(y, [[[[1.5, 3.5, 2.5], [4.5, 10.5, 6.5], [3.5, 7.5, 4.5]]]])
    y = reference.conv_transpose2d(x, w, stride=2, padding=((1, 0), (0, 1)), output_padding=1)
    np.testing.assert_array_equal(y, [[[[1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4], [0, 0, 0, 0]]]])
    y = reference.conv_transpose2d(x, np.ones((1, 1, 3, 3)), stride=2, padding="same")
    np.testing.assert_array_equal(y, [[[[1, 1, 3, 2], [1, 1, 3, 2], [4, 4, 10, 6], [3, 3, 7, 4]]]])


def seven_loops(x, w, stride, padding, dilation, groups):
    """The definition, one multiplication at a time."""
    (n, _, h, wd), (k, per_group, kh, kw) = x.shape, w.shape
    oh = (h + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (wd + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, k, oh, ow))
    for image, filter_, row, column in np.ndindex(y.shape):
        for channel, i, j in itertools.product(range(per_group), range(kh), range(kw)):
            r = row * stride[0] - padding[0] + i * dilation[0]
            s = column * stride[1] - padding[1] + j * dilation[1]
            if 0 <= r < h and 0 <= s < wd:
                first = filter_ // (k // groups) * per_group
                y[image, filter_, row, column] += x[image, first + channel, r, s] * w[filter_, channel, i, j]
    return y


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 2)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_conv2d_is_its_definition(rng, stride, padding, dilation, groups):
    x, w, _ = operands(rng, groups)
    y = reference.conv2d(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)
    np.testing.assert_allclose(y, seven_loops(x, w, stride, padding, dilation, groups), atol=1e-12)


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_gradients_by_finite_differences(rng, options):
    x, w, b = operands(rng, options.get("groups", 1))
    dy = rng.standard_normal(reference.conv2d(x, w, b, **options).shape)
    dx, dw, db = reference.conv2d_backward(dy, x, w, **options)
    # The operator is linear in each operand: a difference of any step is its slope.
    conv = reference.conv2d
    np.testing.assert_allclose(dx, numerical_gradient(lambda x: conv(x, w, b, **options), x, dy, 1.0), atol=1e-10)
    np.testing.assert_allclose(dw, numerical_gradient(lambda w: conv(x, w, b, **options), w, dy, 1.0), atol=1e-10)
    np.testing.assert_allclose(db, numerical_gradient(lambda b: conv(x, w, b, **options), b, dy, 1.0), atol=1e-10)


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_gradients_are_adjoint(rng, options):
    x, w, _ = operands(rng, options.get("groups", 1))
    y = reference.conv2d(x, w, **options)
    dy = rng.standard_normal(y.shape)
    dx, dw, _ = reference.conv2d_backward(dy, x, w, **options)
    assert np.vdot(dy, y) == pytest.approx(np.vdot(dx, x)) == pytest.approx(np.vdot(dw, w))


@pytest.mark.parametrize("options", [o for o in GEOMETRIES if o.get("padding") != "same"], ids=str)
def test_transposed_convolution_is_the_adjoint(rng, options):
    x, w, _ = operands(rng, options.get("groups", 1))
    y = reference.conv2d(x, w, **options)
    dy = rng.standard_normal(y.shape)
    rest = np.subtract(x.shape, reference.conv_transpose2d(dy, w, **options).shape)[2:]
    back = reference.conv_transpose2d(dy, w, output_padding=rest, **options)
    assert np.vdot(dy, y) == pytest.approx(np.vdot(back, x))


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_nhwc_is_nchw_transposed(rng, options):
    x, w, b = operands(rng, options.get("groups", 1))
    last, hwio = (0, 2, 3, 1), (2, 3, 1, 0)
    y = reference.conv2d(x, w, b, **options)
    dx, dw, _ = reference.conv2d_backward(y, x, w, **options)
    options = {**options, "layout": "NHWC"}
    x, w = x.transpose(last), w.transpose(hwio)
    np.testing.assert_array_equal(reference.conv2d(x, w, b, **options), y.transpose(last))
    dx_last, dw_last, _ = reference.conv2d_backward(y.transpose(last), x, w, **options)
    np.testing.assert_array_equal(dx_last, dx.transpose(last))
    np.testing.assert_array_equal(dw_last, dw.transpose(hwio))


def test_a_line_is_an_image_of_one_row(rng):
    x, w, b = rng.standard_normal((2, 4, 11)), rng.standard_normal((6, 2, 3)), rng.standard_normal(6)
    line = {"stride": 2, "padding": ((1, 2),), "dilation": 2, "groups": 2}
    plane = {"stride": (1, 2), "padding": ((0, 0), (1, 2)), "dilation": (1, 2), "groups": 2}
    y = reference.conv1d(x, w, b, **line)
    np.testing.assert_array_equal(y, reference.conv2d(x[:, :, None], w[:, :, None], b, **plane)[:, :, 0])
    dx, dw, db = reference.conv1d_backward(y, x, w, **line)
    np.testing.assert_array_equal(reference.conv1d_backward_input(y, w, x.shape, **line), dx)
    np.testing.assert_array_equal(reference.conv1d_backward_weight(y, x, w.shape, **line), dw)
    swapped = reference.conv1d(x.swapaxes(1, 2), w.T, b, layout="NLC", **line)
    np.testing.assert_array_equal(swapped, y.swapaxes(1, 2))
    dx_last, dw_last, db_last = reference.conv1d_backward(swapped, x.swapaxes(1, 2), w.T, layout="NLC", **line)
    np.testing.assert_array_equal(dx_last, dx.swapaxes(1, 2))
    np.testing.assert_array_equal(dw_last, dw.T)
    np.testing.assert_array_equal(db_last, db)
