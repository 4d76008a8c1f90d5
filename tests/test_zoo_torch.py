"""Every network, forward and backward, is the same network in PyTorch with the same weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastconv import zoo

torch = pytest.importorskip("torch")

from fastconv.cli.torch_net import TorchModel  # noqa: E402

# Smaller images where every layer still has pixels. VGG D is tested at its own size, as is GoogLeNet.
SMALLER = {"alexnet": 99, "alexnet-grouped": 99, "zfnet": 100} | {f"vgg-{c}": 64 for c in ("a", "a-lrn", "b", "c", "e")}


def network(name: str) -> zoo.Network:
    net = zoo.network(name)
    return replace(net, input=(3, SMALLER[name], SMALLER[name])) if name in SMALLER else net


def error(actual: Any, expected: Any) -> float:
    """Root mean square of the difference, relative to that of what is expected."""
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def compare(name: str, dtype: Any, n: int) -> tuple[float, dict[str, float]]:
    """Errors of the output, and of the gradients by images and parameters."""
    net = network(name)
    model = zoo.build(net, dtype=dtype)
    rng = np.random.default_rng(0)
    for key, parameter in model.parameters.items():
        if key.endswith("bias"):
            parameter[...] = 0.1 * rng.standard_normal(parameter.shape)
    x = rng.standard_normal((n, *net.input)).astype(dtype)
    peer = TorchModel(net, model.parameters)
    images = peer.tensor(x).requires_grad_()
    y, expected = model.forward(x), peer.forward(images)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx = model.backward(dy, input_gradient=True)
    expected.backward(torch.tensor(dy))
    assert model.gradients.keys() == peer.parameters.keys()
    errors = {key: error(model.gradients[key], value.grad.numpy()) for key, value in peer.parameters.items()}
    return error(y, expected.detach().numpy()), errors | {"images": error(dx, images.grad.numpy())}


@pytest.mark.parametrize("name", zoo.names())
def test_float32(name: str) -> None:
    """To rounding; a ReLU or a maximum that rounding tips over moves a few gradients by one pixel's share."""
    output, gradients = compare(name, np.float32, 2 if name in ("lenet5", "alphago") else 1)
    assert output < 5e-6
    assert np.median(list(gradients.values())) < 0.02
    assert max(gradients.values()) < 0.05


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "alexnet-grouped", "vgg-c", "googlenet", "zfnet", "alphago"])
def test_float64(name: str) -> None:
    """Every kind of layer, with nothing tipped over: gradients to rounding."""
    output, gradients = compare(name, np.float64, 1 if name == "googlenet" else 2)
    assert output < 1e-13
    assert max(gradients.values()) < 1e-12


def test_channels_last() -> None:
    """The other layout that the benchmark times computes the same."""
    net = network("lenet5")
    model = zoo.build(net)
    peer = TorchModel(net, model.parameters, channels_last=True)
    x = np.random.default_rng(0).standard_normal((4, *net.input), dtype=np.float32)
    with torch.inference_mode():
        assert error(model.forward(x), peer.forward(peer.tensor(x)).numpy()) < 1e-6
