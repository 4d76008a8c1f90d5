"""What a benchmark times: one operation on one problem, with arrays that every process can make for itself."""

from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastconv.cli.problems import Problem

__all__ = ["Array", "Job", "Operation", "inputs"]

Array = NDArray[Any]
Operation = Literal["conv_forward", "conv_backward", "max_pool_forward", "max_pool_backward"]


@dataclass(frozen=True)
class Job:
    """An operation on a problem; of a pooling problem the filter is the window.

    `dtype` is ``"float32"`` or ``"float64"``.
    """

    operation: Operation
    problem: Problem
    dtype: str = "float32"

    @property
    def flops(self) -> int:
        """Operations of the direct convolution; each of the two gradients has those of the forward pass."""
        return self.problem.flops * (2 if self.operation == "conv_backward" else 1)

    @property
    def bytes(self) -> int:
        """Bytes that have to be read or written at least: each array once, of the gradients those by x and w too."""
        problem = self.problem
        ours = prod(problem.x_shape) + prod(problem.w_shape)
        count = prod(problem.y_shape) + ours * (2 if self.operation == "conv_backward" else 1)
        return count * np.dtype(self.dtype).itemsize

    def arrays(self) -> tuple[Array, Array, Array]:
        """Images, weights and the gradient of the output, the same in every process."""
        x, w = inputs(self.problem, self.dtype)
        dy = np.random.default_rng(1).standard_normal(self.problem.y_shape, dtype=np.dtype(self.dtype).type)
        return x, w, dy


def inputs(problem: Problem, dtype: str) -> tuple[Array, Array]:
    """Reproducible images and weights; the weights are scaled so that outputs are of the size of the images."""
    rng = np.random.default_rng(0)
    kind = np.dtype(dtype).type
    x = rng.standard_normal(problem.x_shape, dtype=kind)
    fan_in = problem.c // problem.g * problem.r * problem.s
    w = rng.standard_normal(problem.w_shape, dtype=kind) / kind(np.sqrt(fan_in))
    return x, w
