"""The kinds of layers: what each makes of a shape, which parameters it has and how many multiply-adds it takes.

Shapes are those of one image: (C, H, W), or (features,) behind a fully connected layer. The letters of the fields
are those of the text that networks are written in (`fastconv.zoo.grammar`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from fastconv.geometry import Pair, Sliding, check_windows_hold_pixels

Shape: TypeAlias = tuple[int, ...]

__all__ = [
    "AveragePool",
    "Branches",
    "Conv",
    "Dense",
    "Layer",
    "MaxPool",
    "Network",
    "PositionBias",
    "ResponseNorm",
    "Shape",
    "Softmax",
    "Window",
]


@dataclass(frozen=True)
class Layer(ABC):
    """One layer of a network, by its name."""

    kind: ClassVar[str]
    name: str

    @abstractmethod
    def output(self, shape: Shape) -> Shape:
        """Shape of the output for an input of ``shape``; ValueError if the layer cannot take it."""

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        """Shapes of the parameters for an input of ``shape``, by name."""
        return {}

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of convolutions and products for an input of ``shape``; other kinds count none."""
        return 0

    def _image(self, shape: Shape) -> tuple[int, Pair]:
        """Channels and size of an input that must be an image."""
        if len(shape) != 3:
            raise ValueError(f"{self.name} takes an image (C, H, W), but its input has shape {shape}")
        return shape[0], (shape[1], shape[2])


@dataclass(frozen=True, kw_only=True)
class Window(Layer):
    """A layer with a window of r x s taps, steps of u, v and padding p, q; s, v and q are r, u and p if None."""

    r: int
    s: int | None = None
    u: int | None = None
    v: int | None = None
    p: int = 0
    q: int | None = None

    def __post_init__(self) -> None:
        """Refuse an empty window and a step of nothing."""
        for letter in "rsuv":
            value = getattr(self, letter)
            if value is not None and value < 1:
                raise ValueError(f"{self.name}: {letter} must be at least 1, got {value}")

    @property
    def size(self) -> Pair:
        """Taps along height and width."""
        return self.r, self.r if self.s is None else self.s

    @property
    def stride(self) -> Pair:
        """Pixels between two windows along height and width."""
        u = self._default_stride() if self.u is None else self.u
        return u, u if self.v is None else self.v

    @property
    def padding(self) -> Pair:
        """Pixels around the image along height and width."""
        return self.p, self.p if self.q is None else self.q

    def _default_stride(self) -> int:
        return 1

    def _windows(self, shape: Shape, ceil: bool = False, holds_pixels: bool = False) -> Pair:
        """Windows along height and width."""
        _, size = self._image(shape)
        sliding = Sliding.of(2, self.stride, self.padding, 1)
        try:
            output, pads = sliding.over(size, self.size, ceil=ceil)
            if holds_pixels:
                check_windows_hold_pixels(sliding, size, self.size, output, pads)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None
        return output


