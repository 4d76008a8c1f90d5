"""How far a sum in floating point may lie from the exact one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

_MARGIN = 16


def rounding_bound(dtype: DTypeLike, length: int, *operands: np.ndarray) -> float:
    """Absolute error allowed in a sum of `length` products of `operands`, which have random signs.

    Such a sum is a random walk: after i terms it is about sqrt(i) * scale, where scale is the product of the
    operands' root mean squares. Each addition rounds by at most half an epsilon of that, and the roundings are a
    random walk themselves: together about epsilon * length * scale / 3 for a sum taken term by term, in blocks
    less. The margin covers the largest of some hundred thousand outputs.
    """
    scale = math.prod(math.sqrt(float(np.mean(np.square(operand, dtype=np.float64)))) for operand in operands)
    return _MARGIN * float(np.finfo(dtype).eps) * length * scale


def assert_close(actual: np.ndarray, exact: np.ndarray, bound: float) -> None:
    """`actual` has the shape of `exact` and lies within `bound` of it everywhere."""
    assert actual.shape == exact.shape
    error = np.abs(actual.astype(np.float64) - exact)
    worst = np.unravel_index(np.argmax(error), error.shape) if error.size else ()
    assert error.size == 0 or error[worst] <= bound, f"off by {error[worst]:.3g} at {worst}; the bound is {bound:.3g}"
