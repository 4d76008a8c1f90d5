"""What the core would do with a convolution, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
from numpy.typing import DTypeLike

from fastconv.arrays import as_shape, computed_in, served
from fastconv.conv_layer import Convolution
from fastconv.geometry import Ints, Padding
from fastconv.threads import get_num_threads
from fastconv.winograd import core_algorithm

_OPERATIONS = ("forward", "backward_input", "backward_weight")


@dataclass(frozen=True)
class Algorithm:
    """One way to compute a problem.

    Attributes
    ----------
    name : str
        What ``algo`` takes.
    variant : str
        How the algorithm goes about it; tells Winograd's F(2x2,3x3), F(4x4,3x3) and so on apart.
    workspace : int
        Scratch memory in bytes.
    multiply_adds : int
        Multiply-adds of the convolution, padding included; Winograd does fewer.
    error_bound : float
        Root mean square error relative to the root mean square of the output, on independent normal data.
    cost : float
        Estimated time on one thread, in seconds.
    reason : str
        Why it ranks where it does.
    """

    name: str
    variant: str
    workspace: int
    multiply_adds: int
    error_bound: float
    cost: float
    reason: str


def algorithms(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    dtype: DTypeLike = np.float32,
    layout: str = "NCHW",
    operation: str = "forward",
) -> list[Algorithm]:
    """List the algorithms that can serve a convolution, in the order ``algo="auto"`` prefers them.

    Parameters
    ----------
    x_shape, w_shape : tuple of int
        Shapes of the input and the weights of `conv2d`.
    stride, padding, dilation, groups, layout
        As in `conv2d`.
    dtype : dtype
        float16, float32 or float64; float16 is computed in float32.
    operation : {"forward", "backward_input", "backward_weight"}
        The pass; `conv_transpose2d` is "backward_input" of the convolution that it transposes.

    Returns
    -------
    list of Algorithm
        Best first; those that "auto" may not take (Winograd in float64, or where `allow_winograd` is False) come last.
        Winograd is listed by variant, and ``algo="winograd"`` takes the first. ``workspace`` is for the number of
        threads of this context. Empty if N = 0, where nothing is computed.

    Raises
    ------
    ValueError, TypeError
        As in `conv2d`, or if ``operation`` is another one.

    Examples
    --------
    >>> import fastconv
    >>> found = fastconv.algorithms((1, 64, 56, 56), (64, 64, 7, 7), padding=3)
    >>> sorted(record.name for record in found)
    ['direct', 'im2col']
    >>> found[0].multiply_adds == 64 * 64 * 7 * 7 * 56 * 56
    True
    >>> [record.name for record in fastconv.algorithms((0, 64, 56, 56), (64, 64, 7, 7))]
    []
    """
    if operation not in _OPERATIONS:
        raise ValueError(f"operation must be one of {', '.join(_OPERATIONS)}, not {operation!r}")
    convolution = Convolution.of(2, stride, padding, dilation, groups, layout)
    core, _, _ = convolution.problem(
        computed_in(served(dtype, "dtype"))[1],
        as_shape(x_shape, "x_shape"),
        as_shape(w_shape, "w_shape"),
        x_name="x_shape",
        w_name="w_shape",
    )
    if core is None:
        return []
    return [
        Algorithm(name, variant, workspace, multiply_adds, error_bound, cost, reason)
        for name, variant, workspace, multiply_adds, cost, error_bound, eligible, reason in core.algorithms(
            operation, core_algorithm("auto"), get_num_threads()
        )
        if eligible
    ]
