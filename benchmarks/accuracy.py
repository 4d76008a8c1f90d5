"""Rounding errors of every algorithm in float32, against float64, for 3x3 and 5x5 filters over 16 to 1024 channels.

    python benchmarks/accuracy.py --plot accuracy.png

Errors are relative to the root mean square of the exact output. Data are normal, N(0, 1), or normal behind a ReLU;
weights are normal. What is summed over grows: the channels of the images in the forward pass, of the output's gradient
in the input gradient, and the images of 28 x 28 pixels in the weight gradient. The table is Markdown, as
`docs/accuracy.md` has it.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import MARKDOWN
from rich.console import Console
from rich.progress import track
from rich.table import Table

import fastconv
from fastconv import _core, reference
from fastconv.cli.machine import cpu_name
from fastconv.conv_layer import Convolution

Array = NDArray[Any]

CHANNELS = (16, 32, 64, 128, 256, 512, 1024)
IMAGES = (1, 2, 4, 8, 16, 32, 128)  # of the weight gradient: 784 to 100,352 terms
OTHER_CHANNELS = 64  # those that are not summed
SIZE = 28  # pixels of a side; with the filters 50,176 outputs, of which the maximum is taken
OTHER_SHAPE = (1, OTHER_CHANNELS, SIZE, SIZE)
# Of Winograd, by the filters they take.
VARIANTS = {"F(2x2,3x3)": 3, "F(4x4,3x3)": 3, "F(6x6,3x3)": 3, "F(2x2,5x5)": 5, "F(3x3,5x5)": 5, "F(4x4,5x5)": 5}
FILTERS = (3, 5)
ALGORITHMS = ("direct", "im2col", *VARIANTS)
PASSES = ("forward", "input gradient", "weight gradient")
FEW_CHANNELS = 16  # of the weight gradient
DATA = ("N(0,1)", "ReLU of N(0,1)")
WIDTH = 220


@dataclass(frozen=True)
class Errors:
    """Errors of one algorithm on one problem, relative to the root mean square of the output."""

    rms: float
    largest: float

    @classmethod
    def of(cls, computed: Array, exact: Array) -> "Errors":
        """Compare a result with the exact one."""
        error, scale = computed - exact, float(np.sqrt(np.mean(np.square(exact))))
        return cls(float(np.sqrt(np.mean(np.square(error)))) / scale, float(np.max(np.abs(error))) / scale)

    def __str__(self) -> str:
        """Write the RMS and the largest error, as a cell of the table has them."""
        return f"{self.rms:.1e}, {self.largest:.1e}".replace("e-0", "e-")


@dataclass(frozen=True)
class Row:
    """One problem, its filters of `side` x `side` taps, and the errors of the algorithms that serve it.

    `summed` counts channels, or images in the weight gradient.
    """

    operation: str
    side: int
    data: str
    summed: int
    errors: dict[str, Errors]


def compute(operation: str, x: Array, w: Array, side: int, algo: str) -> Array:
    """Compute a pass by an algorithm, or by a variant, which only the core knows by name.

    `x` is what the pass reads, images or the gradient of the output; `w` the filters, or that gradient in the weight
    gradient.
    """
    if operation == "weight gradient":
        images, filters = x.shape, (OTHER_CHANNELS, FEW_CHANNELS, side, side)
    else:
        images, filters = x.shape if operation == "forward" else OTHER_SHAPE, w.shape
    problem, _, _ = Convolution.of(2, 1, "same", 1, 1, "NCHW").problem(x.dtype, images, filters)
    assert problem is not None  # N is not 0
    result = np.empty(filters if operation == "weight gradient" else OTHER_SHAPE, x.dtype)
    threads = fastconv.get_num_threads()
    if operation == "forward":
        problem.forward(x, w, None, result, False, algo, threads, None)
    elif operation == "input gradient":
        problem.backward_input(x, w, None, result, algo, threads)
    else:
        problem.backward_weight(w, x, result, algo, threads)
    return result


def exact(operation: str, x: Array, w: Array, side: int) -> Array:
    """Compute the same in float64, in plain NumPy."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    if operation == "forward":
        return reference.conv2d(x, w, padding="same")
    if operation == "input gradient":
        return reference.conv2d_backward_input(x, w, OTHER_SHAPE, padding="same")
    return reference.conv2d_backward_weight(w, x, (OTHER_CHANNELS, FEW_CHANNELS, side, side), padding="same")


