"""Gradients of every layer by its input, weights and bias together: fastconv by algorithm, NumPy, PyTorch."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pytest
from engines import parameters
from numpy.typing import NDArray

import fastconv
from fastconv import reference
from fastconv.cli.jobs import Job
from fastconv.cli.problems import Problem

Array = NDArray[Any]


@lru_cache(maxsize=1)
def _arrays(problem: Problem) -> tuple[Array, Array, Array, tuple[Array, ...]]:
    x, w, dy = Job("conv_backward", problem).arrays()
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


@pytest.mark.parametrize("peer", parameters("torch", "torch-channels-last"))
def test_backward_of_peers(layer: Problem, peer: str, timed_peer: Callable[..., None]) -> None:
    job = Job("conv_backward", layer)
    timed_peer("backward", peer, job, _arrays(layer)[3], "GFLOP/s", job.flops)
