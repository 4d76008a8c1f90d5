"""Times of a whole network: layer by layer, and end to end against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from fastconv import zoo
from fastconv.arrays import Array

__all__ = ["LayerTime", "candidate", "layer_times", "peers"]

_TOLERANCE = 1e-4  # of the output's root mean square: rounding of tens of layers in float32


@dataclass(frozen=True)
class LayerTime:
    """A layer of the network itself, its branches included: sizes for one image, seconds for the batch."""

    name: str
    kind: str
    output: tuple[int, ...]
    activations: int
    parameters: int
    multiply_adds: int
    forward: float
    backward: float

    @property
    def seconds(self) -> float:
        """Time of both passes."""
        return self.forward + self.backward


def images(net: zoo.Network, batch: int) -> Array:
    """Reproducible images."""
    return np.random.default_rng(0).standard_normal((batch, *net.input), dtype=np.float32)


def candidate(model: zoo.Model, batch: int) -> Callable[[], object]:
    """Return a call that does a forward pass, and a backward pass if the model is not frozen."""
    x = images(model.network, batch)
    dy = np.ones((batch, *model.network.output), np.float32)

    def step() -> object:
        y = model.forward(x)
        if not model.frozen:
            model.backward(dy)
        return y

    return step


def layer_times(model: zoo.Model, step: Callable[[], object], *, rounds: int, seconds: float) -> list[LayerTime]:
    """Time each layer in several passes; the best of each counts.

    Parameters
    ----------
    model : Model
        The model that `step` runs.
    step : callable
        From `candidate`.
    rounds, seconds : int, float
        Most passes, and the time budget; at least one pass runs.
    """
    best: dict[tuple[str, str], float] = {}

    def note(layer: str, direction: str, time: float) -> None:
        best[layer, direction] = min(best.get((layer, direction), float("inf")), time)

    step()  # packs weights, fills caches
    model.watch(note)
    end = perf_counter() + seconds
    for _ in range(rounds):
        step()
        if perf_counter() > end:
            break
    model.watch(None)
    rows = zoo.layers(model.network)
    result = []
    for layer in model.network.layers:
        parts = [row for row in rows if row.name == layer.name or row.name.startswith(f"{layer.name}.")]
        result.append(
            LayerTime(
                layer.name,
                layer.kind,
                parts[-1].output,
                activations=sum(part.activations for part in parts),
                parameters=sum(part.parameters for part in parts),
                multiply_adds=sum(part.multiply_adds for part in parts),
                forward=best[layer.name, "forward"],
                backward=best.get((layer.name, "backward"), 0.0),
            )
        )
    return result


def peers(model: zoo.Model, batch: int, threads: int) -> dict[str, Callable[[], Any]]:
    """Return the same work in PyTorch, in both layouts.

    Raises
    ------
    ImportError
        Without PyTorch.
    ArithmeticError
        If its output is not the model's.
    """
    import torch

    from fastconv.cli.torch_net import TorchModel

    torch.set_num_threads(threads)
    dy = torch.ones((batch, *model.network.output))

    def step(peer: TorchModel, x: Any) -> Any:
        mode: AbstractContextManager[Any] = torch.inference_mode() if model.frozen else nullcontext()
        with mode:
            y = peer.forward(x)
        if not model.frozen:
            for parameter in peer.parameters.values():
                parameter.grad = None
            y.backward(dy)
        return y

    x = images(model.network, batch)
    expected = model.forward(x)
    calls: dict[str, Callable[[], Any]] = {}
    for name, channels_last in (("PyTorch NCHW", False), ("PyTorch channels_last", True)):
        peer = TorchModel(model.network, model.parameters, channels_last=channels_last)
        calls[name] = partial(step, peer, peer.tensor(x))
        difference = calls[name]().detach().numpy() - expected
        error = float(np.abs(difference).max() / np.sqrt(np.mean(np.square(expected))))
        if not error <= _TOLERANCE:
            raise ArithmeticError(f"{name}: the output differs by {error:.1e} of its size")
    return calls
