"""Arrays and expected results for the problems of tests/problems: one case a problem, in float64 and NCHW."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import DTypeLike

from fastconv import reference
from fastconv.cli.problems import Problem, read

_FOLDER = Path(__file__).parent / "problems"
TILES = read(_FOLDER / "tiles.txt")
SHAPES = read(_FOLDER / "shapes.txt")
PARALLEL = read(_FOLDER / "parallel.txt")
PROBLEMS = TILES + SHAPES + PARALLEL


@dataclass(frozen=True, eq=False)
class Case:
    """Operands of a problem, and what the reference computes from them."""

    x: np.ndarray
    w: np.ndarray
    b: np.ndarray
    dy: np.ndarray
    y: np.ndarray
    dx: np.ndarray
    dw: np.ndarray
    db: np.ndarray


def _case(problem: Problem, x: np.ndarray, w: np.ndarray, b: np.ndarray, dy: np.ndarray) -> Case:
    y = reference.conv2d(x, w, b, **problem.conv_kwargs)
    dx, dw, db = reference.conv2d_backward(dy, x, w, **problem.conv_kwargs)
    return Case(x, w, b, dy, y, dx, dw, db)


def _shapes(problem: Problem) -> tuple[tuple[int, ...], ...]:
    return problem.x_shape, problem.w_shape, (problem.k,), problem.y_shape


def _rng(problem: Problem) -> np.random.Generator:
    return np.random.default_rng(crc32(str(problem).encode()))


@cache
def integers(problem: Problem) -> Case:
    """Small integers: every sum stays below 2**24, so that float32 is exact in any order of summation."""
    rng = _rng(problem)
    return _case(problem, *(rng.integers(-4, 5, shape).astype(np.float64) for shape in _shapes(problem)))


@cache
def reals(problem: Problem) -> Case:
    """Normal numbers that float32 holds, so that both dtypes see the same operands."""
    rng = _rng(problem)
    return _case(problem, *(rng.standard_normal(shape, np.float32).astype(np.float64) for shape in _shapes(problem)))


def activations(a: np.ndarray, layout: str, dtype: DTypeLike = np.float64) -> np.ndarray:
    """NCHW activations in `layout` and `dtype`, C-contiguous."""
    return np.ascontiguousarray(a if layout == "NCHW" else a.transpose(0, 2, 3, 1), dtype)


def weights(w: np.ndarray, layout: str, dtype: DTypeLike = np.float64) -> np.ndarray:
    """OIHW weights in `layout` and `dtype`, C-contiguous."""
    return np.ascontiguousarray(w if layout == "NCHW" else w.transpose(2, 3, 1, 0), dtype)
