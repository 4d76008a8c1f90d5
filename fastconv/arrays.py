"""Arrays on their way to the core: dtypes, layouts, views it can read, and checked outputs."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastconv import _core
from fastconv.geometry import Pair, integer, is_sequence

Array: TypeAlias = NDArray[Any]
DType: TypeAlias = np.dtype[Any]
Shape: TypeAlias = tuple[int, ...]

_SERVED: dict[type, DType] = {t: np.dtype(t) for t in (np.float16, np.float32, np.float64)}
_FLOAT16, _FLOAT32 = _SERVED[np.float16], _SERVED[np.float32]
_DTYPES = "served are float32, float64, and float16 computed in float32"
_OVERLAP_WORK = 10_000  # candidates NumPy may try when it decides whether two strided arrays overlap


class Layout(NamedTuple):
    """Where the axes of activations and weights lie; with one spatial axis the core sees a height of one."""

    rank: int
    nhwc: bool
    axes: str
    filter_axes: str

    def sizes(self, shape: Shape, name: str) -> tuple[int, int, Pair]:
        """Return N, C and (H, W) of activations; only N may be zero."""
        rank, nhwc, axes, _ = self
        if len(shape) != rank + 2:
            raise ValueError(f"{name} must have {rank + 2} axes ({axes}), not shape {shape}")
        if rank == 1:
            n, c, w = (shape[0], shape[2], shape[1]) if nhwc else shape
            h = 1
        else:
            n, c, h, w = (shape[0], shape[3], shape[1], shape[2]) if nhwc else shape
        if not (c and h and w):
            raise ValueError(f"{name} has shape {shape}: of ({axes}) only N may be 0")
        return n, c, (h, w)

    def filter_sizes(self, shape: Shape, name: str) -> tuple[int, int, Pair]:
        """Return O, I and (KH, KW) of weights, none of them zero."""
        rank, nhwc, _, axes = self
        if len(shape) != rank + 2:
            raise ValueError(f"{name} must have {rank + 2} axes ({axes}), not shape {shape}")
        if 0 in shape:
            raise ValueError(f"{name} has shape {shape}: none of ({axes}) may be 0")
        if rank == 1:
            o, i, kw = shape[::-1] if nhwc else shape
            return o, i, (1, kw)
        o, i, kh, kw = (shape[3], shape[2], shape[0], shape[1]) if nhwc else shape
        return o, i, (kh, kw)

    def shape(self, n: int, c: int, size: Pair) -> Shape:
        """Return the shape of activations of these sizes."""
        space = size if self.rank == 2 else size[1:]
        return (n, *space, c) if self.nhwc else (n, c, *space)

    def lift(self, activations: Array) -> Array:
        """Return activations with the four axes of the core."""
        if self.rank == 2:
            return activations
        return activations[:, None] if self.nhwc else activations[:, :, None]

    def lift_filters(self, weights: Array) -> Array:
        """Return weights with the four axes of the core."""
        if self.rank == 2:
            return weights
        return weights[None] if self.nhwc else weights[:, :, None]


_NCL, _NLC = Layout(1, False, "N, C, L", "O, I, K"), Layout(1, True, "N, L, C", "K, I, O")
_LAYOUTS = {
    1: {"NCHW": _NCL, "NCL": _NCL, "NHWC": _NLC, "NLC": _NLC},
    2: {"NCHW": Layout(2, False, "N, C, H, W", "O, I, KH, KW"), "NHWC": Layout(2, True, "N, H, W, C", "KH, KW, I, O")},
}


def find_layout(name: str, rank: int) -> Layout:
    """Return the layout of this name for ``rank`` spatial axes."""
    try:
        return _LAYOUTS[rank][name]
    except (KeyError, TypeError):
        raise ValueError(f"layout must be one of {', '.join(_LAYOUTS[rank])}, not {name!r}") from None


def as_array(value: ArrayLike, name: str) -> Array:
    """Return ``value`` as a plain array of one of the served dtypes."""
    array = value if type(value) is np.ndarray else _plain(value, name)
    if array.dtype.type not in _SERVED:
        raise TypeError(f"{name} has dtype {array.dtype}; {_DTYPES}")
    return array


def _plain(value: ArrayLike, name: str) -> Array:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, and a convolution has no use for the mask: pass {name}.filled(0)")
    return np.asarray(value)


def as_indices(value: ArrayLike, shape: Shape) -> Array:
    """Return indices of a maximum pool as int64, C-contiguous."""
    array = _plain(value, "indices")
    if array.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, not {array.dtype}")
    check_shape(array, shape, "indices")
    return prepared(array, np.dtype(np.int64))


def as_shape(value: object, name: str) -> Shape:
    """Return a shape given by the caller as ints."""
    if not is_sequence(value):
        raise TypeError(f"{name} must be a tuple of ints, not {value!r}")
    return tuple(integer(size, f"{name}[{axis}]", 0) for axis, size in enumerate(value))


def served(value: DTypeLike, name: str) -> DType:
    """Return ``value`` as a dtype in native byte order, if it is one that the operators take."""
    dtype = np.dtype(value)
    if dtype.type not in _SERVED:
        raise TypeError(f"{name} is {dtype}; {_DTYPES}")
    return _SERVED[dtype.type]


def promoted(first: Array, *others: Array | None) -> tuple[DType, DType]:
    """Return the dtype NumPy promotes the operands to, and the one the core computes in."""
    result = first.dtype
    for other in others:
        if other is not None and other.dtype is not result:
            result = np.result_type(result, other.dtype)
    return computed_in(_SERVED[result.type])


def computed_in(result: DType) -> tuple[DType, DType]:
    """Return ``result`` and the dtype the core computes it in."""
    return result, _FLOAT32 if result is _FLOAT16 else result


def prepared(array: Array, dtype: DType) -> Array:
    """Return ``array`` in ``dtype`` and C order, itself if it is so already."""
    flags = array.flags
    if flags.c_contiguous and flags.aligned and array.dtype == dtype:
        return array
    return array.astype(dtype, order="C")


def readable(array: Array, dtype: DType) -> Array:
    """Return ``array`` if the core can read it in place, else a copy in C order."""
    flags = array.flags
    if not flags.c_contiguous and flags.aligned and array.dtype == dtype:
        strides, itemsize = array.strides, dtype.itemsize
        unit = strides[-1] == itemsize or array.shape[-1] == 1
        if unit and not any(stride % itemsize for stride in strides):
            return array
    return prepared(array, dtype)


def check_shape(array: Array, shape: Shape, name: str, what: str = "it must be") -> None:
    """Refuse an array of another shape."""
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, but {what} {shape}")


def destination(out: Array, shape: Shape, result: DType, dtype: DType, **operands: Array | None) -> Array:
    """Check ``out``, and return it or, if the core cannot write there, a new array."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"out must be a NumPy array, not {type(out).__name__}")
    check_shape(out, shape, "out")
    if out.dtype != result:
        raise ValueError(f"out has dtype {out.dtype}, but the result is {result}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    if not out.flags.c_contiguous:
        raise ValueError(f"out must be C-contiguous, but has shape {out.shape} and strides {out.strides}")
    for name, operand in operands.items():
        if operand is not None and _overlap(out, operand):
            raise ValueError(f"out shares memory with {name}")
    return out if result is dtype and out.flags.aligned else _core.empty(shape, dtype)


def _overlap(a: Array, b: Array) -> bool:
    """Whether two arrays share memory; where that is too hard to decide, they may."""
    if not np.may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, max_work=_OVERLAP_WORK)  # type: ignore[arg-type]  # the stub knows -1 and 0
    except (RuntimeError, OverflowError):
        return True


def delivered(computed: Array, result: DType, out: Array | None = None) -> Array:
    """Return ``computed`` in the result's dtype, and in ``out`` if there is one."""
    if out is None:
        return computed if computed.dtype is result else computed.astype(result)
    if out is not computed:
        out[...] = computed
    return out
