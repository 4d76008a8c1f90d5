"""Max pooling of the networks' layers against PyTorch in both layouts and a parallel copy, in turns within one run.

``python benchmarks/pools.py --batch 16`` prints a table; it needs PyTorch and the extra ``bench``. The copy moves
as many bytes as the forward pass must: it reads the input once and writes the output once.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import fastconv
from fastconv.cli.problems import Problem, read
from fastconv.cli.timing import best_times, turn

_ROUNDS = 100  # at most


class Times(NamedTuple):
    """Seconds of the fastest call: ours, with and without ``out=``, PyTorch's NCHW and channels_last, and a copy."""

    forward: float
    reused: float
    forward_nchw: float
    forward_last: float
    copy: float
    backward: float
    backward_nchw: float
    backward_last: float

    @property
    def forward_gain(self) -> float:
        """Speed-up against PyTorch's better layout."""
        return min(self.forward_nchw, self.forward_last) / self.forward

    @property
    def backward_gain(self) -> float:
        """Speed-up against PyTorch's better layout."""
        return min(self.backward_nchw, self.backward_last) / self.backward


def measure(pool: Problem, batch: int, seconds: float) -> Times:
    """Check one layer's results against PyTorch's, then time it."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *pool.x_shape[1:]), dtype=np.float32)
    planes, last = torch.from_numpy(x), torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
    window, aten = ([pool.r, pool.s], [pool.u, pool.v], [pool.p, pool.q]), torch.ops.aten
    kernel, stride, padding = pool.r, pool.u, pool.p  # all windows of the networks are square
    y, places = aten.max_pool2d_with_indices(planes, *window)
    _, places_last = aten.max_pool2d_with_indices(last, *window)
    gradient = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    gradient_last, dy = gradient.contiguous(memory_format=torch.channels_last), gradient.numpy()
    dx = aten.max_pool2d_with_indices_backward(gradient, planes, *window, [1, 1], False, places).numpy()
    np.testing.assert_array_equal(fastconv.max_pool2d(x, kernel, stride=stride, padding=padding), y.numpy())
    np.testing.assert_allclose(
        fastconv.max_pool2d_backward(dy, x, kernel, stride=stride, padding=padding), dx, rtol=1e-5, atol=1e-5
    )

    pooled = torch.nn.functional.max_pool2d
    out = np.empty(tuple(y.shape), np.float32)
    source, target = torch.ones(2, (x.size + out.size) // 2).unbind()  # memory of its own, not the zero page
    pool_forward, pool_backward = fastconv.max_pool2d, fastconv.max_pool2d_backward
    aten_backward = aten.max_pool2d_with_indices_backward
    ours = {
        "forward": lambda: pool_forward(x, kernel, stride=stride, padding=padding),
        "reused": lambda: pool_forward(x, kernel, stride=stride, padding=padding, out=out),
        "backward": lambda: pool_backward(dy, x, kernel, stride=stride, padding=padding),
    }
    theirs = {
        "forward_nchw": lambda: pooled(planes, kernel, stride, padding),
        "forward_last": lambda: pooled(last, kernel, stride, padding),
        "copy": lambda: target.copy_(source),
        "backward_nchw": lambda: aten_backward(gradient, planes, *window, [1, 1], False, places),
        "backward_last": lambda: aten_backward(gradient_last, last, *window, [1, 1], False, places_last),
    }
    with torch.no_grad():
        groups = [{name: partial(turn, call) for name, call in group.items()} for group in (ours, theirs)]
        return Times(**best_times(groups, rounds=_ROUNDS, seconds=seconds))


def table_of(results: dict[str, Times]) -> Table:
    """Lay out times in microseconds and what they compare to."""
    table = Table(title="Max pooling, microseconds of the fastest call", caption=_caption(results))
    heads = (
        "layer",
        "forward",
        "NCHW",
        "channels_last",
        "gain",
        "out=",
        "of copy",
        "backward",
        "NCHW",
        "c._last",
        "gain",
    )
    for head in heads:
        table.add_column(head, justify="left" if head == "layer" else "right")
    for name, t in results.items():
        cells = [t.forward, t.forward_nchw, t.forward_last, None, t.reused, None, t.backward, t.backward_nchw]
        row = ["" if cell is None else f"{1e6 * cell:.1f}" for cell in [*cells, t.backward_last]]
        row[3], row[5] = f"{t.forward_gain:.2f}x", f"{t.copy / t.reused:.0%}"
        table.add_row(name, *row, f"{t.backward_gain:.2f}x")
    return table


def _caption(results: dict[str, Times]) -> str:
    lines = []
    for what in ("forward", "backward"):
        gains = {name: float(getattr(times, f"{what}_gain")) for name, times in results.items()}
        least = min(gains, key=gains.__getitem__)
        mean = statistics.geometric_mean(gains.values())
        lines.append(
            f"{what}: {mean:.2f}x the better layout in the geometric mean, least {gains[least]:.2f}x ({least})"
        )
    return "\n".join(lines)


def main() -> None:
    """Time the layers of ``pools.txt`` and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1, help="images")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a layer")
    parser.add_argument("--threads", type=int, default=fastconv.get_num_threads(), help="of both sides")
    parser.add_argument("--only", default="", help="layers whose names hold this")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    layers = read(Path(__file__).parent / "pools.txt")
    pools = [pool for pool in layers if arguments.only in pool.name and pool.r < pool.h]  # the rest are means
    with fastconv.threads(arguments.threads):
        results = {
            pool.name: measure(pool, arguments.batch, arguments.seconds)
            for pool in track(pools, "timing", transient=True)
        }
    Console(width=130).print(table_of(results))


if __name__ == "__main__":
    main()
