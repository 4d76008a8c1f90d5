"""algorithms(): records of what can serve a problem, and that what it lists is what computes."""

from __future__ import annotations

import numpy as np
import pytest
from cases import PROBLEMS
from machine import ALGORITHMS
from variants import FAST, WINOGRAD, fits_squares, forward

import fastconv

OPERATIONS = ("forward", "backward_input", "backward_weight")


def listed(problem, **options):
    return fastconv.algorithms(problem.x_shape, problem.w_shape, **problem.conv_kwargs, **options)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_records(problem, isa, dtype, layout, operation):
    shapes = problem.x_shape, problem.w_shape
    if layout == "NHWC":
        (n, c, h, w), (k, i, r, s) = shapes
        shapes = (n, h, w, c), (r, s, i, k)
    records = list(fastconv.algorithms(*shapes, dtype=dtype, layout=layout, operation=operation, **problem.conv_kwargs))
    assert {record.name for record in records} - {"winograd"} == set(ALGORITHMS)
    if operation == "forward":
        variants = {record.variant for record in records if record.name == "winograd"}
        window = (problem.r, problem.s), (problem.u, problem.v), (problem.dh, problem.dw)
        assert variants == {title for title, (_, side) in WINOGRAD.items() if fits_squares(side, *window)}
    # What "auto" may take comes first; in float64 that is no transform, in float32 those within the error bound.
    choices = [
        record
        for record in records
        if record.name != "winograd" or (dtype == np.float32 and record.variant not in FAST)
    ]
    assert records[: len(choices)] == choices
    costs = [record.cost for record in choices]
    assert costs == sorted(costs)
    assert all(record.cost > 0 for record in records)
    for record in records:
        assert record.variant
        assert record.reason
        assert 0 <= record.workspace < 2**31
        assert record.multiply_adds * 2 >= problem.flops
        assert 0 < record.error_bound < (1e-4 if dtype == np.float32 else 1e-12)


def test_multiply_adds_are_those_of_the_problem():
    """CS231n: AlexNet's first layer has 105,415,200 of them."""
    for record in fastconv.algorithms((1, 3, 227, 227), (96, 3, 11, 11), stride=4):
        assert record.multiply_adds == 55 * 55 * 96 * 3 * 11 * 11


def test_float16_is_computed_in_float32():
    problem = PROBLEMS[0]
    assert listed(problem, dtype=np.float16) == listed(problem, dtype=np.float32)
    assert listed(problem) == listed(problem, dtype="f4")


def test_no_images_need_no_algorithm():
    assert list(fastconv.algorithms((0, 3, 8, 8), (4, 3, 3, 3))) == []


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("problem", PROBLEMS[::5], ids=lambda p: p.name)
def test_auto_takes_the_first(problem, isa, operation):
    """Bit for bit: sums of reals differ where their order does."""
    rng = np.random.default_rng(1)
    x, w = (rng.standard_normal(shape, np.float32) for shape in (problem.x_shape, problem.w_shape))
    dy = rng.standard_normal(problem.y_shape, np.float32)
    compute = {
        "forward": lambda algo: fastconv.conv2d(x, w, algo=algo, **problem.conv_kwargs),
        "backward_input": lambda algo: fastconv.conv2d_backward_input(dy, w, x.shape, algo=algo, **problem.conv_kwargs),
        "backward_weight": lambda algo: fastconv.conv2d_backward_weight(
            dy, x, w.shape, algo=algo, **problem.conv_kwargs
        ),
    }[operation]
    # The first record of a name is the variant that the name takes.
    first = listed(problem, operation=operation)[0].name
    np.testing.assert_array_equal(compute("auto"), compute(first))


def test_auto_takes_winograd_where_it_leads(isa, rng):
    """And of its variants the first."""
    x, w = (rng.standard_normal(shape, np.float32) for shape in ((1, 64, 40, 40), (64, 64, 3, 3)))
    first = fastconv.algorithms(x.shape, w.shape, padding=1)[0]
    assert first.name == "winograd"
    y = fastconv.conv2d(x, w, padding=1)
    for title in (first.name, first.variant):
        np.testing.assert_array_equal(forward(x, w, padding=1, algo=title), y)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("size", [3, 8, 57, 300, 3000])
@pytest.mark.parametrize("channels", [1, 6, 96, 2048, 100_000])
def test_costs_are_positive_and_scratch_is_bounded(isa, dtype, layout, channels, size, operation):
    """For thin and for deep, small and large, whatever the limits of a block leave of it."""
    shapes = [(1, channels, size, size), (channels, channels, 3, 3)]
    if layout == "NHWC":
        shapes = [(1, size, size, channels), (3, 3, channels, channels)]
    with fastconv.threads(1):
        records = fastconv.algorithms(*shapes, dtype=dtype, layout=layout, operation=operation)
    assert "im2col" in {record.name for record in records}
    for record in records:
        assert record.cost > 0
        if record.name == "winograd":
            # Beside the transformed gradient of the weights, which has 64 points for 9 taps at most.
            transformed = 8 * np.dtype(dtype).itemsize * channels * (channels + 64) * 9
            beside = transformed if operation == "backward_weight" else 0
            assert 0 < record.workspace <= 16 * 2**20 + 4096 + beside


def test_what_cannot_serve_is_not_listed_and_says_why():
    """A row of 24 MB is more than the scratch of a thread: `direct`, which copies whole rows, refuses it."""
    x, w = np.broadcast_to(np.float32(1), (1, 1, 1, 6_000_000)), np.ones((1, 1, 1, 3), np.float32)
    assert [record.name for record in fastconv.algorithms(x.shape, w.shape)] == ["im2col"]
    with pytest.raises(ValueError, match=r"direct.*scratch"):
        fastconv.conv2d(x, w, algo="direct")
    y = fastconv.conv2d(x, w)
    assert y.shape == (1, 1, 1, 5_999_998)
    assert y.min() == y.max() == 3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x_shape": (1, 4, 8, 8)}, ValueError, r"4 .*3"),
        ({"x_shape": (1, 3, 8)}, ValueError, r"\(1, 3, 8\)"),
        ({"x_shape": (1, 3, 2, 8)}, ValueError, r"3 .*2"),
        ({"x_shape": (1, 3, 8.5, 8)}, TypeError, "8.5"),
        ({"dtype": np.int32}, TypeError, "int32"),
        ({"operation": "sideways"}, ValueError, "sideways"),
        ({"stride": 0}, ValueError, "0"),
        ({"layout": "CHWN"}, ValueError, "CHWN"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        fastconv.algorithms(**{"x_shape": (1, 3, 8, 8), "w_shape": (4, 3, 3, 3), **arguments})
