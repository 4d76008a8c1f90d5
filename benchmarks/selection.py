"""The algorithm that ``"auto"`` takes against the fastest that serves, on random problems and on the networks' layers.

    python benchmarks/selection.py --problems 200 --layout NCHW

A problem's loss is the time of the algorithm taken, over that of the fastest. Algorithms take turns, and more of them
where the loss is more than a tenth, so that a disturbed turn does not count as one; losses of 1.2x and more are timed
again after all others, and each algorithm's fastest turn counts. Problems are written in the grammar of
`fastconv.cli.problems`, in which `python -m fastconv bench` takes them too. The command needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import fastconv
from fastconv import _core
from fastconv.cli.machine import cpu_name
from fastconv.cli.problems import Problem, network, network_names
from fastconv.cli.timing import best_times, turn

ALGORITHMS = ("direct", "im2col", "winograd")
OPERATIONS = ("forward", "backward_input", "backward_weight")
# Of random problems; sizes are drawn from lists, channels and filters evenly on a logarithmic scale.
SIDES = (1, 1, 2, 3, 3, 3, 5, 5, 7)
STRIDES = (1, 1, 1, 1, 2)
HEIGHTS = (6, 7, 8, 10, 13, 14, 17, 19, 27, 28, 40, 56, 80, 112)
BATCHES = (1, 1, 2, 4, 8)
GROUPS = (1, 1, 1, 1, 1, 1, 2, 4)
MOST_CHANNELS = 2**9.5
FEWEST_FILTERS = 4
FLOPS = (2e6, 1.5e9)
MOST_PIXELS = 2e7  # of all channels and images
DOUBTFUL = 1.1
SHOWN = 1.2
WIDTH = 110


class Loss(NamedTuple):
    """One problem: the algorithm taken, and the seconds of all that serve it."""

    problem: Problem
    taken: str
    seconds: dict[str, float]

    @property
    def ratio(self) -> float:
        """Time of the algorithm taken over that of the fastest."""
        return self.seconds[self.taken] / min(self.seconds.values())


def random_problems(count: int, seed: int) -> Iterator[Problem]:
    """Draw problems of a size that is neither a call's overhead nor seconds long."""
    rng = np.random.default_rng(seed)
    drawn = 0
    while drawn < count:
        r, u, h, n, g = (int(rng.choice(choices)) for choices in (SIDES, STRIDES, HEIGHTS, BATCHES, GROUPS))
        p = int(rng.choice((0, r // 2, r // 2)))
        c = max(1, int(2 ** rng.uniform(0, np.log2(MOST_CHANNELS))) // g) * g
        k = max(1, int(2 ** rng.uniform(np.log2(FEWEST_FILTERS), np.log2(MOST_CHANNELS))) // g) * g
        if h + 2 * p < r or n * c * h * h > MOST_PIXELS:
            continue
        problem = Problem(f"random_{drawn}", n, c, h, h, k, r, r, u, u, p, p, g=g)
        if FLOPS[0] <= problem.flops <= FLOPS[1]:
            drawn += 1
            yield problem


def layers(batch: int) -> Iterator[Problem]:
    """All layers of the networks that ``python -m fastconv bench`` knows."""
    for name in network_names():
        yield from (replace(layer, n=batch) for layer in network(name))


def shapes(problem: Problem, layout: str) -> tuple[tuple[int, ...], ...]:
    """Shapes of x, w and y in a layout."""
    if layout == "NCHW":
        return problem.x_shape, problem.w_shape, problem.y_shape
    (n, c, h, w), (k, q, r, s), (_, _, oh, ow) = problem.x_shape, problem.w_shape, problem.y_shape
    return (n, h, w, c), (r, s, q, k), (n, oh, ow, k)


def calls(problem: Problem, operation: str, layout: str) -> dict[str, Callable[[], Any]]:
    """Return a call by each algorithm that serves the problem."""
    rng = np.random.default_rng(0)
    x, w, y = (rng.standard_normal(shape, dtype=np.float32) for shape in shapes(problem, layout))
    options: dict[str, Any] = {**problem.conv_kwargs, "layout": layout}
    found: dict[str, Callable[[], Any]] = {}
    for algo in ALGORITHMS:
        if operation == "forward":
            call = partial(fastconv.conv2d, x, w, algo=algo, **options)
        elif operation == "backward_input":
            call = partial(fastconv.conv2d_backward_input, y, w, x.shape, algo=algo, **options)
        else:
            call = partial(fastconv.conv2d_backward_weight, y, x, w.shape, algo=algo, **options)
        with suppress(ValueError):  # it does not serve
            call()
            found[algo] = call
    return found


def measure(problem: Problem, operation: str, layout: str) -> Loss:
    """Time all algorithms that serve a problem."""
    options: dict[str, Any] = {**problem.conv_kwargs, "layout": layout}
    taken = fastconv.algorithms(*shapes(problem, layout)[:2], operation=operation, **options)[0].name
    turns = {algo: partial(turn, call) for algo, call in calls(problem, operation, layout).items()}
    loss = Loss(problem, taken, best_times([turns], rounds=2, seconds=1))
    if loss.ratio > DOUBTFUL:
        again = best_times([turns], rounds=5, seconds=2)
        loss = Loss(problem, taken, {algo: min(time, again[algo]) for algo, time in loss.seconds.items()})
    return loss


def measure_again(loss: Loss, operation: str, layout: str) -> Loss:
    """Time a problem in another minute too: neighbours, and the distance of a virtual machine's cores, change."""
    again = measure(loss.problem, operation, layout).seconds
    return loss._replace(seconds={algo: min(time, again[algo]) for algo, time in loss.seconds.items()})


def tokens(problem: Problem) -> str:
    """Write a square problem, without defaults."""
    defaults = {"u": 1, "p": 0, "g": 1}
    values = {key: getattr(problem, key) for key in "nchkrupg"}
    return "".join(f"{key}{value}" for key, value in values.items() if value != defaults.get(key))


def worst(losses: list[Loss], operation: str) -> Table:
    """List the problems that lost most."""
    table = Table(title=f"{operation}: losses of {SHOWN}x and more")
    for heading in ("problem", "taken", *(f"{algo}, us" for algo in ALGORITHMS), "loss"):
        table.add_column(heading, justify="left" if heading in ("problem", "taken") else "right", no_wrap=True)
    for loss in sorted(losses, key=lambda loss: -loss.ratio):
        if loss.ratio >= SHOWN:
            times = (f"{loss.seconds[algo] * 1e6:.0f}" if algo in loss.seconds else "-" for algo in ALGORITHMS)
            table.add_row(tokens(loss.problem), loss.taken, *times, f"{loss.ratio:.2f}x")
    return table


def summary(losses: list[Loss], operation: str) -> str:
    """Write mean, median, the loss that nine in ten stay below, and the largest."""
    ratios = sorted(loss.ratio for loss in losses)
    nine_in_ten = ratios[int(0.9 * (len(ratios) - 1))]
    return (
        f"{operation}: {len(ratios)} problems, loss {statistics.fmean(ratios):.3f}x in the mean, "
        f"{statistics.median(ratios):.3f}x in the median, {nine_in_ten:.2f}x in nine of ten, {ratios[-1]:.2f}x at most"
    )


def main() -> int:
    """Measure, and print what was lost."""
    parser = argparse.ArgumentParser(description="What the choice of an algorithm loses against the fastest.")
    parser.add_argument("--problems", type=int, default=200, metavar="N", help="random ones; default 200")
    parser.add_argument("--layers", type=int, metavar="N", help="the networks' layers instead, N images each")
    parser.add_argument("--operation", choices=OPERATIONS, help="one alone; default all")
    parser.add_argument("--layout", choices=("NCHW", "NHWC"), default="NCHW", help="default NCHW")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the problems; default 0")
    parser.add_argument("--threads", type=int, metavar="N", help="default: FASTCONV_NUM_THREADS, or all")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        fastconv.set_num_threads(arguments.threads)
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    threads = fastconv.get_num_threads()
    console.print(
        f"{cpu_name()}: {_core.isa()}; fastconv {fastconv.__version__}, {threads} threads, {arguments.layout}"
    )
    for operation in (arguments.operation,) if arguments.operation else OPERATIONS:
        problems = list(
            random_problems(arguments.problems, arguments.seed)
            if arguments.layers is None
            else layers(arguments.layers)
        )
        losses = [
            measure(problem, operation, arguments.layout)
            for problem in track(problems, operation, console=console, transient=True, disable=not console.is_terminal)
        ]
        losses = [measure_again(loss, operation, arguments.layout) if loss.ratio >= SHOWN else loss for loss in losses]
        console.print(worst(losses, operation))
        console.print(summary(losses, operation))
    return 0


if __name__ == "__main__":
    sys.exit(main())