def measure(operation: str, side: int, data: str, summed: int, seed: int) -> Row:
    """Measure all algorithms on one problem."""
    rng = np.random.default_rng(seed)
    if operation == "weight gradient":
        shape, others = (summed, FEW_CHANNELS, SIZE, SIZE), (summed, OTHER_CHANNELS, SIZE, SIZE)
    else:
        filters = (OTHER_CHANNELS, summed) if operation == "forward" else (summed, OTHER_CHANNELS)
        shape, others = (1, summed, SIZE, SIZE), (*filters, side, side)
    x = rng.standard_normal(shape, dtype=np.float32)
    if data != DATA[0]:
        x = np.maximum(x, 0)
    w = rng.standard_normal(others, dtype=np.float32)
    expected = exact(operation, x, w, side)
    errors = {}
    for algo in ALGORITHMS:
        if VARIANTS.get(algo, side) == side:
            with suppress(ValueError):  # it refuses so long a sum
                errors[algo] = Errors.of(compute(operation, x, w, side, algo), expected)
    return Row(operation, side, data, summed, errors)


def table(rows: Sequence[Row]) -> Table:
    """One row a problem; a cell is the RMS error and the largest."""
    result = Table(box=MARKDOWN)
    for heading in ("pass", "filters", "data"):
        result.add_column(heading, no_wrap=True)
    for heading in ("summed", *ALGORITHMS):
        result.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = (str(row.errors[algo]) if algo in row.errors else "-" for algo in ALGORITHMS)
        result.add_row(row.operation, f"{row.side}x{row.side}", row.data, str(row.summed), *cells)
    return result


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw the errors over the channels, a panel for each pass and kind of data."""
    from matplotlib import pyplot as plt

    plt.style.use("tableau-colorblind10")
    columns = [(side, data) for side in FILTERS for data in DATA]
    figure, axes = plt.subplots(
        len(PASSES), len(columns), figsize=(17, 11), sharex="row", sharey=True, layout="constrained"
    )
    for line, operation in zip(axes, PASSES, strict=True):
        for axis, (side, data) in zip(line, columns, strict=True):
            panel = [row for row in rows if (row.operation, row.side, row.data) == (operation, side, data)]
            summed = [row.summed for row in panel]
            for i, algo in enumerate(ALGORITHMS):
                # Empty lines give every panel the legend of all; the widths let what coincides show through.
                errors, width = [row.errors[algo] for row in panel if algo in row.errors], max(1, 4 - i)
                at = summed[: len(errors)]
                axis.plot(at, [error.rms for error in errors], f"C{i}o-", lw=width, label=f"{algo}, RMS")
                axis.plot(at, [error.largest for error in errors], f"C{i}^--", lw=width, label=f"{algo}, largest")
            axis.set(xscale="log", yscale="log", title=f"{operation}, {side}x{side}, {data}")
            axis.set_xticks(summed, [str(count) for count in summed])
            axis.minorticks_off()
            axis.grid(alpha=0.3)
    figure.supxlabel("channels that are summed; in the weight gradient images of 28 x 28 pixels")
    figure.supylabel("error, relative to the RMS of the output")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(ALGORITHMS))
    figure.savefig(path, dpi=72)
    plt.close(figure)


def main() -> int:
    """Measure, print the table and draw the plot."""
    parser = argparse.ArgumentParser(description="Rounding errors in float32 against float64, 3x3 and 5x5 filters.")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the errors to FILE (PNG); needs matplotlib")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random data; default 0")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    problems = [*product(PASSES[:2], FILTERS, DATA, CHANNELS), *product(PASSES[2:], FILTERS, DATA, IMAGES)]
    rows = [
        measure(*problem, arguments.seed)
        for problem in track(problems, "measuring", console=console, transient=True, disable=not console.is_terminal)
    ]
    console.print(f"{cpu_name()}: {_core.isa()}; fastconv {fastconv.__version__}; RMS error, largest error")
    console.print(table(rows))
    if arguments.plot is not None:
        plot(rows, arguments.plot)
        console.print(f"wrote {arguments.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
