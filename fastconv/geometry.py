"""Strides, paddings and output sizes: the integers of a layer, checked and resolved.

Every layer has two axes here; a one-dimensional layer has a height of one, which its window leaves alone.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsIndex, TypeAlias, TypeGuard

import numpy as np

Ints: TypeAlias = SupportsIndex | Sequence[SupportsIndex]
Padding: TypeAlias = SupportsIndex | str | Sequence[SupportsIndex] | Sequence[Sequence[SupportsIndex]]
Pair: TypeAlias = tuple[int, int]
Pads: TypeAlias = tuple[int, int, int, int]

LARGEST = 2**63 - 1
AXES = {1: ("height", "length"), 2: ("height", "width")}
_INTS = {1: "one int", 2: "an int or a pair"}
_PADDING_FORMS = {
    1: 'an int, ((left, right),), "same" or "valid"',
    2: 'an int, a pair, ((top, bottom), (left, right)), "same" or "valid"',
}


def integer(value: Any, name: str, least: int, most: int = LARGEST) -> int:
    """Return ``value`` as an int between ``least`` and ``most``; floats and bools are no integers."""
    if type(value) is not int:
        try:
            if isinstance(value, bool):
                raise TypeError
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{name} must be an integer, not {value!r} ({type(value).__name__})") from None
    number: int = value
    if number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")
    if number > most:
        raise ValueError(f"{name} must be at most {most}, not {number}")
    return number


def is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether ``value`` is a tuple, a list or an array with axes."""
    return isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def pair(value: Ints, rank: int, name: str, least: int = 1) -> Pair:
    """Return ``value`` for height and width; with one axis the height takes the least value, which is neutral."""
    if type(value) is int and rank == 2 and least <= value <= LARGEST:
        return value, value
    if type(value) is int or not is_sequence(value):
        width = integer(value, name, least)
        return (width, width) if rank == 2 else (least, width)
    if len(value) != rank:
        raise ValueError(f"{name} must be {_INTS[rank]}, not {value!r}")
    height, width = (least, *value) if rank == 1 else value
    return integer(height, name, least), integer(width, name, least)


def pads(value: Padding, rank: int) -> Pads | None:
    """Return ``value`` as (top, bottom, left, right), or None for "same", which needs the size of the input."""
    if isinstance(value, str):
        if value not in ("same", "valid"):
            raise ValueError(f"padding must be {_PADDING_FORMS[rank]}, not {value!r}")
        return None if value == "same" else (0, 0, 0, 0)
    if type(value) is int or not is_sequence(value):
        side = integer(value, "padding", 0)
        return (side, side, side, side) if rank == 2 else (0, 0, side, side)
    nested = [is_sequence(item) and len(item) == 2 for item in value]
    flat = [not is_sequence(item) for item in value]
    if len(value) != rank or not (all(nested) or all(flat)):
        raise ValueError(f"padding must be {_PADDING_FORMS[rank]}, not {value!r}")
    sides = [integer(side, "padding", 0) for item in value for side in (item if nested[0] else (item, item))]
    top, bottom, left, right = sides if rank == 2 else (0, 0, *sides)
    return top, bottom, left, right


def _same(size: int, span: int, stride: int) -> Pair:
    """Return padding before and after that gives ceil(size / stride) windows, the odd pixel after."""
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2


def _windows(size: int, span: int, stride: int, before: int, after: int, axis: str, strict: bool, ceil: bool) -> int:
    """Count the windows over one padded axis."""
    padded = size + before + after
    if not (strict or ceil) and span <= padded <= LARGEST:
        return (padded - span) // stride + 1
    if padded > LARGEST:
        raise ValueError(f"a padded {axis} of {size} + {before} + {after} pixels does not fit in 64 bits")
    room = padded - span
    if strict and room % stride and room > 0:
        sizes = f"{size} + {before + after}" if padded > size else f"{size}"
        raise ValueError(
            f"a filter of {span} does not tile the {axis} with stride {stride}: "
            f"({sizes} - {span}) / {stride} + 1 = {room / stride + 1:.2f}"
        )
    count = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (count - 1) * stride >= size + before:  # the last window would start in the padding after the input
        count -= 1
    if count < 1:
        raise ValueError(
            f"a kernel that spans {span} does not fit the padded {axis} of {size} + {before} + {after} = {padded}"
        )
    return count


