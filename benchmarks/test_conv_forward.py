"""Forward convolution of every layer: fastconv by algorithm and with weights held, NumPy by formulation, and peers."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import pytest
from engines import parameters
from numpy.typing import NDArray

import fastconv
from fastconv.cli.jobs import Job, inputs
from fastconv.cli.numpy_conv import FORMULATIONS
from fastconv.cli.problems import Problem

Array = NDArray[Any]


@lru_cache(maxsize=1)
def _arrays(problem: Problem) -> tuple[Array, Array, Array]:
    x, w = inputs(problem, "float32")
    return x, w, FORMULATIONS["im2col-strided"](x, w, problem)


def _call(implementation: str, x: Array, w: Array, problem: Problem) -> Callable[[], Array]:
    if implementation in FORMULATIONS:
        return partial(FORMULATIONS[implementation], x, w, problem)
    if implementation == "Conv2d":
        return partial(fastconv.Conv2d(w, **problem.conv_kwargs), x)
    return partial(fastconv.conv2d, x, w, algo=implementation, **problem.conv_kwargs)


@pytest.mark.parametrize("implementation", ["auto", "direct", "im2col", "Conv2d", *FORMULATIONS])
def test_forward(layer: Problem, implementation: str, timed: Callable[..., None]) -> None:
    x, w, expected = _arrays(layer)
    timed("forward", layer, _call(implementation, x, w, layer), (expected,), "GFLOP/s", layer.flops)


@pytest.mark.parametrize("peer", parameters())
def test_forward_of_peers(layer: Problem, peer: str, timed_peer: Callable[..., None]) -> None:
    _, _, expected = _arrays(layer)
    timed_peer("forward", peer, Job("conv_forward", layer), (expected,), "GFLOP/s", layer.flops)
