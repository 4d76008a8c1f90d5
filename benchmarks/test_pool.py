"""Max and average pooling, forward and backward, against the NumPy reference; a rate counts one read of the input."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastconv
from fastconv import reference
from fastconv.cli.problems import Problem

Array = NDArray[Any]
MODULES = {"fastconv": fastconv, "reference": reference}
OPERATIONS = ("max_pool2d", "max_pool2d_backward", "avg_pool2d", "avg_pool2d_backward")


def _call(module: ModuleType, operation: str, problem: Problem) -> Callable[[], Array]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(problem.x_shape, dtype=np.float32)
    dy = rng.standard_normal(problem.y_shape, dtype=np.float32)
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
