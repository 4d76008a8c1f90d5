"""Types of the compiled module (``src/core.pyx``): what the Python layer may count on.

Every array handed over has the problem's dtype, native byte order and alignment. Activations that are only
read may have any strides as long as the innermost axis (W, or C with NHWC) has unit stride; everything
else is C-contiguous. The Python layer has checked shapes; the C layer checks sizes for overflow.
"""

from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return a new array whose elements are not set; large ones in memory that earlier ones had."""

class PackedWeights:
    """One convolution's weights, packed for each algorithm when a call first takes it."""

class ConvProblem:
    """One 2-D convolution: the C struct ``fc_conv``. Immutable."""

    def __init__(
        self,
        dtype: np.dtype[Any],
        nhwc: bool,
        n: int,
        c: int,
        h: int,
        w: int,
        k: int,
        kh: int,
        kw: int,
        oh: int,
        ow: int,
        groups: int,
        stride_h: int,
        stride_w: int,
        dilation_h: int,
        dilation_w: int,
        pad_top: int,
        pad_bottom: int,
        pad_left: int,
        pad_right: int,
    ) -> None: ...
    def forward(
        self,
        x: Array,
        w: Array,
        b: Array | None,
        y: Array,
        relu: bool,
        algo: str,
        threads: int,
        packed: PackedWeights | None,
    ) -> None: ...
    def backward_input(self, dy: Array, w: Array, b: Array | None, dx: Array, algo: str, threads: int) -> None: ...
    def backward_weight(self, dy: Array, x: Array, dw: Array, algo: str, threads: int) -> None: ...
    def backward_bias(self, dy: Array, db: Array, threads: int) -> None: ...
    def algorithms(
        self, operation: str, algo: str, threads: int
    ) -> list[tuple[str, str, int, int, float, float, bool, str]]:
        """(name, variant, workspace, multiply_adds, cost, error_bound, eligible, reason), best first: `Algorithm`."""

class HeldConv:
    """One convolution with weights that are held: of a call, the images alone are new."""

    dtype: np.dtype[Any]
    y_shape: tuple[int, ...]

    def __init__(
        self,
        problem: ConvProblem,
        x_shape: tuple[int, ...],
        w: Array,
        b: Array | None,
        packed: PackedWeights | None,
        relu: bool,
        y_shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None: ...
    def fits(self, x: ArrayLike) -> TypeGuard[Array]:
        """Whether these images can be taken as they are."""
    def forward(self, x: Array, y: Array | None, algo: str, threads: int) -> Array:
        """Write to ``y``, or to a new array, and return it."""

class PoolProblem:
    """One 2-D pooling: the C struct ``fc_pool``. Immutable."""

    def __init__(
        self,
        dtype: np.dtype[Any],
        nhwc: bool,
        n: int,
        c: int,
        h: int,
        w: int,
        kh: int,
        kw: int,
        oh: int,
        ow: int,
        stride_h: int,
        stride_w: int,
        dilation_h: int,
        dilation_w: int,
        pad_top: int,
        pad_bottom: int,
        pad_left: int,
        pad_right: int,
    ) -> None: ...
    def max_forward(self, x: Array, y: Array, indices: Array | None, threads: int) -> None: ...
    def max_backward(self, dy: Array, x: Array | None, indices: Array | None, dx: Array, threads: int) -> None: ...
    def avg_forward(self, x: Array, y: Array, count_include_pad: bool, threads: int) -> None: ...
    def avg_backward(self, dy: Array, dx: Array, count_include_pad: bool, threads: int) -> None: ...

def lrn_forward(
    x: Array, y: Array, nhwc: bool, size: int, alpha: float, beta: float, k: float, threads: int
) -> None: ...
def lrn_backward(
    dy: Array, x: Array, dx: Array, nhwc: bool, size: int, alpha: float, beta: float, k: float, threads: int
) -> None: ...
def isa() -> str: ...
def isas_built() -> list[str]: ...
def isas_supported() -> list[str]: ...
def set_isa(name: str) -> None: ...
def compiler() -> str: ...
def openmp() -> bool: ...
def max_threads() -> int: ...
def peak_gflops(dtype: str, threads: int) -> float: ...
def start_phase_clock() -> None: ...
def stop_phase_clock() -> tuple[int, int, int, int]: ...
