"""Rows of an image no wider than two vectors, which a kernel of their own copies for direct convolution."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import reference

OPERATIONS = {
    "forward": lambda library, x, w, dy, **kwargs: library.conv2d(x, w, **kwargs),
    "input": lambda library, x, w, dy, **kwargs: library.conv2d_backward_input(dy, w, x.shape, **kwargs),
    "weight": lambda library, x, w, dy, **kwargs: library.conv2d_backward_weight(dy, x, w.shape, **kwargs),
}
# A kernel, and strides and padding: rows of the block are one to four vectors, or more than the kernel takes.
WINDOWS = [
    ((3, 3), 1, 1),
    ((3, 3), 2, 1),
    ((2, 1), (3, 1), 0),
    ((5, 4), (1, 3), 2),
    ((1, 5), (2, 4), 6),
    ((3, 7), 7, 3),
]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("width", [1, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33])
def test_widths_around_whole_vectors(rng, isa, dtype, width, window, operation):
    kernel, stride, padding = window
    if kernel[1] > width + 2 * padding:
        pytest.skip("no output")
    x = rng.integers(-3, 4, (2, 5, 6, width)).astype(dtype)
    w = rng.integers(-3, 4, (4, 5, *kernel)).astype(dtype)
    options = {"stride": stride, "padding": padding}
    dy = rng.integers(-3, 4, reference.conv2d(x, w, **options).shape).astype(dtype)
    call = OPERATIONS[operation]
    np.testing.assert_array_equal(
        call(fastconv, x, w, dy, algo="direct", **options), call(reference, x, w, dy, **options)
    )


@pytest.mark.parametrize("view", ["every second row", "backwards", "wider rows"])
def test_views(rng, isa, dtype, view):
    whole = rng.integers(-3, 4, (2, 10, 12, 17)).astype(dtype)
    x = {"every second row": whole[:, :, ::2], "backwards": whole[::-1, ::-1, ::-1], "wider rows": whole[..., 3:12]}[
        view
    ]
    w = rng.integers(-3, 4, (4, 10, 3, 3)).astype(dtype)
    np.testing.assert_array_equal(
        fastconv.conv2d(x, w, stride=2, padding=1, algo="direct"), reference.conv2d(x, w, stride=2, padding=1)
    )


def test_elements_beside_a_row_are_not_seen(rng, isa, dtype):
    """Its padding is zero even where what lies beside it in memory is not finite."""
    whole = np.full((2, 10, 12, 17), np.nan, dtype)
    whole[..., 3:12] = rng.integers(-3, 4, (2, 10, 12, 9))
    x = whole[..., 3:12]
    w = rng.integers(-3, 4, (4, 10, 3, 3)).astype(dtype)
    np.testing.assert_array_equal(
        fastconv.conv2d(x, w, stride=2, padding=1, algo="direct"), reference.conv2d(x, w, stride=2, padding=1)
    )
