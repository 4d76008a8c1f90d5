"""Trains LeNet-5 on scikit-learn's handwritten digits: convolutions and pooling by fastconv, forward and backward.

    python examples/train_lenet.py --output lenet.png

The network is that of LeCun et al., "Gradient-based learning applied to document recognition" (1998), with ReLU, max
pooling and softmax. The 8x8 digits are scaled up to its 32x32 input. A quarter of them is held out; the exit status is
1 if the accuracy on it stays below --goal.
"""

import argparse
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import fastconv

Array = NDArray[Any]

EPOCHS, GOAL = 40, 0.98
SHORT_EPOCHS, SHORT_GOAL = 4, 0.9
BATCH = 64
RATE, DECAY_1, DECAY_2, EPSILON = 2e-3, 0.9, 0.999, 1e-8  # of Adam (Kingma and Ba, 2014)


class Layer(ABC):
    """A layer, its parameters and, after `backward`, their gradients."""

    def __init__(self, *parameters: Array) -> None:
        self.parameters = parameters
        self.gradients: tuple[Any, ...] = ()

    @abstractmethod
    def forward(self, x: Array) -> Array:
        """Return the output and keep what `backward` needs."""

    @abstractmethod
    def backward(self, dy: Array) -> Any:
        """Return the gradient by the input and keep those by the parameters."""


def he_normal(rng: np.random.Generator, fan_in: int, shape: tuple[int, ...]) -> Array:
    """Draw initial weights of a layer with ReLU (He et al. 2015)."""
    return rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)


class Conv(Layer):
    """A 5x5 convolution with bias and ReLU; `seconds` is the time spent in fastconv."""

    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int) -> None:
        super().__init__(he_normal(rng, 25 * inputs, (outputs, inputs, 5, 5)), np.zeros(outputs, np.float32))
        self.seconds = 0.0

    def forward(self, x: Array) -> Array:
        """(N, inputs, H, W) to (N, outputs, H - 4, W - 4)."""
        start = perf_counter()
        self.x = x
        self.y: Array = fastconv.conv2d(x, *self.parameters, activation="relu")
        self.seconds += perf_counter() - start
        return self.y

    def backward(self, dy: Array) -> Any:
        """Gradient by the input, through the ReLU."""
        dy = dy * (self.y > 0)
        start = perf_counter()
        dx, *gradients = fastconv.conv2d_backward(dy, self.x, self.parameters[0])
        self.seconds += perf_counter() - start
        self.gradients = tuple(gradients)
        return dx


class MaxPool(Layer):
    """2x2 max pooling."""

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) to (N, C, H / 2, W / 2)."""
        self.x = x
        y: Array = fastconv.max_pool2d(x, 2)
        return y

    def backward(self, dy: Array) -> Any:
        """Gradient by the input."""
        return fastconv.max_pool2d_backward(dy, self.x, 2)


class Dense(Layer):
    """A fully connected layer over the flattened input, with ReLU unless it is the last."""

    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int, last: bool = False) -> None:
        super().__init__(he_normal(rng, inputs, (inputs, outputs)), np.zeros(outputs, np.float32))
        self.last = last

    def forward(self, x: Array) -> Array:
        """(N, ...) to (N, outputs)."""
        self.shape = x.shape
        self.x = x.reshape(len(x), -1)
        y: Array = self.x @ self.parameters[0] + self.parameters[1]
        self.y = y if self.last else np.maximum(y, 0)
        return self.y

    def backward(self, dy: Array) -> Any:
        """Gradient by the input, through the ReLU if there is one."""
        if not self.last:
            dy = dy * (self.y > 0)
        self.gradients = self.x.T @ dy, dy.sum(axis=0)
        return (dy @ self.parameters[0].T).reshape(self.shape)


class Adam:
    """Adam over the parameters of all layers, in place; its rate falls to zero over `steps` along a cosine."""

    def __init__(self, layers: list[Layer], steps: int) -> None:
        self.layers = layers
        self.steps = steps
        self.moments = [[(np.zeros_like(p), np.zeros_like(p)) for p in layer.parameters] for layer in layers]
        self.step_number = 0

    def step(self) -> None:
        """Move every parameter along its gradient."""
        self.step_number += 1
        rate = RATE * (1 + np.cos(np.pi * self.step_number / self.steps)) / 2
        rate *= np.sqrt(1 - DECAY_2**self.step_number) / (1 - DECAY_1**self.step_number)
        for layer, moments in zip(self.layers, self.moments, strict=True):
            for parameter, gradient, (mean, square) in zip(layer.parameters, layer.gradients, moments, strict=True):
                mean += (1 - DECAY_1) * (gradient - mean)
                square += (1 - DECAY_2) * (gradient * gradient - square)
                parameter -= rate * mean / (np.sqrt(square) + EPSILON)


class Data(NamedTuple):
    """Images of shape (N, 1, 32, 32), float32 in -1..1, and their digits."""

    images: Array
    digits: Array


def load() -> tuple[Data, Data]:
    """Training and held-out digits, always the same split."""
    images, digits = load_digits(return_X_y=True)
    images = zoom(images.reshape(-1, 8, 8) / 8 - 1, (1, 4, 4), order=1).astype(np.float32)[:, np.newaxis]
    train_x, held_x, train_y, held_y = train_test_split(images, digits, test_size=0.25, random_state=0, stratify=digits)
    return Data(train_x, train_y), Data(held_x, held_y)


def lenet(rng: np.random.Generator) -> list[Layer]:
    """LeNet-5: 32x32 to 28, 14, 10, 5 and 1 pixels across, then 84 and 10 units."""
    convolutions = [Conv(rng, 1, 6), MaxPool(), Conv(rng, 6, 16), MaxPool(), Conv(rng, 16, 120)]
    return [*convolutions, Dense(rng, 120, 84), Dense(rng, 84, 10, last=True)]


def forward(layers: list[Layer], x: Array) -> Array:
    """Scores of the ten digits, (N, 10)."""
    for layer in layers:
        x = layer.forward(x)
    return x


def accuracy(layers: list[Layer], data: Data) -> float:
    """Share of digits whose score is the highest."""
    return float(np.mean(forward(layers, data.images).argmax(axis=1) == data.digits))


def softmax_loss(scores: Array, digits: Array) -> tuple[float, Array]:
    """Return the mean cross-entropy of the softmax and its gradient by the scores."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = np.arange(len(digits))
    gradient = np.exp(log_probability)
    gradient[rows, digits] -= 1
    return -float(log_probability[rows, digits].mean()), gradient / len(digits)


