"""Trains a network of `fastconv.zoo` on scikit-learn's handwritten digits, for train_lenet.py and train_alexnet.py.

The 8x8 digits are scaled up to 32x32. A quarter of them is held out; the exit status is 1 if the accuracy on it stays
below --goal.
"""

import argparse
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

from fastconv import zoo

Array = NDArray[Any]

EPOCHS, GOAL = 40, 0.98
SHORT_EPOCHS, SHORT_GOAL = 4, 0.9
BATCH = 64
RATE, DECAY_1, DECAY_2, EPSILON = 2e-3, 0.9, 0.999, 1e-8  # of Adam (Kingma and Ba, 2014)


class Adam:
    """Adam over the parameters of a model, in place; its rate falls to zero over `steps` along a cosine."""

    def __init__(self, model: zoo.Model, steps: int) -> None:
        self.model, self.steps = model, steps
        self.moments = {name: (np.zeros_like(p), np.zeros_like(p)) for name, p in model.parameters.items()}
        self.step_number = 0

    def step(self) -> None:
        """Move every parameter along its gradient."""
        self.step_number += 1
        rate = RATE * (1 + np.cos(np.pi * self.step_number / self.steps)) / 2
        rate *= np.sqrt(1 - DECAY_2**self.step_number) / (1 - DECAY_1**self.step_number)
        gradients = self.model.gradients
        for name, parameter in self.model.parameters.items():
            gradient, (mean, square) = gradients[name], self.moments[name]
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


def accuracy(model: zoo.Model, data: Data) -> float:
    """Share of digits whose score is the highest."""
    return float(np.mean(model.forward(data.images).argmax(axis=1) == data.digits))


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


def train_epoch(model: zoo.Model, adam: Adam, data: Data, rng: np.random.Generator) -> Iterator[float]:
    """One step a batch, in random order, without the odd images of the last; yields the loss of each."""
    order = rng.permutation(len(data.digits))
    for batch in order[: len(order) // BATCH * BATCH].reshape(-1, BATCH):
        loss, gradient = softmax_loss(model.forward(shifted(data.images[batch], rng)), data.digits[batch])
        model.backward(gradient)
        adam.step()
        yield loss


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


def main(net: zoo.Network, description: str | None) -> int:
    """Train a network, report and plot; 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    output = Path(f"{net.name}.png")
    parser.add_argument("--output", type=Path, default=output, help=f"plot to write; default {output}")
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
    model = zoo.build(net)
    layer_seconds = dict.fromkeys((layer.name for layer in net.layers), 0.0)

    def watch(layer: str, direction: str, seconds: float) -> None:
        layer_seconds[layer] += seconds

    losses: list[float] = []
    accuracies: list[float] = []
    seconds = 0.0
    steps = epochs * (len(training.digits) // BATCH)
    adam = Adam(model, steps)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns) as progress:
        task = progress.add_task("epoch 1", total=steps)
        for epoch in range(1, epochs + 1):
            model.watch(watch)
            start = perf_counter()
            for loss in train_epoch(model, adam, training, rng):
                losses.append(loss)
                progress.advance(task)
            seconds += perf_counter() - start
            model.watch(None)
            accuracies.append(accuracy(model, held_out))
            progress.update(task, description=f"epoch {epoch}, {accuracies[-1]:.1%} right")

    plot(losses, accuracies, goal, arguments.output)
    rate = steps * BATCH / seconds
    in_convolutions = sum(layer_seconds[layer.name] for layer in net.layers if layer.kind == "conv")
    print(f"trained on {rate:.0f} images/s; {in_convolutions / seconds:.0%} of {seconds:.1f} s in convolutions")
    print(f"accuracy on {len(held_out.digits)} held-out digits: {accuracies[-1]:.2%}, goal {goal:.1%}")
    print(f"wrote {arguments.output}")
    return 0 if accuracies[-1] >= goal else 1
