"""``python -m fastconv net``: a whole network, layer by layer and end to end."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastconv
from fastconv import zoo
from fastconv.cli.arguments import positive_float, positive_int, writable
from fastconv.cli.machine import describe, limited_threads
from fastconv.cli.net_times import candidate, layer_times, peers
from fastconv.cli.timing import best_times, turn

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_command", "run"]

_ROUNDS, _SECONDS = 30, 5.0
_PACKAGES = {"rich": "fastconv[bench]", "matplotlib": "fastconv[examples]", "torch": "fastconv[torch]"}
_PLAIN_WIDTH = 130  # columns where the output is not a terminal

_DESCRIPTION = """\
Times a network in float32 with random weights: first each layer by itself, then end to end. Without --train the weights
of convolutions are held packed and passes go forward; with it a step is a forward pass and a backward pass.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``net`` and its options to the parser of ``python -m fastconv``."""
    parser = commands.add_parser("net", help="time a whole network, layer by layer", description=_DESCRIPTION)
    parser.add_argument("network", type=_network, metavar="NETWORK", help=f"one of {', '.join(zoo.names())}, or vgg16")
    parser.add_argument("--batch", type=positive_int, default=1, metavar="N", help="images in a batch; default 1")
    parser.add_argument("--train", action="store_true", help="time forward and backward passes")
    parser.add_argument("--peer", choices=("torch",), help="time the same network in PyTorch, in turns, end to end")
    parser.add_argument("--threads", type=positive_int, metavar="N", help="threads of both sides; default fastconv's")
    parser.add_argument(
        "--repeat", type=positive_int, default=_ROUNDS, metavar="N", help=f"most turns of a side; default {_ROUNDS}"
    )
    parser.add_argument(
        "--seconds",
        type=positive_float,
        default=_SECONDS,
        metavar="S",
        help=f"time budget, for the layers and for the whole each; default {_SECONDS:g}",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw where time and memory go (needs matplotlib)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    parser.set_defaults(run=run)


def _network(name: str) -> zoo.Network:
    try:
        return zoo.network(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(arguments: argparse.Namespace) -> int:
    """Time the network and print its table; 1 if a package is missing, a file cannot be written or results differ."""
    try:
        from rich.console import Console

        if arguments.plot is not None:
            import matplotlib  # noqa: F401  # before the long run, not after it
        if arguments.peer is not None:
            import torch  # noqa: F401
    except ImportError as error:
        package = str(error.name)
        print(f"net needs {package}: pip install '{_PACKAGES.get(package, package)}'", file=sys.stderr)
        return 1
    if not all(writable(path) for path in (arguments.plot, arguments.json)):
        return 1
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _PLAIN_WIDTH)
    try:
        _run(arguments, console)
    except ArithmeticError as error:
        print(f"wrong result: {error}", file=sys.stderr)
        return 1
    return 0


def _run(arguments: argparse.Namespace, console: Console) -> None:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from fastconv.cli import net_report

    net, batch, train = arguments.network, arguments.batch, arguments.train
    threads = arguments.threads or fastconv.get_num_threads()
    budget = {"rounds": arguments.repeat, "seconds": arguments.seconds}
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with (
        limited_threads(threads) as blas,
        # Drawn between stages only: a refreshing thread would take time from what is measured.
        Progress(*columns, console=console, auto_refresh=False, transient=True) as progress,
    ):
        task = progress.add_task("weights", total=3)
        progress.refresh()
        model = zoo.build(net)
        if not train:
            model.freeze()
        step = candidate(model, batch)
        progress.update(task, advance=1, description="layers", refresh=True)
        layers = layer_times(model, step, **budget)
        progress.update(task, advance=1, description="end to end", refresh=True)
        others = peers(model, batch, threads) if arguments.peer else {}
        sides = {"fastconv": step, **others}
        end_to_end = best_times([{name: partial(turn, call)} for name, call in sides.items()], **budget)
        progress.update(task, advance=1, refresh=True)
        machine = describe("float32", threads, blas)
    what = "a training step" if train else "a forward pass"
    title = f"{net.name}: {what}, batch of {batch}, float32"
    console.print(f"{machine.cpu}: {machine.isa}, threads: {threads}; peak {machine.peak:.0f} GFLOP/s")
    console.print(net_report.table(layers, batch, train=train, title=title))
    ours = end_to_end["fastconv"]
    console.print(f"end to end: {ours * 1e3:.2f} ms, {batch / ours:.1f} images/s")
    for name, seconds in end_to_end.items():
        if name != "fastconv":
            console.print(f"{name}: {seconds * 1e3:.2f} ms, fastconv {seconds / ours:.2f}x as fast")
    if arguments.plot is not None:
        net_report.plot(layers, batch, train=train, title=title, path=arguments.plot)
        console.print(f"wrote {arguments.plot}")
    if arguments.json is not None:
        settings: dict[str, Any] = {"network": net.name, "batch": batch, "train": train, **budget}
        text = json.dumps(net_report.as_json(layers, end_to_end, machine, settings), indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")
