"""Forward convolution as one writes it in NumPy: the formulations that `bench` measures fastconv against.

All take NCHW images and OIHW weights and lean on NumPy's BLAS; they differ in who copies the windows. The lecture's
im2col is Chellapilla et al., "High performance convolutional neural networks for document processing", 2006.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray

from fastconv import reference
from fastconv.cli.problems import Problem

__all__ = ["FORMULATIONS", "Formulation"]

Array = NDArray[Any]
Formulation = Callable[[Array, Array, Problem], Array]


def _padded(x: Array, problem: Problem) -> Array:
    if not problem.p and not problem.q:
        return x
    return np.pad(x, ((0, 0), (0, 0), (problem.p, problem.p), (problem.q, problem.q)))


def _by_group(x: Array, w: Array, problem: Problem, one: Callable[[Array, Array], Array]) -> Array:
    if problem.g == 1:
        return one(x, w)
    pairs = zip(np.split(x, problem.g, axis=1), np.split(w, problem.g, axis=0), strict=True)
    return np.concatenate([one(xg, wg) for xg, wg in pairs], axis=1)


def windows_tensordot(x: Array, w: Array, problem: Problem) -> Array:
    """Sliding windows contracted with the weights by ``tensordot``, which copies the windows into a matrix."""
    extent = (problem.dh * (problem.r - 1) + 1, problem.dw * (problem.s - 1) + 1)
    windows = sliding_window_view(_padded(x, problem), extent, axis=(2, 3))
    windows = windows[:, :, :: problem.u, :: problem.v, :: problem.dh, :: problem.dw]

    def one(xg: Array, wg: Array) -> Array:
        return np.tensordot(wg, xg, axes=((1, 2, 3), (1, 4, 5))).transpose(1, 0, 2, 3)

    return _by_group(windows, w, problem, one)


def _matmul(cols: Array, w: Array, problem: Problem) -> Array:
    """Weights as a matrix times columns of shape (N, C, R, S, OH, OW)."""

    def one(cg: Array, wg: Array) -> Array:
        n, c, r, s, oh, ow = cg.shape
        return wg.reshape(-1, c * r * s) @ cg.reshape(n, c * r * s, oh * ow)

    return _by_group(cols, w, problem, one).reshape(problem.y_shape)


def _is_pointwise(problem: Problem) -> bool:
    return (problem.r, problem.s, problem.u, problem.v, problem.p, problem.q) == (1, 1, 1, 1, 0, 0)


def im2col_strided(x: Array, w: Array, problem: Problem) -> Array:
    """im2col by one copy of a strided view, then one matrix product an image."""
    padded = _padded(x, problem)
    sn, sc, sh, sw = padded.strides
    n, _, oh, ow = problem.y_shape
    cols = as_strided(
        padded,
        shape=(n, problem.c, problem.r, problem.s, oh, ow),
        strides=(sn, sc, problem.dh * sh, problem.dw * sw, problem.u * sh, problem.v * sw),
        writeable=False,
    )
    return _matmul(cols if _is_pointwise(problem) else np.ascontiguousarray(cols), w, problem)


def im2col_by_tap(x: Array, w: Array, problem: Problem) -> Array:
    """im2col by one copy of a shifted image for each filter tap, then one matrix product an image."""
    n, _, oh, ow = problem.y_shape
    if _is_pointwise(problem):
        return _matmul(x.reshape(n, problem.c, 1, 1, oh, ow), w, problem)
    padded = _padded(x, problem)
    cols = np.empty((n, problem.c, problem.r, problem.s, oh, ow), x.dtype)
    for i in range(problem.r):
        rows = slice(i * problem.dh, i * problem.dh + problem.u * (oh - 1) + 1, problem.u)
        for j in range(problem.s):
            columns = slice(j * problem.dw, j * problem.dw + problem.v * (ow - 1) + 1, problem.v)
            cols[:, :, i, j] = padded[:, :, rows, columns]
    return _matmul(cols, w, problem)


def tap_by_tap(x: Array, w: Array, problem: Problem) -> Array:
    """Sum one matrix product for each filter tap, without a matrix of windows: `fastconv.reference`."""
    return reference.conv2d(x, w, **problem.conv_kwargs)


FORMULATIONS: dict[str, Formulation] = {
    "windows-tensordot": windows_tensordot,
    "im2col-strided": im2col_strided,
    "im2col-by-tap": im2col_by_tap,
    "tap-by-tap": tap_by_tap,
}
"""Every formulation by the name that `bench` prints."""
