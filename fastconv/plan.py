"""A convolution that keeps its weights ready for the core."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from fastconv import _core
from fastconv.arrays import Array, as_array, check_shape, delivered, destination, promoted
from fastconv.conv_layer import Convolution, Weights, check_algo, forward, is_relu, ready
from fastconv.geometry import Ints, Padding, Pair
from fastconv.threads import get_num_threads
from fastconv.winograd import core_algorithm


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Conv2d:
    """`conv2d` with weights that are checked and packed once, or transformed where Winograd's algorithm is taken.

    Parameters
    ----------
    w : array_like, shape (K, C / groups, KH, KW)
        Filters, copied; (KH, KW, C / groups, K) with ``layout="NHWC"``.
    b : array_like, shape (K,), optional
        Bias, copied.
    stride, padding, dilation, groups, layout, activation, algo
        As in `conv2d`.

    Attributes
    ----------
    w, b : ndarray
        The copies, read-only; ``b`` may be None.
    stride, dilation : (int, int)
        Along height and width.
    padding : ((int, int), (int, int)) or "same"
        Top and bottom, left and right.
    groups, layout, activation, algo
        As given.

    Raises
    ------
    ValueError, TypeError
        As in `conv2d`.

    Notes
    -----
    Weights are packed by the first call that takes an algorithm and held for those that follow; Winograd's
    transformed filters take more memory, 4 times as much with F(4x4,3x3). Where that is beyond 16 MiB, a call of a few
    tiles holds packed ones instead and transforms them itself, which takes less time than to read 4 times as much; an
    instance that is called with few and with many tiles holds both. Several threads may call one instance at
    once. Instances pickle and copy; the copy packs again, for the processor it is on. Where an input promotes the
    weights to another dtype, they are converted in that call.

    Examples
    --------
    >>> import fastconv
    >>> import numpy as np
    >>> blur = fastconv.Conv2d(np.full((1, 1, 3, 3), 1 / 9), padding="same")
    >>> blur(np.ones((1, 1, 4, 4)))[0, 0, 1]
    array([0.66666667, 1.        , 1.        , 0.66666667])
    """

    w: Array
    b: Array | None
    stride: Pair
    padding: str | tuple[Pair, Pair]
    dilation: Pair
    groups: int
    layout: str
    activation: str | None
    algo: str
    _convolution: Convolution = field(init=False)
    _held: Weights = field(init=False)
    _last: _core.HeldConv | None = field(init=False)

    def __init__(
        self,
        w: ArrayLike,
        b: ArrayLike | None = None,
        *,
        stride: Ints = 1,
        padding: Padding = 0,
        dilation: Ints = 1,
        groups: SupportsIndex = 1,
        layout: str = "NCHW",
        activation: str | None = None,
        algo: str = "auto",
    ) -> None:
        is_relu(activation)
        check_algo(algo)
        convolution = Convolution.of(2, stride, padding, dilation, groups, layout)
        w = _frozen(as_array(w, "w"))
        b = None if b is None else _frozen(as_array(b, "b"))
        _, dtype = promoted(w, b)
        # What can be wrong with the weights does not depend on the size of the input: the smallest one stands for all.
        _, per_group, kernel = convolution.layout.filter_sizes(w.shape, "w")
        size = convolution.sliding.span(kernel)
        smallest = convolution.layout.shape(1, per_group * convolution.groups, size)
        _, _, filters = convolution.problem(dtype, smallest, w.shape)
        if b is not None:
            check_shape(b, (filters,), "b")
        weights, bias = ready(convolution.layout, w, b, dtype)
        _, stride, dilation, pads = convolution.sliding
        vars(self).update(
            w=w,
            b=b,
            stride=stride,
            padding="same" if pads is None else (pads[:2], pads[2:]),
            dilation=dilation,
            groups=convolution.groups,
            layout=layout,
            activation=activation,
            algo=algo,
            _convolution=convolution,
            _held=Weights(weights, bias, _core.PackedWeights()),
            _last=None,
        )

    def __call__(self, x: ArrayLike, out: Array | None = None) -> Array:
        """Convolve images.

        Parameters
        ----------
        x : array_like, shape (N, C, H, W)
            Images; (N, H, W, C) with ``layout="NHWC"``.
        out : ndarray, optional
            Where to put the result, as in `conv2d`.

        Returns
        -------
        ndarray, shape (N, K, OH, OW)
            (N, OH, OW, K) with ``layout="NHWC"``; ``out`` if it was given.

        Raises
        ------
        ValueError, TypeError
            As in `conv2d`.
        """
        last = self._last
        if last is None or not last.fits(x):
            return self._check_and_call(x, out)
        algo, threads = core_algorithm(self.algo), get_num_threads()
        if out is None:
            return last.forward(x, None, algo, threads)
        # Weights and bias are the layer's own: an output shares no memory with them.
        dtype = last.dtype
        y = destination(out, last.y_shape, dtype, dtype, x=x)
        return delivered(last.forward(x, y, algo, threads), dtype, out)

    def _check_and_call(self, x: ArrayLike, out: Array | None) -> Array:
        convolution, held = self._convolution, self._held
        relu = self.activation is not None
        y = forward(convolution, x, self.w, self.b, self.activation, self.algo, out=out, held=held)
        # Small images take less time than the checks: what has passed them is kept.
        if type(x) is np.ndarray and x.dtype is y.dtype is held.w.dtype:
            core, _, _ = convolution.problem(y.dtype, x.shape, self.w.shape)
            if core is not None:
                vars(self)["_last"] = _core.HeldConv(core, x.shape, *held, relu, y.shape, y.dtype)
        return y

    def _arguments(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __repr__(self) -> str:
        """Name the shape of the weights and every argument."""
        arguments = self._arguments()
        w, b = arguments.pop("w"), arguments.pop("b")
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return f"Conv2d(w={w.dtype}{w.shape}, b={None if b is None else f'{b.dtype}{b.shape}'}, {shown})"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was packed for this processor."""
        return self._arguments()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Pack again."""
        self.__init__(**state)  # type: ignore[misc]


def _frozen(array: Array) -> Array:
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy
