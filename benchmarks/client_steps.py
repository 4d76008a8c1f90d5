"""One training step of each client as its users write it, with the client's own operators and with fastconv's.

A builder takes the number of images and returns the two steps; a step returns its loss, or its output if the client
only runs networks forward. Both start from the same parameters and see the same data at every call.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cs231n_numpy
import numpy as np
from numpy.typing import NDArray

__all__ = ["CLIENTS", "Step"]

Array = NDArray[Any]
Step = Callable[[], Any]

CLASSES = 10
RATE = 1e-3
SIDE = 32  # of the images, with 3 channels
FILTERS = (32, 64)  # 3x3, each layer before a ReLU and a pool of 2x2


def _images(count: int, channels: int = 3, side: int = SIDE) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, channels, side, side), dtype=np.float32), rng.integers(0, CLASSES, count)


def _parameters() -> list[Array]:
    """Weights and biases of two convolutions and a linear layer."""
    rng = np.random.default_rng(1)
    features = FILTERS[1] * (SIDE // 4) ** 2
    shapes = [(FILTERS[0], 3, 3, 3), (FILTERS[1], FILTERS[0], 3, 3), (features, CLASSES)]
    weights = [rng.standard_normal(shape, dtype=np.float32) * 0.05 for shape in shapes]
    biases = [np.zeros(size, np.float32) for size in (*FILTERS, CLASSES)]
    return [array for pair in zip(weights, biases, strict=True) for array in pair]


def cs231n(count: int) -> tuple[Step, Step]:
    """Build the assignment's three-layer network: 32 filters of 7x7, a pool of 2x2, 100 hidden units."""
    from fastconv.integrations import cs231n as ours

    x, labels = _images(count)

    def step_of(layers: Any) -> Step:
        net = cs231n_numpy.ThreeLayerConvNet(layers, np.random.default_rng(1))
        return lambda: net.step(x, labels, RATE)

    return step_of(cs231n_numpy), step_of(ours)