class Sliding(NamedTuple):
    """How a window moves over an input of any size; ``padding`` None is "same"."""

    rank: int
    stride: Pair
    dilation: Pair
    padding: Pads | None

    @classmethod
    def of(cls, rank: int, stride: Ints, padding: Padding, dilation: Ints) -> Sliding:
        """Check the arguments of a layer with ``rank`` spatial axes."""
        return cls(rank, pair(stride, rank, "stride"), pair(dilation, rank, "dilation"), pads(padding, rank))

    def span(self, kernel: Pair) -> Pair:
        """Return the pixels from the first to the last tap of ``kernel``, both included."""
        return self.dilation[0] * (kernel[0] - 1) + 1, self.dilation[1] * (kernel[1] - 1) + 1

    def over(self, size: Pair, kernel: Pair, strict: bool = False, ceil: bool = False) -> tuple[Pair, Pads]:
        """Return output size and padding of ``kernel`` over an input of ``size``."""
        rank, (stride_h, stride_w), (dilation_h, dilation_w), padding = self
        span_h, span_w = dilation_h * (kernel[0] - 1) + 1, dilation_w * (kernel[1] - 1) + 1
        if padding is None:
            padding = _same(size[0], span_h, stride_h) + _same(size[1], span_w, stride_w)
        top, bottom, left, right = padding
        axis_h, axis_w = AXES[rank]
        return (
            _windows(size[0], span_h, stride_h, top, bottom, axis_h, strict, ceil),
            _windows(size[1], span_w, stride_w, left, right, axis_w, strict, ceil),
        ), padding

    def transposed(self, size: Pair, kernel: Pair, output_padding: Ints) -> tuple[Pair, Pads]:
        """Return the output size of a transposed convolution, and the padding of the one it is the gradient of."""
        extra, span, padding = pair(output_padding, self.rank, "output_padding", 0), self.span(kernel), self.padding
        output: list[int] = []
        resolved: list[int] = []
        for i, axis in enumerate(AXES[self.rank]):
            stride, dilation = self.stride[i], self.dilation[i]
            if extra[i] >= max(stride, dilation):
                raise ValueError(
                    f"output_padding of {extra[i]} must be smaller than the stride {stride} or the dilation {dilation}"
                )
            sides = None if padding is None else (padding[2 * i], padding[2 * i + 1])
            pixels, cut = transposed_axis(size[i], span[i], stride, sides, extra[i], axis)
            output.append(pixels)
            resolved += cut
        return (output[0], output[1]), (resolved[0], resolved[1], resolved[2], resolved[3])


def check_windows_hold_pixels(sliding: Sliding, size: Pair, kernel: Pair, output: Pair, padding: Pads) -> None:
    """Refuse a pool whose padding leaves a window without a pixel: it has no maximum and no mean."""
    # A short way for the usual case, neighbouring taps: a window with less padding than it spans reaches a pixel.
    if sliding.dilation == (1, 1) and max(padding) < min(kernel):
        return
    for axis, name in enumerate(AXES[sliding.rank]):
        span, stride, dilation = sliding.span(kernel)[axis], sliding.stride[axis], sliding.dilation[axis]
        before, after = padding[2 * axis : 2 * axis + 2]
        if max(before, after) >= span:
            raise ValueError(f"padding {(before, after)} of the {name} must be smaller than the dilated kernel, {span}")
        # Taps further apart than the input is long can step over it: the first tap that is not before it lies beyond.
        # Where windows begin modulo the dilation moves on by a step, or not at all: then the first stands for all.
        end = -before + 1 if stride % dilation == 0 else output[axis] * stride - before
        starts = range(-before, min(end, 0), stride) if dilation > size[axis] else ()
        if any(start % dilation >= size[axis] for start in starts):
            raise ValueError(
                f"a kernel of {kernel[axis]} with dilation {dilation} and padding {(before, after)} "
                f"steps over a {name} of {size[axis]}: a window holds no pixel"
            )


def transposed_axis(
    size: int, span: int, stride: int, pads: Pair | None, output_padding: int, axis: str
) -> tuple[int, Pair]:
    """Return the output size of a transposed convolution's axis, and the padding of the one it is the gradient of."""
    full = (size - 1) * stride + span
    if pads is None:
        total = full + output_padding - size * stride
        if total < 0:
            raise ValueError(
                f'padding="same" cannot give a {axis} of {size} * {stride} = {size * stride}: '
                f"the filters reach {full} pixels and output_padding is {output_padding}"
            )
        pads = total // 2, total - total // 2
    before, after = pads
    output = full + output_padding - before - after
    if output < 1 or full + output_padding > LARGEST:
        raise ValueError(
            f"the output's {axis} cannot be ({size} - 1) * {stride} + {span} + {output_padding} - {before} - {after} "
            f"= {output} pixels"
        )
    return output, (before, max(after - output_padding, 0))


def conv_output_size(
    n: SupportsIndex,
    kernel: SupportsIndex,
    *,
    stride: SupportsIndex = 1,
    padding: Padding = 0,
    dilation: SupportsIndex = 1,
    strict: bool = False,
) -> int:
    """Output pixels of a convolution along one axis.

    Computes ``floor((n + padding before and after - dilation * (kernel - 1) - 1) / stride) + 1``, the
    ``(N - F + 2P) / S + 1`` of Stanford's CS231n notes on convolutional networks.

    Parameters
    ----------
    n : int
        Input pixels along the axis, at least 1.
    kernel : int
        Taps of the filter along the axis, at least 1.
    stride, dilation : int
        Pixels between two windows, and between two taps of a window, at least 1.
    padding : int, ((before, after),), "same" or "valid"
        Pixels added on each side. "same" pads for ``ceil(n / stride)`` outputs, the odd pixel after the input.
    strict : bool
        Refuse a filter that does not tile the padded input exactly.

    Returns
    -------
    int
        The number of windows, at least 1.

    Raises
    ------
    ValueError
        If an argument is out of range, the dilated kernel exceeds the padded input, or ``strict`` is not met.
    TypeError
        If an argument is not an integer.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.conv_output_size(227, 11, stride=4)
    55
    >>> fastconv.conv_output_size(7, 3, stride=3, strict=True)
    Traceback (most recent call last):
        ...
    ValueError: a filter of 3 does not tile the length with stride 3: (7 - 3) / 3 + 1 = 2.33
    """
    sliding = Sliding.of(1, stride, padding, dilation)
    output, _ = sliding.over((1, integer(n, "n", 1)), (1, integer(kernel, "kernel", 1)), strict)
    return output[1]
