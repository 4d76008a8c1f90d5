"""One class for each kind of layer that computes it, forward and backward.

Every gradient that a step is handed is its own: it may be overwritten. Convolutions and pools write into buffers that
the next pass with as many images reuses, so that no pass pays for fresh pages.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Generic, TypeVar, cast

import numpy as np

import fastconv
from fastconv import conv_layer
from fastconv.arrays import Array
from fastconv.zoo import kinds
from fastconv.zoo.blas import product
from fastconv.zoo.kinds import Layer, Shape

__all__ = ["Chain", "Step", "Watch", "step_of"]

Watch = Callable[[str, str, float], None]
"""Called with a layer's name, "forward" or "backward", and seconds."""

_FEW = 32  # images up to which fastconv's products beat BLAS: 1.1 to 3 times on AlexNet's fully connected layers

_ONE_PIXEL = conv_layer.Convolution.of(2, 1, 0, 1, 1, "NCHW")

L = TypeVar("L", bound=Layer)


class Step(ABC, Generic[L]):
    """A layer at work: its parameters, their gradients, and what the backward pass needs of the forward pass."""

    def __init__(self, layer: L, shape: Shape, parameters: dict[str, Array]) -> None:
        self.layer = layer
        self.output = layer.output(shape)
        self.parameters = parameters
        self.gradients: dict[str, Array] = {}
        self._buffer: Array | None = None

    @abstractmethod
    def forward(self, x: Array, out: Array | None) -> Array:
        """Return the output, in ``out`` where the layer can write there; without it perhaps in a buffer."""

    @abstractmethod
    def backward(self, dy: Array, needs_dx: bool) -> Array | None:
        """Fill `gradients` and return the gradient by the input if it is needed."""

    def freeze(self) -> None:
        """Prepare the parameters, which will not change any more, for forward passes."""

    def _destination(self, x: Array, out: Array | None) -> Array:
        shape = (len(x), *self.output)
        if out is not None:
            return out
        if self._buffer is None or self._buffer.shape != shape:
            self._buffer = np.empty(shape, x.dtype)
        return self._buffer


class _Conv(Step[kinds.Conv]):
    _held: fastconv.Conv2d | None = None

    def _arguments(self) -> dict[str, Any]:
        return {"stride": self.layer.stride, "padding": self.layer.padding, "groups": self.layer.g}

    def forward(self, x: Array, out: Array | None) -> Array:
        self.x, self.y = x, self._destination(x, out)
        if self._held is not None:
            return self._held(x, self.y)
        activation = None if self.layer.linear else "relu"
        w, b = self.parameters["weight"], self.parameters.get("bias")
        return fastconv.conv2d(x, w, b, activation=activation, out=self.y, **self._arguments())

    def backward(self, dy: Array, needs_dx: bool) -> Array | None:
        if not self.layer.linear:
            _through_relu(dy, self.y)
        needs = ["w", *["x"] * needs_dx, *["b"] * ("bias" in self.parameters)]
        w = self.parameters["weight"]
        dx, dw, db = fastconv.conv2d_backward(dy, self.x, w, needs=needs, **self._arguments())
        gradients = {"weight": dw, "bias": db}
        self.gradients = {name: cast(Array, gradients[name]) for name in self.parameters}
        return dx

    def freeze(self) -> None:
        activation = None if self.layer.linear else "relu"
        w, b = self.parameters["weight"], self.parameters.get("bias")
        self._held = fastconv.Conv2d(w, b, activation=activation, **self._arguments())


class _MaxPool(Step[kinds.MaxPool]):
    def forward(self, x: Array, out: Array | None) -> Array:
        self.x = x
        y = self._destination(x, out)
        fastconv.max_pool2d(x, self.layer.size, out=y, **_pool_arguments(self.layer))
        return y

    def backward(self, dy: Array, needs_dx: bool) -> Array | None:
        if not needs_dx:
            return None
        return fastconv.max_pool2d_backward(dy, self.x, self.layer.size, **_pool_arguments(self.layer))


class _AveragePool(Step[kinds.AveragePool]):
    def forward(self, x: Array, out: Array | None) -> Array:
        self.shape = x.shape
        return fastconv.avg_pool2d(x, self.layer.size, **_pool_arguments(self.layer))

    def backward(self, dy: Array, needs_dx: bool) -> Array | None:
        if not needs_dx:
            return None
        return fastconv.avg_pool2d_backward(dy, self.shape, self.layer.size, **_pool_arguments(self.layer))


class _ResponseNorm(Step[kinds.ResponseNorm]):
    def _arguments(self) -> dict[str, Any]:
        return {"alpha": self.layer.alpha, "beta": self.layer.beta, "k": self.layer.k}

    def forward(self, x: Array, out: Array | None) -> Array:
        self.x = x
        return fastconv.local_response_norm(x, self.layer.size, **self._arguments())

    def backward(self, dy: Array, needs_dx: bool) -> Array | None:
        if not needs_dx:
            return None
        return fastconv.local_response_norm_backward(dy, self.x, self.layer.size, **self._arguments())


