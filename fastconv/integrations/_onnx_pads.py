"""ONNX's attributes of a window, resolved: strides, dilations and the padding of each axis.

The rules are those of https://onnx.ai/onnx/operators, Conv, ConvTranspose and MaxPool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Sides = tuple[tuple[int, int], ...]

_AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


class Window(NamedTuple):
    """A window that slides over one or two axes: a number of each for every axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    @classmethod
    def of(cls, kernel: Sequence[int], attributes: Mapping[str, Any]) -> Window:
        """Take the window of a node; strides and dilations are 1 where it has none."""
        ones = (1,) * len(kernel)
        return cls(tuple(kernel), tuple(attributes.get("strides") or ones), tuple(attributes.get("dilations") or ones))

    @property
    def span(self) -> tuple[int, ...]:
        """Pixels from the first tap to the last, both included."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def padding(self, size: Sequence[int], attributes: Mapping[str, Any]) -> Sides:
        """Return ((before, after), ...) of each axis for a convolution or a pool over an input of ``size``."""
        auto_pad = _auto_pad(attributes)
        if not auto_pad.startswith("SAME"):
            return _explicit(auto_pad, attributes, len(size))
        totals = (
            max((-(-length // stride) - 1) * stride + span - length, 0)
            for length, stride, span in zip(size, self.stride, self.span, strict=True)
        )
        return tuple(_halves(total, upper=auto_pad == "SAME_UPPER") for total in totals)

    def transposed(self, size: Sequence[int], attributes: Mapping[str, Any]) -> tuple[Sides, tuple[int, ...]]:
        """Return what a transposed convolution cuts off each axis, and the pixels that it appends."""
        rank, auto_pad = len(size), _auto_pad(attributes)
        extra = tuple(attributes.get("output_padding") or (0,) * rank)
        output = attributes.get("output_shape")
        if not output and auto_pad.startswith("SAME"):
            output = [length * stride for length, stride in zip(size, self.stride, strict=True)]
        if output:
            axes = zip(size, self.stride, self.span, extra, output[-rank:], strict=True)
            totals = [(length - 1) * stride + span + e - wanted for length, stride, span, e, wanted in axes]
            # An output longer than all the filters reach has nothing to cut: it goes on after the last pixel.
            cut = [_halves(t, upper=auto_pad == "SAME_UPPER") if t > 0 else (0, t) for t in totals]
        else:
            cut = list(_explicit(auto_pad, attributes, rank))
        after = [end - e for (_, end), e in zip(cut, extra, strict=True)]
        sides = tuple((start, max(end, 0)) for (start, _), end in zip(cut, after, strict=True))
        return sides, tuple(max(-end, 0) for end in after)


def _auto_pad(attributes: Mapping[str, Any]) -> str:
    auto_pad = attributes.get("auto_pad") or "NOTSET"
    if auto_pad not in _AUTO_PADS:
        raise ValueError(f"auto_pad must be one of {', '.join(_AUTO_PADS)}, not {auto_pad!r}")
    return str(auto_pad)


def _explicit(auto_pad: str, attributes: Mapping[str, Any], rank: int) -> Sides:
    pads = attributes.get("pads")
    if auto_pad == "VALID" or not pads:
        return ((0, 0),) * rank
    return tuple(zip(pads[:rank], pads[rank:], strict=True))


def _halves(total: int, upper: bool) -> tuple[int, int]:
    """Split padding over both sides, the odd pixel after with ``upper``, else before."""
    less, more = total // 2, total - total // 2
    return (less, more) if upper else (more, less)
