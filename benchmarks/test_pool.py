"""Pooling and response normalisation, both ways, against NumPy and PyTorch; a rate counts one read of the input."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
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
MODULES = {"fastconv": fastconv, "reference": reference}
PEERS_CALL_IT = {"max_pool2d": "max_pool_forward", "max_pool2d_backward": "max_pool_backward"}
OPERATIONS = ("max_pool2d", "max_pool2d_backward", "avg_pool2d", "avg_pool2d_backward")


def _call(module: ModuleType, operation: str, problem: Problem) -> Callable[[], Array]:
    x, _, dy = Job("max_pool_forward", problem).arrays()
    arguments: dict[str, tuple[Any, ...]] = {
        "max_pool2d": (x,),
        "max_pool2d_backward": (dy, x),
        "avg_pool2d": (x,),
        "avg_pool2d_backward": (dy, x.shape),
    }
    return partial(
        getattr(module, operation),
        *arguments[operation],
        (problem.r, problem.s),
        stride=(problem.u, problem.v),
        padding=(problem.p, problem.q),
    )


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("implementation", MODULES)
def test_pool(pool: Problem, operation: str, implementation: str, timed: Callable[..., None]) -> None:
    expected = _call(reference, operation, pool)()
    size = 4 * int(np.prod(pool.x_shape))
    timed(operation, pool, _call(MODULES[implementation], operation, pool), (expected,), "GB/s", size)


@pytest.mark.parametrize("operation", PEERS_CALL_IT)
@pytest.mark.parametrize("peer", parameters("torch", "torch-channels-last"))
def test_pool_of_peers(pool: Problem, operation: str, peer: str, timed_peer: Callable[..., None]) -> None:
    job = Job(PEERS_CALL_IT[operation], pool)
    size = 4 * int(np.prod(pool.x_shape))
    timed_peer(operation, peer, job, (_call(reference, operation, pool)(),), "GB/s", size)


NORMALISED = {"alexnet_norm1": (1, 96, 55, 55), "alexnet_norm2": (1, 256, 27, 27), "googlenet_norm1": (1, 64, 56, 56)}


def _normalise(module: ModuleType, operation: str, shape: tuple[int, ...]) -> Callable[[], Array]:
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, *shape), dtype=np.float32)
    arguments = (x,) if operation == "local_response_norm" else (dy, x)
    return partial(getattr(module, operation), *arguments, 5, alpha=5e-4, k=2.0)


@pytest.mark.parametrize("operation", ["local_response_norm", "local_response_norm_backward"])
@pytest.mark.parametrize("norm", NORMALISED)
@pytest.mark.parametrize("implementation", MODULES)
def test_normalisation(norm: str, operation: str, implementation: str, timed: Callable[..., None]) -> None:
    shape = NORMALISED[norm]
    expected = _normalise(reference, operation, shape)()
    _, c, h, w = shape
    problem = Problem(norm, 1, c, h, w, c, 1, 1)
    timed(operation, problem, _normalise(MODULES[implementation], operation, shape), (expected,), "GB/s", 4 * c * h * w)
