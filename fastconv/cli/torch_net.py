"""A network of `fastconv.zoo` in PyTorch, from the same data and parameters: a peer to time and to test against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from fastconv.arrays import Array
from fastconv.zoo.kinds import (
    AveragePool,
    Branches,
    Conv,
    Dense,
    Layer,
    MaxPool,
    Network,
    PositionBias,
    ResponseNorm,
    Softmax,
)

__all__ = ["TorchModel"]


class TorchModel:
    """A network in PyTorch.

    Parameters
    ----------
    network : Network
        The data.
    parameters : mapping of str to ndarray
        Those of a `fastconv.zoo.Model`; copied.
    channels_last : bool
        Keep images and filters with the channels innermost.

    Attributes
    ----------
    parameters : dict of str to Tensor
        By the same names, with their gradients in ``grad``.
    """

    def __init__(self, network: Network, parameters: Mapping[str, Array], *, channels_last: bool = False) -> None:
        self.network = network
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self.parameters = {name: self.tensor(value).requires_grad_() for name, value in parameters.items()}

    def tensor(self, array: Array) -> Any:
        """Copy an array into a tensor, in the layout of the model if it has four axes."""
        tensor = torch.tensor(np.asarray(array))
        return tensor.contiguous(memory_format=self._format) if tensor.ndim == 4 else tensor

    def forward(self, x: Any) -> Any:
        """Return the output for images of shape (N, C, H, W)."""
        return self._chain(self.network.layers, x)

    def _chain(self, layers: tuple[Layer, ...], x: Any) -> Any:
        for layer in layers:
            x = self._layer(layer, x)
        return x

    def _layer(self, layer: Layer, x: Any) -> Any:
        w, b = (self.parameters.get(f"{layer.name}.{name}") for name in ("weight", "bias"))
        match layer:
            case Conv():
                y = F.conv2d(x, w, b, layer.stride, layer.padding, groups=layer.g)
                return y if layer.linear else F.relu(y, inplace=True)
            case MaxPool():
                return F.max_pool2d(x, layer.size, layer.stride, layer.padding, ceil_mode=layer.ceil)
            case AveragePool():
                return F.avg_pool2d(x, layer.size, layer.stride, layer.padding, ceil_mode=layer.ceil)
            case ResponseNorm():
                return F.local_response_norm(x, layer.size, layer.alpha, layer.beta, layer.k)
            case Dense():
                y = F.linear(x.flatten(1), w, b)
                return y if layer.linear else F.relu(y, inplace=True)
            case PositionBias():
                return x + b
            case Softmax():
                return F.softmax(x.flatten(1), 1)
            case Branches():
                return torch.cat([self._chain(chain, x) for chain in layer.chains], 1)
        raise TypeError(f"{layer.name}: PyTorch's side does not know {type(layer).__name__}")
