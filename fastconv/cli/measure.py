"""Times one layer's forward convolution in NumPy and in fastconv, after checking that they agree."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastconv
from fastconv.cli.numpy_conv import FORMULATIONS
from fastconv.cli.problems import Problem
from fastconv.cli.timing import best_times

__all__ = ["TOLERANCE", "Measurement", "check", "inputs", "measure"]

TOLERANCE = {"float32": 1e-4, "float64": 1e-12}
"""Largest difference from NumPy's result that passes, relative to the root mean square of the result."""


@dataclass(frozen=True)
class Measurement:
    """Times of one layer, in seconds.

    `refused` holds why an algorithm does not serve the layer, `chosen` is what ``"auto"`` takes.
    """

    network: str
    problem: Problem
    numpy: dict[str, float]
    fastconv: dict[str, float]
    refused: dict[str, str]
    chosen: str

    @property
    def numpy_best(self) -> float:
        """Time of the fastest NumPy formulation, in seconds."""
        return min(self.numpy.values())

    def gflops(self, seconds: float) -> float:
        """GFLOP/s of the direct convolution at a time in seconds."""
        return self.problem.flops / seconds / 1e9

    def speed_up(self, algo: str) -> float | None:
        """How many times faster than NumPy an algorithm is, or None where it does not serve the layer."""
        return self.numpy_best / self.fastconv[algo] if algo in self.fastconv else None


def inputs(problem: Problem, dtype: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Reproducible images and weights; the weights are scaled so that outputs are of the size of the images."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(problem.x_shape).astype(dtype)
    fan_in = problem.c // problem.g * problem.r * problem.s
    w = (rng.standard_normal(problem.w_shape) / np.sqrt(fan_in)).astype(dtype)
    return x, w


def check(name: str, actual: NDArray[Any], expected: NDArray[Any]) -> None:
    """Raise `ArithmeticError` if a result is further from NumPy's than `TOLERANCE` allows."""
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise ArithmeticError(
            f"{name}: {actual.dtype} {actual.shape}, but NumPy gives {expected.dtype} {expected.shape}"
        )
    scale = float(np.sqrt(np.mean(np.square(expected))))
    error = float(np.max(np.abs(actual - expected))) / scale
    limit = TOLERANCE[expected.dtype.name]
    if not error <= limit:
        raise ArithmeticError(f"{name}: differs from NumPy by {error:.1e} of the result's size, more than {limit:.0e}")


def measure(
    network: str, problem: Problem, *, dtype: str, algorithms: Sequence[str], rounds: int, seconds: float
) -> Measurement:
    """Time every NumPy formulation and every algorithm on one layer, in turns.

    Parameters
    ----------
    network : str
        Name of the network, for the report.
    problem : Problem
        The layer.
    dtype : str
        ``"float32"`` or ``"float64"``.
    algorithms : sequence of str
        Values of the ``algo`` argument of `fastconv.conv2d`.
    rounds, seconds : int, float
        As those of `best_times`.

    Raises
    ------
    ArithmeticError
        If an algorithm's result is not NumPy's.
    """
    x, w = inputs(problem, dtype)
    numpy_calls = {name: partial(formulation, x, w, problem) for name, formulation in FORMULATIONS.items()}
    expected = next(iter(numpy_calls.values()))()
    fastconv_calls: dict[str, Callable[[], NDArray[Any]]] = {}
    refused: dict[str, str] = {}
    for algo in algorithms:
        call = partial(fastconv.conv2d, x, w, algo=algo, **problem.conv_kwargs)
        try:
            result = call()
        except ValueError as error:
            refused[algo] = str(error)
            continue
        check(f"{problem.name}, algo={algo!r}", result, expected)
        fastconv_calls[algo] = call
    best = next(iter(fastconv.algorithms(problem.x_shape, problem.w_shape, dtype=dtype, **problem.conv_kwargs)))
    times = best_times(
        [
            {f"numpy {name}": call for name, call in numpy_calls.items()},
            {f"fastconv {name}": call for name, call in fastconv_calls.items()},
        ],
        rounds=rounds,
        seconds=seconds,
    )
    return Measurement(
        network=network,
        problem=problem,
        numpy={name: times[f"numpy {name}"] for name in numpy_calls},
        fastconv={name: times[f"fastconv {name}"] for name in fastconv_calls},
        refused=refused,
        chosen=best.name,
    )
