"""Gradients of every layer by its input, weights and bias together: fastconv by algorithm, and the NumPy reference."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastconv
from fastconv import reference
from fastconv.cli.jobs import inputs
from fastconv.cli.problems import Problem

Array = NDArray[Any]


@lru_cache(maxsize=1)
def _arrays(problem: Problem) -> tuple[Array, Array, Array, tuple[Array, ...]]:
    x, w = inputs(problem, "float32")
    dy = np.random.default_rng(1).standard_normal(problem.y_shape, dtype=np.float32)
    exact = reference.conv2d_backward(*(a.astype(np.float64) for a in (dy, x, w)), **problem.conv_kwargs)
    return dy, x, w, tuple(a.astype(np.float32) for a in exact if a is not None)


@pytest.mark.parametrize("implementation", ["auto", "direct", "im2col", "reference"])
def test_backward(layer: Problem, implementation: str, timed: Callable[..., None]) -> None:
    dy, x, w, expected = _arrays(layer)
    if implementation == "reference":
        call = partial(reference.conv2d_backward, dy, x, w, **layer.conv_kwargs)
    else:
        call = partial(fastconv.conv2d_backward, dy, x, w, algo=implementation, **layer.conv_kwargs)
    timed("backward", layer, call, expected, "GFLOP/s", 2 * layer.flops)
