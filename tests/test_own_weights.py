"""Who packs weights that tasks share: all threads, each for itself, or each some panels that it takes to all images."""

from __future__ import annotations

import numpy as np
import pytest
from cases import activations, weights

import fastconv
from fastconv import reference

# Images, groups, channels and filters of a group, kernel, plane, stride, padding. All take more than a thread's 10 us.
PROBLEMS = {
    "own": (4, 1, 60, 30, 3, 6, 1, 0),
    "own_of_few_channels": (2, 1, 5, 60, 5, 20, 1, 2),
    "own_of_groups": (5, 3, 20, 33, 3, 7, 1, 1),
    "own_of_long_reductions": (3, 1, 300, 40, 3, 7, 2, 1),  # several depth blocks
    "shared": (3, 1, 320, 200, 3, 6, 1, 1),
    "apart": (6, 1, 280, 130, 5, 5, 1, 0),
    "apart_of_groups": (3, 2, 160, 136, 4, 5, 2, 1),
}


@pytest.fixture(params=PROBLEMS)
def problem(request, rng):
    """Whole numbers, so that sums are exact in any order: x, w, b and options."""
    n, groups, c, k, kernel, plane, stride, padding = PROBLEMS[request.param]
    x = rng.integers(-3, 4, (n, groups * c, plane, plane)).astype(np.float64)
    w = rng.integers(-3, 4, (groups * k, c, kernel, kernel)).astype(np.float64)
    b = rng.integers(-3, 4, groups * k).astype(np.float64)
    return x, w, b, {"stride": stride, "padding": padding, "groups": groups}


@pytest.mark.parametrize("algo", ["direct", "im2col"])
def test_forward(problem, isa, dtype, layout, algo):
    x, w, b, options = problem
    exact = reference.conv2d(x, w, b, **options)
    x, w, b = activations(x, layout, dtype), weights(w, layout, dtype), b.astype(dtype)
    for threads in (1, 2, 3):
        with fastconv.threads(threads):
            y = fastconv.conv2d(x, w, b, layout=layout, algo=algo, **options)
        np.testing.assert_array_equal(y if layout == "NCHW" else y.transpose(0, 3, 1, 2), exact)


@pytest.mark.parametrize("algo", ["direct", "im2col"])
def test_input_gradient(problem, isa, dtype, layout, algo):
    x, w, _, options = problem
    dy = reference.conv2d(x, w, **options) % 5 - 2
    exact = reference.conv2d_backward_input(dy, w, x.shape, **options)
    shape = x.shape if layout == "NCHW" else tuple(x.shape[i] for i in (0, 2, 3, 1))
    dy, w = activations(dy, layout, dtype), weights(w, layout, dtype)
    for threads in (1, 2, 3):
        with fastconv.threads(threads):
            dx = fastconv.conv2d_backward_input(dy, w, shape, layout=layout, algo=algo, **options)
        np.testing.assert_array_equal(dx if layout == "NCHW" else dx.transpose(0, 3, 1, 2), exact)


def test_bits_do_not_depend_on_threads(rng, isa, dtype, layout):
    for n, groups, c, k, kernel, plane, stride, padding in PROBLEMS.values():
        x = activations(rng.standard_normal((n, groups * c, plane, plane)), layout, dtype)
        w = weights(rng.standard_normal((groups * k, c, kernel, kernel)), layout, dtype)
        for algo in ("direct", "im2col"):
            outputs = []
            for threads in (1, 2, 5):
                with fastconv.threads(threads):
                    outputs.append(
                        fastconv.conv2d(
                            x, w, layout=layout, algo=algo, stride=stride, padding=padding, groups=groups
                        ).tobytes()
                    )
            assert outputs[0] == outputs[1] == outputs[2]
