"""Gradients by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def numerical_gradient(
    function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, dy: np.ndarray, step: float
) -> np.ndarray:
    """Gradient by `x` of the sum of dy * function(x), one element at a time, by central differences."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        there, back = x.copy(), x.copy()
        there[index] += step
        back[index] -= step
        gradient[index] = np.sum(dy * (function(there) - function(back))) / (2 * step)
    return gradient
