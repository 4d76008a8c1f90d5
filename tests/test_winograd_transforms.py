"""Winograd's transforms: a proof in rationals, the kernels against it, and the rounding of float32."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from variants import FAST, WINOGRAD, backward_input, backward_weight, forward

import fastconv
from fastconv import reference


def pairs(*points):
    return [sign * Fraction(point) for point in points for sign in (1, -1)]


FIVE = [Fraction(0), *pairs("5/8", "3/2")]
SEVEN = [Fraction(0), *pairs("1/2", "1", "2")]
POINTS = {
    "F(2x2,3x3)": [Fraction(0), *pairs("1")],
    "F(4x4,3x3)": FIVE,
    "F(6x6,3x3)": SEVEN,
    "F(2x2,5x5)": FIVE,
    "F(3x3,5x5)": pairs("5/16", "7/8", "7/4"),
    "F(4x4,5x5)": SEVEN,
}


@pytest.fixture(params=WINOGRAD)
def variant(request):
    return request.param


def product_of_roots(roots):
    """Coefficients of the product of (x - root), the constant first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [high - root * low for high, low in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


def cook_toom(points, outputs, taps):
    """Build A^T, G and B^T of F(outputs, taps) from its finite points, infinity added.

    Polynomials are multiplied by evaluating, multiplying point by point and interpolating (Lagrange); the transpose
    of that algorithm is a correlation (Winograd, "Arithmetic Complexity of Computations", 1980).
    """
    a_t = [[point**i for point in points] + [Fraction(i == outputs - 1)] for i in range(outputs)]
    g, b_t = [], []
    for k, point in enumerate(points):
        others = points[:k] + points[k + 1 :]
        distance = Fraction(1)
        for other in others:
            distance *= point - other
        g.append([point**j / distance for j in range(taps)])
        b_t.append([*product_of_roots(others), Fraction(0)])
    g.append([Fraction(j == taps - 1) for j in range(taps)])
    b_t.append(product_of_roots(points))
    return a_t, g, b_t


def of_edge(points, outputs, taps):
    """A^T, G and B^T of a smaller tile, which takes the first points: G has the rows of all points' G."""
    left_out = points[outputs + taps - 2 :]
    a_t, g, b_t = cook_toom(points[: outputs + taps - 2], outputs, taps)
    for k, point in enumerate(points[: outputs + taps - 2]):
        distance = Fraction(1)
        for other in left_out:
            distance *= point - other
        g[k] = [value / distance for value in g[k]]
        b_t[k] = [value * distance for value in b_t[k]]
    return a_t, g, b_t


SIZES = [(title, m) for title, (most, _) in WINOGRAD.items() for m in range(1, most + 1)]


@pytest.fixture(params=SIZES, ids="{0[0]} {0[1]}".format)
def transforms(request):
    """Those of a whole tile, or one at an edge, with its outputs and the taps."""
    title, outputs = request.param
    taps = WINOGRAD[title][1]
    return of_edge(POINTS[title], outputs, taps), outputs, taps


def test_the_bilinear_identity_is_exact(transforms):
    """Both sides are linear in filter and data: equal on all pairs of basis vectors, they are equal."""
    (a_t, g, b_t), m, taps = transforms
    for tap in range(taps):
        for pixel in range(m + taps - 1):
            products = [g[k][tap] * b_t[k][pixel] for k in range(len(g))]
            outputs = [sum(a * p for a, p in zip(row, products, strict=True)) for row in a_t]
            assert outputs == [i + tap == pixel for i in range(m)]


@pytest.mark.parametrize(("title", "outputs"), SIZES)
def test_edges_share_the_filter_of_whole_tiles(title, outputs):
    """Their rows of G are rows of the variant's, so that filters are transformed once."""
    m, taps = WINOGRAD[title]
    _, g, _ = of_edge(POINTS[title], outputs, taps)
    _, whole, _ = cook_toom(POINTS[title], m, taps)
    assert g == [*whole[: len(g) - 1], whole[-1]]


def test_every_constant_of_the_image_and_output_is_a_float32(transforms):
    """They come with no rounding of their own; those of the filter are quotients."""
    (a_t, _, b_t), _, _ = transforms
    for row in (*a_t, *b_t):
        for constant in row:
            assert Fraction(float(np.float32(float(constant)))) == constant


def impulses(height, width):
    """Images with a single one, at each pixel in turn."""
    return np.eye(height * width).reshape(height * width, 1, height, width)


@pytest.mark.parametrize(
    ("tiles", "left"),
    [((2, 17), (0, 0)), *[((1, int(j == 0)), (i, j)) for i in range(4) for j in range(4)]],
    ids=str,
)
def test_the_kernels_compute_it(isa, variant, tiles, left):
    """Every unit image with every unit filter, over whole tiles, of rows past a vector, and what is left of them."""
    m, taps = WINOGRAD[variant]
    sides = [m * count + more for count, more in zip(tiles, left, strict=True)]
    x, w = impulses(*(side + taps - 1 for side in sides)), impulses(taps, taps)
    y = forward(x, w, algo=variant)
    np.testing.assert_allclose(y, reference.conv2d(x, w), rtol=0, atol=1e-13)
    dy, back = impulses(*y.shape[2:]), w.reshape(1, taps**2, taps, taps)
    dx = backward_input(dy, back, (len(dy), taps**2, *x.shape[2:]), algo=variant)
    exact = reference.conv2d_backward_input(dy, back, dx.shape)
    np.testing.assert_allclose(dx, exact, rtol=0, atol=1e-13)
    if tiles == (2, 17):
        return
    # One of each a channel.
    x, dy = x.swapaxes(0, 1), dy.swapaxes(0, 1)
    dw = backward_weight(dy, x, (dy.shape[1], x.shape[1], taps, taps), algo=variant)
    exact = reference.conv2d_backward_weight(dy, x, dw.shape)
    np.testing.assert_allclose(dw, exact, rtol=0, atol=1e-13)


def errors(y, exact):
    """RMS and largest error, relative to the RMS of the exact result."""
    error, scale = np.abs(y - exact), np.sqrt(np.mean(exact**2))
    return np.sqrt(np.mean(error**2)) / scale, error.max() / scale


DATA = {
    "normal": lambda rng, shape: rng.standard_normal(shape, np.float32),
    "after_relu": lambda rng, shape: np.maximum(rng.standard_normal(shape, np.float32), 0),
}


@pytest.fixture(params=[(16, 2, 40), (64, 2, 27), (256, 1, 18), (512, 1, 13), (1024, 1, 8)], ids="{0[0]}c".format)
def depth(request):
    """Channels that are summed over, images and their size."""
    return request.param


@pytest.fixture(params=DATA)
def sums(request, rng, depth):
    """A forward pass and an input gradient of `depth` channels with filters of a side, each with its exact result."""
    channels, n, size = depth

    def of_side(side):
        x = DATA[request.param](rng, (n, channels, size, size))
        w = rng.standard_normal((24, channels, side, side), np.float32)
        back = np.ascontiguousarray(w.transpose(1, 0, 2, 3))
        shape = (n, 24, size, size)
        exact = reference.conv2d(x.astype(float), w.astype(float), padding="same")
        exact_back = reference.conv2d_backward_input(x.astype(float), back.astype(float), shape, padding="same")
        return (forward, (x, w), exact), (backward_input, (x, back, shape), exact_back)

    return of_side


def test_float32_is_within_the_documented_error(isa, variant, sums, depth):
    rms_bound, worst_bound = (5.7e-6, 8e-5) if variant in FAST else (1.5e-6, 1.2e-5)
    for operator, operands, exact in sums(WINOGRAD[variant][1]):
        if variant == "F(3x3,5x5)" and depth[0] > 256:
            with pytest.raises(ValueError, match="256 channels"):
                operator(*operands, padding="same", algo=variant)
            continue
        rms, worst = errors(operator(*operands, padding="same", algo=variant), exact)
        assert rms <= rms_bound
        assert worst <= worst_bound


@pytest.mark.parametrize("variant", [title for title in WINOGRAD if title not in FAST])
@pytest.mark.parametrize(
    ("images", "channels", "filters", "size", "bounds"),
    [(8, 48, 40, 56, (3e-6, 3e-5)), (1, 64, 16, 28, (1.5e-6, 1.2e-5))],
    ids=["25,088 terms", "784 terms"],
)
def test_float32_weight_gradients_are_within_the_documented_error(
    isa, rng, variant, images, channels, filters, size, bounds
):
    """RMS and largest error, in the RMS of the gradient; few terms, of tiles that threads do not share, less."""
    x, dy = (rng.standard_normal((images, count, size, size), np.float32) for count in (channels, filters))
    shape = (filters, channels, *2 * WINOGRAD[variant][1:])
    exact = reference.conv2d_backward_weight(dy.astype(float), x.astype(float), shape, padding="same")
    rms, worst = errors(backward_weight(dy, x, exact.shape, padding="same", algo=variant), exact)
    assert rms <= bounds[0]
    assert worst <= bounds[1]


def test_long_sums_of_a_weight_gradient_are_other_variants():
    x, dy = np.zeros((2, 1, 275, 276), np.float32), np.zeros((2, 1, 271, 272), np.float32)
    backward_weight(dy[:1], x[:1], (1, 1, 5, 5), algo="F(3x3,5x5)")  # 91 x 91 tiles
    with pytest.raises(ValueError, match="16,384 tiles"):
        backward_weight(dy, x, (1, 1, 5, 5), algo="F(3x3,5x5)")


@pytest.mark.parametrize(("channels", "kernel", "stride"), [(3, 11, 4), (96, 5, 2), (64, (4, 5), 2)], ids=str)
@pytest.mark.parametrize("data", DATA)
def test_phases_are_within_the_documented_error(isa, rng, channels, kernel, stride, data):
    x = DATA[data](rng, (2, channels, 60, 60))
    w = rng.standard_normal((40, channels, *np.broadcast_to(kernel, 2)), np.float32)
    exact = reference.conv2d(x.astype(float), w.astype(float), stride=stride, padding=1)
    rms, worst = errors(forward(x, w, stride=stride, padding=1, algo="F(4x4,3x3)"), exact)
    assert rms <= 1.5e-6
    assert worst <= 1.2e-5
    dw = reference.conv2d_backward_weight(exact, x.astype(float), w.shape, stride=stride, padding=1)
    dy = exact.astype(np.float32)
    rms, worst = errors(backward_weight(dy, x, w.shape, stride=stride, padding=1, algo="F(4x4,3x3)"), dw)
    assert rms <= 3e-6
    assert worst <= 3e-5


def test_plain_sums_round_less(isa, algo, sums):
    for operator, operands, exact in sums(3):
        rms, _ = errors(operator(*operands, padding=1, algo=algo), exact)
        assert rms <= 5e-7


def assert_bounded(x, w, exact):
    for record in fastconv.algorithms(x.shape, w.shape, padding=1, dtype=x.dtype):
        algo = record.variant if record.name == "winograd" else record.name
        assert errors(forward(x, w, padding=1, algo=algo), exact)[0] <= record.error_bound, record


def test_records_bound_the_error_of_float32(isa, rng, depth):
    """Enough outputs that their RMS is not chance."""
    x = rng.standard_normal((1, depth[0], 20, 20), np.float32)
    w = rng.standard_normal((16, depth[0], 3, 3), np.float32)
    assert_bounded(x, w, reference.conv2d(x.astype(float), w.astype(float), padding=1))


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= np.finfo(float).nmant, reason="no extended precision")
def test_records_bound_the_error_of_float64(isa, rng):
    x, w = rng.standard_normal((1, 64, 20, 20)), rng.standard_normal((4, 64, 3, 3))
    padded = np.pad(x.astype(np.longdouble), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    assert_bounded(x, w, np.einsum("nchwrs,kcrs->nkhw", windows, w.astype(np.longdouble)))
