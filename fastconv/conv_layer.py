"""A convolution with one or two spatial axes: its checked arguments, and its passes through the core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from fastconv import _core
from fastconv.arrays import (
    Array,
    DType,
    Layout,
    Shape,
    as_array,
    as_shape,
    check_shape,
    delivered,
    destination,
    find_layout,
    prepared,
    promoted,
    readable,
)
from fastconv.geometry import Ints, Padding, Pads, Pair, Sliding, integer
from fastconv.remember import remembered
from fastconv.threads import get_num_threads
from fastconv.winograd import core_algorithm

ALGORITHMS = ("auto", "direct", "im2col", "winograd")


class Weights(NamedTuple):
    """Weights and bias as the core takes them, held packed for later calls or not."""

    w: Array
    b: Array | None
    packed: _core.PackedWeights | None


class Convolution(NamedTuple):
    """A convolution layer without its arrays."""

    layout: Layout
    sliding: Sliding
    groups: int

    @classmethod
    @remembered
    def of(
        cls, rank: int, stride: Ints, padding: Padding, dilation: Ints, groups: SupportsIndex, layout: str
    ) -> Convolution:
        """Check the arguments of a layer with ``rank`` spatial axes."""
        sliding = Sliding.of(rank, stride, padding, dilation)
        return cls(find_layout(layout, rank), sliding, integer(groups, "groups", 1))

    def core(
        self, dtype: DType, n: int, c: int, size: Pair, k: int, kernel: Pair, output: Pair, pads: Pads
    ) -> _core.ConvProblem | None:
        """Return the problem as the core states it, or None where N = 0 leaves nothing to compute."""
        if n == 0:
            return None
        layout, (_, stride, dilation, _), groups = self
        return _core.ConvProblem(
            dtype, layout.nhwc, n, c, *size, k, *kernel, *output, groups, *stride, *dilation, *pads
        )

    @lru_cache(maxsize=256)  # noqa: B019 - of small layers a fifth of the time, and nothing is kept alive but numbers
    def problem(
        self, dtype: DType, x: Shape, w: Shape, strict: bool = False, x_name: str = "x", w_name: str = "w"
    ) -> tuple[_core.ConvProblem | None, Shape, int]:
        """Return the problem for arrays of these shapes, the shape of its output, and the number of filters."""
        layout, sliding, groups = self
        n, c, size = layout.sizes(x, x_name)
        k, per_group, kernel = layout.filter_sizes(w, w_name)
        if c != per_group * groups:
            product = f" (groups={groups} x {per_group})" if groups > 1 else ""
            raise ValueError(f"{x_name} has {c} channels but {w_name} expects {per_group * groups}{product}")
        if k % groups:
            raise ValueError(f"the {k} filters of {w_name} do not divide into groups={groups}")
        output, pads = sliding.over(size, kernel, strict)
        return self.core(dtype, n, c, size, k, kernel, output, pads), layout.shape(n, k, output), k


def ready(layout: Layout, w: Array, b: Array | None, dtype: DType) -> tuple[Array, Array | None]:
    """Return checked weights and bias as the core takes them."""
    return layout.lift_filters(prepared(w, dtype)), None if b is None else prepared(b, dtype)


def check_algo(algo: str) -> str:
    """Return the core's name of an algorithm; whether it can serve the problem is the core's to say."""
    if algo not in ALGORITHMS:
        raise ValueError(f"algo must be one of {', '.join(ALGORITHMS)}, not {algo!r}")
    return core_algorithm(algo)


def is_relu(activation: str | None) -> bool:
    """Whether ``activation`` asks for a ReLU."""
    if activation is None or activation == "relu":
        return activation is not None
    raise ValueError(f'activation must be None or "relu", not {activation!r}')


def forward(
    layer: Convolution,
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None,
    activation: str | None,
    algo: str,
    strict: bool = False,
    out: Array | None = None,
    held: Weights | None = None,
) -> Array:
    """Convolve; ``held`` are the same weights, ready for the core, and serve if their dtype does."""
    relu = is_relu(activation)
    algo = check_algo(algo)
    x, w = as_array(x, "x"), as_array(w, "w")
    b = None if b is None else as_array(b, "b")
    result, dtype = promoted(x, w, b)
    core, shape, filters = layer.problem(dtype, x.shape, w.shape, bool(strict))
    if b is not None:
        check_shape(b, (filters,), "b")
    y = _core.empty(shape, dtype) if out is None else destination(out, shape, result, dtype, x=x, w=w, b=b)
    if core is not None:
        layout = layer.layout
        if held is not None and held.w.dtype == dtype:
            weights, bias, packed = held
        else:
            (weights, bias), packed = ready(layout, w, b, dtype), None
        image, threads = layout.lift(readable(x, dtype)), get_num_threads()
        core.forward(image, weights, bias, layout.lift(y), relu, algo, threads, packed)
    return delivered(y, result, out)


class _Gradients(NamedTuple):
    """The gradients of one problem, each computed when it is asked for; zeros where N = 0."""

    layout: Layout
    core: _core.ConvProblem | None
    dy: Array
    filters: int
    result: DType
    algo: str

    @classmethod
    def of(
        cls,
        layer: Convolution,
        dy: ArrayLike,
        operands: tuple[Array, ...],
        x: Shape,
        w: Shape,
        algo: str,
        x_name: str = "x",
        w_name: str = "w",
    ) -> _Gradients:
        algo = check_algo(algo)
        dy = as_array(dy, "dy")
        result, dtype = promoted(dy, *operands)
        core, shape, filters = layer.problem(dtype, x, w, x_name=x_name, w_name=w_name)
        check_shape(dy, shape, "dy", "the output of this convolution is")
        return cls(layer.layout, core, layer.layout.lift(readable(dy, dtype)), filters, result, algo)

    def _new(self, shape: Shape) -> Array:
        return (np.zeros if self.core is None else _core.empty)(shape, self.dy.dtype)

    def x(self, w: Array, shape: Shape) -> Array:
        dx = self._new(shape)
        if self.core is not None:
            filters = self.layout.lift_filters(prepared(w, self.dy.dtype))
            self.core.backward_input(self.dy, filters, None, self.layout.lift(dx), self.algo, get_num_threads())
        return delivered(dx, self.result)

    def w(self, x: Array, shape: Shape, out: Array | None = None) -> Array:
        dtype = self.dy.dtype
        dw = self._new(shape) if out is None else destination(out, shape, self.result, dtype, dy=self.dy, x=x)
        if self.core is not None:
            image = self.layout.lift(readable(x, dtype))
            self.core.backward_weight(self.dy, image, self.layout.lift_filters(dw), self.algo, get_num_threads())
        elif out is not None:
            dw[...] = 0
        return delivered(dw, self.result, out)

    def b(self) -> Array:
        db = self._new((self.filters,))
        if self.core is not None:
            self.core.backward_bias(self.dy, db, get_num_threads())
        return delivered(db, self.result)


def backward(
    layer: Convolution, dy: ArrayLike, x: ArrayLike, w: ArrayLike, algo: str, needs: Iterable[str]
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the gradients with respect to input, weights and bias, None for those not needed."""
    if not isinstance(needs, Iterable):
        raise TypeError(f'needs must be an iterable of "x", "w" and "b", not {needs!r}')
    wanted = set(needs)
    if not wanted <= {"x", "w", "b"}:
        raise ValueError(f'needs may hold "x", "w" and "b", not {wanted!r}')
    x, w = as_array(x, "x"), as_array(w, "w")
    gradients = _Gradients.of(layer, dy, (x, w), x.shape, w.shape, algo)
    return (
        gradients.x(w, x.shape) if "x" in wanted else None,
        gradients.w(x, w.shape) if "w" in wanted else None,
        gradients.b() if "b" in wanted else None,
    )