def shifted(images: Array, rng: np.random.Generator) -> Array:
    """Move each image by up to 2 pixels along both axes; -1 is the background that comes in."""
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=-1)
    corners = rng.integers(0, 5, (len(images), 2))
    crops = [image[:, top : top + 32, left : left + 32] for image, (top, left) in zip(padded, corners, strict=True)]
    return np.stack(crops)


def train_epoch(layers: list[Layer], adam: Adam, data: Data, rng: np.random.Generator) -> Iterator[float]:
    """One step a batch, in random order, without the odd images of the last; yields the loss of each."""
    order = rng.permutation(len(data.digits))
    for batch in order[: len(order) // BATCH * BATCH].reshape(-1, BATCH):
        loss, gradient = softmax_loss(forward(layers, shifted(data.images[batch], rng)), data.digits[batch])
        for layer in reversed(layers):
            gradient = layer.backward(gradient)
        adam.step()
        yield loss


def conv_seconds(layers: list[Layer]) -> float:
    """Time spent in convolutions so far."""
    return sum(layer.seconds for layer in layers if isinstance(layer, Conv))


def plot(losses: list[float], accuracies: list[float], goal: float, output: Path) -> None:
    """Write the loss by step and the held-out accuracy by epoch into one PNG."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    left.semilogy(losses, linewidth=0.8)
    left.set(xlabel="step", ylabel="cross-entropy of the batch", title="training loss")
    right.plot(range(1, len(accuracies) + 1), [100 * a for a in accuracies], marker="o")
    right.axhline(100 * goal, color="gray", linestyle="--", label=f"goal, {goal:.1%}")
    right.set(xlabel="epoch", ylabel="accuracy, %", title="held-out digits")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.legend()
    figure.savefig(output, dpi=110)
    plt.close(figure)


def main() -> int:
    """Train, report and plot; 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description="Train LeNet-5 on handwritten digits with fastconv.")
    parser.add_argument("--output", type=Path, default=Path("lenet.png"), help="plot to write; default lenet.png")
    parser.add_argument("--epochs", type=int, help=f"default {EPOCHS}, with --short {SHORT_EPOCHS}")
    parser.add_argument("--goal", type=float, help=f"accuracy to reach; default {GOAL}, with --short {SHORT_GOAL}")
    parser.add_argument("--short", action="store_true", help="few epochs and a lower goal: does it learn at all?")
    arguments = parser.parse_args()
    epochs = (SHORT_EPOCHS if arguments.short else EPOCHS) if arguments.epochs is None else arguments.epochs
    goal = (SHORT_GOAL if arguments.short else GOAL) if arguments.goal is None else arguments.goal
    if epochs < 1:
        parser.error(f"--epochs must be at least 1, got {epochs}")

    rng = np.random.default_rng(0)
    training, held_out = load()
    layers = lenet(rng)
    losses: list[float] = []
    accuracies: list[float] = []
    seconds = in_convolutions = 0.0
    steps = epochs * (len(training.digits) // BATCH)
    adam = Adam(layers, steps)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    # The idle threads of OpenBLAS spin for about 0.1 s after each product, on the cores that the next layer needs.
    with Progress(*columns) as progress, threadpool_limits(1, user_api="blas"):
        task = progress.add_task("epoch 1", total=steps)
        for epoch in range(1, epochs + 1):
            start, convolutions = perf_counter(), conv_seconds(layers)
            for loss in train_epoch(layers, adam, training, rng):
                losses.append(loss)
                progress.advance(task)
            seconds += perf_counter() - start
            in_convolutions += conv_seconds(layers) - convolutions
            accuracies.append(accuracy(layers, held_out))
            progress.update(task, description=f"epoch {epoch}, {accuracies[-1]:.1%} right")

    plot(losses, accuracies, goal, arguments.output)
    rate = steps * BATCH / seconds
    print(f"trained on {rate:.0f} images/s; {in_convolutions / seconds:.0%} of {seconds:.1f} s in convolutions")
    print(f"accuracy on {len(held_out.digits)} held-out digits: {accuracies[-1]:.2%}, goal {goal:.1%}")
    print(f"wrote {arguments.output}")
    return 0 if accuracies[-1] >= goal else 1


if __name__ == "__main__":
    sys.exit(main())