@dataclass(frozen=True, kw_only=True)
class Conv(Window):
    """A convolution with k filters in g groups, a bias unless ``nobias``, and a ReLU unless ``linear``."""

    kind = "conv"
    k: int
    g: int = 1
    linear: bool = False
    nobias: bool = False

    def __post_init__(self) -> None:
        """Refuse filters that do not divide into groups."""
        super().__post_init__()
        if self.k < 1 or self.g < 1 or self.k % self.g:
            raise ValueError(f"{self.name}: k{self.k} filters do not divide into g{self.g} groups")

    def output(self, shape: Shape) -> Shape:
        """(k, OH, OW)."""
        channels, _ = self._image(shape)
        if channels % self.g:
            raise ValueError(f"{self.name}: {channels} channels do not divide into g{self.g} groups")
        return (self.k, *self._windows(shape))

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        """Weights OIHW and the bias."""
        weight = (self.k, shape[0] // self.g, *self.size)
        return {"weight": weight} if self.nobias else {"weight": weight, "bias": (self.k,)}

    def multiply_adds(self, shape: Shape) -> int:
        """Each weight once for each output pixel, padding included."""
        _, height, width = self.output(shape)
        return math.prod(self.parameters(shape)["weight"]) * height * width


@dataclass(frozen=True, kw_only=True)
class _Pool(Window):
    """A pool; its stride is its window's height by default. ``ceil`` rounds the output size up."""

    ceil: bool = False

    def _default_stride(self) -> int:
        return self.r

    def output(self, shape: Shape) -> Shape:
        """(C, OH, OW)."""
        return (shape[0], *self._windows(shape, self.ceil, holds_pixels=True))


class MaxPool(_Pool):
    """The maximum of each window."""

    kind = "pool"


class AveragePool(_Pool):
    """The mean of each window, the zeros around the image included."""

    kind = "mean"


@dataclass(frozen=True, kw_only=True)
class ResponseNorm(Layer):
    """Local response normalisation across channels, with the arguments of `fastconv.local_response_norm`."""

    kind = "norm"
    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def output(self, shape: Shape) -> Shape:
        """Keep the shape of the input."""
        self._image(shape)
        return shape


@dataclass(frozen=True, kw_only=True)
class Dense(Layer):
    """A fully connected layer of k units over the flattened input, with bias, and a ReLU unless ``linear``."""

    kind = "fc"
    k: int
    linear: bool = False

    def output(self, shape: Shape) -> Shape:
        """(k,)."""
        return (self.k,)

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        """Weights (outputs, inputs), as PyTorch has them, and the bias."""
        return {"weight": (self.k, math.prod(shape)), "bias": (self.k,)}

    def multiply_adds(self, shape: Shape) -> int:
        """Each weight once."""
        return self.k * math.prod(shape)


@dataclass(frozen=True)
class PositionBias(Layer):
    """A bias of its own for each position, added to all that the input has."""

    kind = "bias"

    def output(self, shape: Shape) -> Shape:
        """Keep the shape of the input."""
        return shape

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        """One bias for each element of the input."""
        return {"bias": shape}


@dataclass(frozen=True)
class Softmax(Layer):
    """Probabilities over the flattened input."""

    kind = "softmax"

    def output(self, shape: Shape) -> Shape:
        """(features,)."""
        return (math.prod(shape),)


@dataclass(frozen=True)
class Branches(Layer):
    """Several chains of layers over the same input, their outputs side by side along the channels."""

    kind = "branches"
    chains: tuple[tuple[Layer, ...], ...]

    def output(self, shape: Shape) -> Shape:
        """(sum of the chains' channels, H, W)."""
        outputs = [chain_output(chain, shape) for chain in self.chains]
        for output in outputs:
            self._image(output)
        if len({output[1:] for output in outputs}) != 1:
            raise ValueError(f"{self.name}: its branches give images of different sizes: {outputs}")
        return (sum(output[0] for output in outputs), *outputs[0][1:])


def chain_output(chain: tuple[Layer, ...], shape: Shape) -> Shape:
    """Shape behind all layers of a chain."""
    for layer in chain:
        shape = layer.output(shape)
    return shape


@dataclass(frozen=True)
class Network:
    """A network as data.

    Parameters
    ----------
    name : str
        Its name.
    input : (int, int, int)
        Channels, height and width of an image. ``dataclasses.replace(net, input=(3, 64, 64))`` is the same network
        for smaller images.
    layers : tuple of Layer
        From input to output.
    aliases : tuple of str
        Other names.

    Raises
    ------
    ValueError
        If a layer cannot take what the one before it gives, or two layers have one name.
    """

    name: str
    input: Shape
    layers: tuple[Layer, ...]
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse layers that do not fit together."""
        if len(self.input) != 3 or min(self.input) < 1:
            raise ValueError(f"{self.name}: the input must be (C, H, W), not {self.input}")
        if not self.layers:
            raise ValueError(f"{self.name} has no layers")
        names = [layer.name for layer, _ in self.walk()]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"{self.name}: two layers are called {min(twice)}")

    @property
    def output(self) -> Shape:
        """Shape of the output for one image."""
        return chain_output(self.layers, self.input)

    def walk(self) -> list[tuple[Layer, Shape]]:
        """Every layer with the shape of its input, in order; those of branches come before the `Branches`."""
        return _walk(self.layers, self.input)


def _walk(chain: tuple[Layer, ...], shape: Shape) -> list[tuple[Layer, Shape]]:
    visited: list[tuple[Layer, Shape]] = []
    for layer in chain:
        output = layer.output(shape)
        if isinstance(layer, Branches):
            visited += (step for branch in layer.chains for step in _walk(branch, shape))
        visited.append((layer, shape))
        shape = output
    return visited