class _Dense(Step[kinds.Dense]):
    """Products by NumPy's BLAS, but for few images.

    There reading and writing the weights is all the work: a 1x1 convolution of images of one pixel passes over them
    once, with the threads that the convolutions before it have awake.
    """

    def forward(self, x: Array, out: Array | None) -> Array:
        w, b = self.parameters["weight"], self.parameters["bias"]
        self.shape, self.x = x.shape, x.reshape(len(x), w.shape[1])
        if len(x) <= _FEW:
            activation = None if self.layer.linear else "relu"
            self.y = fastconv.conv2d(_pixels(self.x), _pixels(w), b, activation=activation)[:, :, 0, 0]
            return self.y
        self.y = product(self.x, w.T)
        self.y += b
        if not self.layer.linear:
            np.maximum(self.y, 0, out=self.y)
        return self.y

    def backward(self, dy: Array, needs_dx: bool) -> Array | None:
        if not self.layer.linear:
            _through_relu(dy, self.y)
        w = self.parameters["weight"]
        # Into the array of the last pass: the pages of a new one would cost more than the product.
        dw = self.gradients["weight"] if self.gradients else np.empty_like(w)
        self.gradients = {"weight": dw, "bias": dy.sum(axis=0)}
        if len(dy) <= _FEW:
            pixels, filters = _pixels(dy), _pixels(w)
            conv_layer.backward_weight(_ONE_PIXEL, pixels, _pixels(self.x), filters.shape, "auto", out=_pixels(dw))
            dx = fastconv.conv2d_backward_input(pixels, filters, (*self.x.shape, 1, 1)) if needs_dx else None
        else:
            product(dy.T, self.x, out=dw)
            dx = product(dy, w) if needs_dx else None
        return None if dx is None else dx.reshape(self.shape)


class _PositionBias(Step[kinds.PositionBias]):
    def forward(self, x: Array, out: Array | None) -> Array:
        return x + self.parameters["bias"]

    def backward(self, dy: Array, needs_dx: bool) -> Array | None:
        self.gradients = {"bias": dy.sum(axis=0)}
        return dy


class _Softmax(Step[kinds.Softmax]):
    def forward(self, x: Array, out: Array | None) -> Array:
        self.shape = x.shape
        scores = x.reshape(len(x), *self.output)
        self.y: Array = np.exp(scores - scores.max(axis=1, keepdims=True))
        self.y /= self.y.sum(axis=1, keepdims=True)
        return self.y

    def backward(self, dy: Array, needs_dx: bool) -> Array | None:
        dy -= (dy * self.y).sum(axis=1, keepdims=True)
        dy *= self.y
        return dy.reshape(self.shape)


class _Branched(Step[kinds.Branches]):
    """Branches at work: the chains of layers, each a `Chain`."""

    def __init__(self, layer: kinds.Branches, shape: Shape, chains: Sequence[Chain]) -> None:
        super().__init__(layer, shape, {})
        self.chains = chains

    def forward(self, x: Array, out: Array | None) -> Array:
        y = self._destination(x, out)
        for chain, part in zip(self.chains, self._parts(y), strict=True):
            # The channels of one image lie together: there the last layer of a branch writes into its part of y.
            target = part if part.flags.c_contiguous else None
            output = chain.forward(x, target)
            if output is not target:
                part[...] = output
        return y

    def backward(self, dy: Array, needs_dx: bool) -> Array | None:
        dx: Array | None = None
        for chain, part in zip(self.chains, self._parts(dy), strict=True):
            share = chain.backward(part, needs_dx)
            if share is not None:
                if dx is None:
                    dx = share
                else:
                    dx += share
        return dx

    def _parts(self, whole: Array) -> list[Array]:
        """Return views of the channels of each branch."""
        channels = [chain.output[0] for chain in self.chains]
        return np.split(whole, np.cumsum(channels)[:-1], axis=1)


class Chain:
    """Steps one after the other; `watch`, if there is one, is told the time of each."""

    watch: Watch | None = None

    def __init__(self, steps: Sequence[Step[Any]]) -> None:
        self.steps = steps
        self.output = steps[-1].output

    def forward(self, x: Array, out: Array | None) -> Array:
        """Return the output of the last step, in ``out`` where that can write there."""
        last = self.steps[-1]
        for step in self.steps:
            start = perf_counter()
            x = step.forward(x, out if step is last else None)
            if self.watch:
                self.watch(step.layer.name, "forward", perf_counter() - start)
        return x

    def backward(self, dy: Array, needs_dx: bool) -> Array | None:
        """Fill the gradients of all steps and return the gradient by the input of the first if it is needed."""
        first, dx = self.steps[0], dy
        for step in reversed(self.steps):
            start = perf_counter()
            dx = cast(Array, step.backward(dx, needs_dx or step is not first))
            if self.watch:
                self.watch(step.layer.name, "backward", perf_counter() - start)
        return dx if needs_dx else None


_STEPS: dict[type[Layer], type[Step[Any]]] = {
    kinds.Conv: _Conv,
    kinds.MaxPool: _MaxPool,
    kinds.AveragePool: _AveragePool,
    kinds.ResponseNorm: _ResponseNorm,
    kinds.Dense: _Dense,
    kinds.PositionBias: _PositionBias,
    kinds.Softmax: _Softmax,
}


def step_of(layer: Layer, shape: Shape, parameters: dict[str, Array], chains: Sequence[Chain]) -> Step[Any]:
    """Return the step that computes a layer for images of ``shape``; ``chains`` are those of branches."""
    if isinstance(layer, kinds.Branches):
        return _Branched(layer, shape, chains)
    return _STEPS[type(layer)](layer, shape, parameters)


def _through_relu(dy: Array, y: Array) -> None:
    """Turn the gradient behind a ReLU with output ``y`` into the one before it, in place."""
    np.multiply(dy, y > 0, out=dy)


def _pixels(matrix: Array) -> Array:
    """View rows as images of one pixel, or as filters of one tap."""
    return matrix[:, :, np.newaxis, np.newaxis]


def _pool_arguments(layer: kinds.MaxPool | kinds.AveragePool) -> dict[str, Any]:
    return {"stride": layer.stride, "padding": layer.padding, "ceil_mode": layer.ceil}