def autograd(count: int) -> tuple[Step, Step]:
    """Build the LeNet of autograd's example: 6 and 16 filters of 5x5 over MNIST's images, in float64."""
    import autograd.numpy as anp
    from autograd import value_and_grad
    from autograd.scipy.signal import convolve

    from fastconv.integrations.autograd import conv2d, max_pool2d

    images, labels = _images(count, 1, 28)
    x, hot = images.astype(float), np.eye(CLASSES)[labels]
    rng = np.random.default_rng(1)
    shapes = [(1, 6, 5, 5), (6, 16, 5, 5), (256, 120), (120, 84), (84, CLASSES)]
    weights = [rng.standard_normal(shape) * 0.1 for shape in shapes]
    biases = [np.zeros((1, 6, 1, 1)), np.zeros((1, 16, 1, 1)), *(np.zeros(shape[1]) for shape in shapes[2:])]

    def stock_conv(x: Any, w: Any) -> Any:
        return convolve(x, w, axes=([2, 3], [2, 3]), dot_axes=([1], [0]), mode="valid")

    def stock_pool(x: Any) -> Any:
        n, c, h, w = x.shape
        return anp.max(anp.max(anp.reshape(x, (n, c, h // 2, 2, w // 2, 2)), axis=3), axis=4)

    def step_of(conv: Callable[..., Any], pool: Callable[..., Any], parameters: list[tuple[Array, Array]]) -> Step:
        def loss(parameters: Any) -> Any:
            y = x
            for w, b in parameters[:2]:
                y = pool(conv(y, w) + b)
            y = anp.reshape(y, (count, -1))
            for w, b in parameters[2:-1]:
                y = anp.tanh(anp.dot(y, w) + b)
            y = anp.dot(y, parameters[-1][0]) + parameters[-1][1]
            largest = anp.max(y, axis=1, keepdims=True)
            log_sum = largest + anp.log(anp.sum(anp.exp(y - largest), axis=1, keepdims=True))
            return anp.mean(anp.sum((log_sum - y) * hot, axis=1))

        gradient = value_and_grad(loss)

        def step() -> Any:
            value, slopes = gradient(parameters)
            for pair, slope in zip(parameters, slopes, strict=True):
                for array, change in zip(pair, slope, strict=True):
                    array -= RATE * change
            return value

        return step

    pairs = list(zip(weights, biases, strict=True))
    # convolve turns filters by half a turn and has their input channels first; fastconv's layout is PyTorch's.
    turned = [np.ascontiguousarray(w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]) for w in weights[:2]]
    own = [(w.copy(), b.copy()) for w, b in zip([*turned, *weights[2:]], biases, strict=True)]
    return step_of(stock_conv, stock_pool, pairs), step_of(conv2d, lambda x: max_pool2d(x, 2), own)


def dezero(count: int) -> tuple[Step, Step]:
    """Build two convolutions and a linear layer out of DeZero's layers, trained by its SGD."""
    from fastconv.integrations.dezero import patch  # isort: skip  # lets DeZero be imported on a NumPy from 1.24 on
    import dezero.functions as F
    import dezero.layers as L
    from dezero import Model, optimizers

    x, labels = _images(count)

    class Net(Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = L.Conv2d(FILTERS[0], 3, pad=1, in_channels=3)
            self.conv2 = L.Conv2d(FILTERS[1], 3, pad=1, in_channels=FILTERS[0])
            self.linear = L.Linear(CLASSES, in_size=FILTERS[1] * (SIDE // 4) ** 2)
            layers = (self.conv1, self.conv2, self.linear)
            targets = [parameter for layer in layers for parameter in (layer.W, layer.b)]
            for parameter, value in zip(targets, _parameters(), strict=True):
                parameter.data = value

        def forward(self, x: Any) -> Any:
            for conv in (self.conv1, self.conv2):
                x = F.pooling(F.relu(conv(x)), 2, 2)
            return self.linear(F.reshape(x, (x.shape[0], -1)))

    def step_of() -> Step:
        net = Net()
        optimizer = optimizers.SGD(RATE).setup(net)

        def step() -> Any:
            loss = F.softmax_cross_entropy(net(x), labels)
            net.cleargrads()
            loss.backward()
            optimizer.update()
            return loss.data

        return step

    return step_of(), _patched(step_of(), patch)


def mygrad(count: int) -> tuple[Step, Step]:
    """Build the same network out of MyGrad's functions."""
    import mygrad as mg
    from mygrad.nnet.activations import relu
    from mygrad.nnet.layers import conv_nd, max_pool
    from mygrad.nnet.losses import softmax_crossentropy

    from fastconv.integrations.mygrad import patch

    x, labels = _images(count)

    def step_of() -> Step:
        tensors = [mg.tensor(value) for value in _parameters()]

        def step() -> Any:
            y: Any = mg.tensor(x, constant=True)
            for w, b in (tensors[:2], tensors[2:4]):
                y = max_pool(relu(conv_nd(y, w, stride=1, padding=1) + b.reshape(1, -1, 1, 1)), (2, 2), 2)
            loss = softmax_crossentropy(mg.matmul(y.reshape(count, -1), tensors[4]) + tensors[5], labels)
            loss.backward()
            for tensor in tensors:
                tensor.data -= RATE * tensor.grad
            return loss.item()

        return step

    return step_of(), _patched(step_of(), patch)


def onnx(count: int) -> tuple[Step, Step]:
    """Build the same network, forward only, for ONNX's reference evaluator."""
    from onnx import TensorProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    from fastconv.integrations.onnx import operators

    x, _ = _images(count)
    names = ("w1", "b1", "w2", "b2", "w3", "b3")
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], **pool),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["p2"], **pool),
        helper.make_node("Flatten", ["p2"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (count, CLASSES))],
        [numpy_helper.from_array(value, name) for name, value in zip(names, _parameters(), strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    stock, ours = ReferenceEvaluator(model), ReferenceEvaluator(model, new_ops=operators())
    return lambda: stock.run(None, {"x": x})[0], lambda: ours.run(None, {"x": x})[0]


def _patched(step: Step, patch: Callable[[], Any]) -> Step:
    def patched() -> Any:
        with patch():
            return step()

    return patched


CLIENTS = {
    "cs231n": SimpleNamespace(build=cs231n, images=50, does="three-layer network, a training step"),
    "autograd": SimpleNamespace(build=autograd, images=64, does="LeNet of its example, a training step"),
    "dezero": SimpleNamespace(build=dezero, images=32, does="two convolutions, a training step"),
    "mygrad": SimpleNamespace(build=mygrad, images=32, does="two convolutions, a training step"),
    "onnx": SimpleNamespace(build=onnx, images=8, does="two convolutions, forward"),
}
"""Builders, numbers of images, and what is timed, by client."""
