"""Pooling, forward and backward, against the NumPy reference and PyTorch; a rate counts one read of the input."""

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
