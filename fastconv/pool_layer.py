"""A pooling layer with one or two spatial axes: its checked arguments, and its passes through the core."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastconv import _core
from fastconv.arrays import (
    Array,
    DType,
    Layout,
    Shape,
    as_array,
    as_indices,
    as_shape,
    check_shape,
    delivered,
    destination,
    find_layout,
    promoted,
    readable,
)
from fastconv.geometry import Ints, Padding, Pair, Sliding, check_windows_hold_pixels, pair
from fastconv.remember import remembered
from fastconv.threads import get_num_threads

_OUTPUT = "the output of this pool is"
_INT64 = np.dtype(np.int64)


class Pool(NamedTuple):
    """A pooling layer without its arrays."""

    layout: Layout
    kernel: Pair
    sliding: Sliding
    ceil: bool
    strict: bool

    @classmethod
    @remembered
    def of(
        cls,
        rank: int,
        kernel_size: Ints,
        stride: Ints | None,
        padding: Padding,
        dilation: Ints,
        ceil_mode: bool,
        layout: str,
        strict: bool = False,
    ) -> Pool:
        """Check the arguments of a layer with ``rank`` spatial axes."""
        kernel = pair(kernel_size, rank, "kernel_size")
        sliding = Sliding.of(rank, kernel_size if stride is None else stride, padding, dilation)
        return cls(find_layout(layout, rank), kernel, sliding, bool(ceil_mode), bool(strict))

    @lru_cache(maxsize=256)  # noqa: B019 - of small layers a fifth of the time, and nothing is kept alive but numbers
    def problem(self, dtype: DType, shape: Shape, name: str = "x") -> tuple[_core.PoolProblem | None, Shape]:
        """Return the problem for an input of ``shape``, None with N = 0, and the shape of its output."""
        n, c, size = self.layout.sizes(shape, name)
        sliding = self.sliding
        output, pads = sliding.over(size, self.kernel, self.strict, self.ceil)
        check_windows_hold_pixels(sliding, size, self.kernel, output, pads)
        steps = sliding.stride + sliding.dilation + pads
        core = _core.PoolProblem(dtype, self.layout.nhwc, n, c, *size, *self.kernel, *output, *steps) if n else None
        return core, self.layout.shape(n, c, output)


def max_pool(pool: Pool, x: ArrayLike, return_indices: bool, out: Array | None) -> Array | tuple[Array, Array]:
    """Return the maxima, with their places in each plane if they are asked for."""
    x = as_array(x, "x")
    result, dtype = promoted(x)
    core, shape = pool.problem(dtype, x.shape)
    y = _core.empty(shape, dtype) if out is None else destination(out, shape, result, dtype, x=x)
    indices = _core.empty(shape, _INT64) if return_indices else None
    if core is not None:
        lift = pool.layout.lift
        places = None if indices is None else lift(indices)
        core.max_forward(lift(readable(x, dtype)), lift(y), places, get_num_threads())
    y = delivered(y, result, out)
    return y if indices is None else (y, indices)


def max_pool_backward(pool: Pool, dy: ArrayLike, x: ArrayLike, indices: ArrayLike | None) -> Array:
    """Return the gradient with respect to the input of `max_pool`."""
    dy, x = as_array(dy, "dy"), as_array(x, "x")
    result, dtype = promoted(dy, x)
    core, shape = pool.problem(dtype, x.shape)
    check_shape(dy, shape, "dy", _OUTPUT)
    places = None if indices is None else as_indices(indices, shape)
    dx = _core.empty(x.shape, dtype)
    if core is not None:
        lift = pool.layout.lift
        image = lift(readable(x, dtype)) if places is None else None
        places = None if places is None else lift(places)
        core.max_backward(lift(readable(dy, dtype)), image, places, lift(dx), get_num_threads())
    return delivered(dx, result)


def avg_pool(pool: Pool, x: ArrayLike, count_include_pad: bool) -> Array:
    """Return the means."""
    x = as_array(x, "x")
    result, dtype = promoted(x)
    core, shape = pool.problem(dtype, x.shape)
    y = _core.empty(shape, dtype)
    if core is not None:
        lift = pool.layout.lift
        core.avg_forward(lift(readable(x, dtype)), lift(y), bool(count_include_pad), get_num_threads())
    return delivered(y, result)


def avg_pool_backward(pool: Pool, dy: ArrayLike, input_shape: Sequence[int], count_include_pad: bool) -> Array:
    """Return the gradient with respect to the input of `avg_pool`."""
    dy, shape = as_array(dy, "dy"), as_shape(input_shape, "input_shape")
    result, dtype = promoted(dy)
    core, dy_shape = pool.problem(dtype, shape, "input_shape")
    check_shape(dy, dy_shape, "dy", _OUTPUT)
    dx = _core.empty(shape, dtype)
    if core is not None:
        lift = pool.layout.lift
        core.avg_backward(lift(readable(dy, dtype)), lift(dx), bool(count_include_pad), get_num_threads())
    return delivered(dx, result)