def backward_input(layer: Convolution, dy: ArrayLike, w: ArrayLike, input_shape: Sequence[int], algo: str) -> Array:
    """Return the gradient with respect to the input."""
    w, shape = as_array(w, "w"), as_shape(input_shape, "input_shape")
    return _Gradients.of(layer, dy, (w,), shape, w.shape, algo, x_name="input_shape").x(w, shape)


def backward_weight(
    layer: Convolution,
    dy: ArrayLike,
    x: ArrayLike,
    weight_shape: Sequence[int],
    algo: str,
    out: Array | None = None,
) -> Array:
    """Return the gradient with respect to the weights."""
    x, shape = as_array(x, "x"), as_shape(weight_shape, "weight_shape")
    return _Gradients.of(layer, dy, (x,), x.shape, shape, algo, w_name="weight_shape").w(x, shape, out)


def transpose(
    layer: Convolution, x: ArrayLike, w: ArrayLike, b: ArrayLike | None, output_padding: Ints, algo: str
) -> Array:
    """Convolve transposed: the input gradient of the convolution whose output has the shape of ``x``."""
    algo = check_algo(algo)
    layout, groups = layer.layout, layer.groups
    x, w = as_array(x, "x"), as_array(w, "w")
    b = None if b is None else as_array(b, "b")
    result, dtype = promoted(x, w, b)
    n, c, size = layout.sizes(x.shape, "x")
    k, per_group, kernel = layout.filter_sizes(w.shape, "w")
    if c != k:
        raise ValueError(f"x has {c} channels but w expects {k}")
    if c % groups:
        raise ValueError(f"the {c} channels of x do not divide into groups={groups}")
    channels = per_group * groups
    if b is not None:
        check_shape(b, (channels,), "b")
    output, pads = layer.sliding.transposed(size, kernel, output_padding)
    y = _core.empty(layout.shape(n, channels, output), dtype)
    core = layer.core(dtype, n, channels, output, k, kernel, size, pads)
    if core is not None:
        weights, bias = ready(layout, w, b, dtype)
        core.backward_input(layout.lift(readable(x, dtype)), weights, bias, layout.lift(y), algo, get_num_threads())
    return delivered(y, result)
