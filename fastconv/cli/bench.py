"""``python -m fastconv bench``: the layers of known networks, fastconv against NumPy."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastconv
from fastconv.cli.machine import describe, limited_threads
from fastconv.cli.measure import Measurement, measure
from fastconv.cli.options import positive_float, positive_int
from fastconv.cli.problems import Problem, network, network_names

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_command", "run"]

_ALGORITHMS = ("auto", "direct", "im2col", "winograd")
_QUICK_NETWORKS = ("alphago", "lenet")
_QUICK = {"repeat": 3, "seconds": 0.4}
_FULL = {"repeat": 30, "seconds": 1.0}
_PLAIN_WIDTH = 120  # columns where the output is not a terminal
_UNLIMITED_WIDTH = 1000

_DESCRIPTION = """\
Times the forward convolution of the layers of known networks: in NumPy, the fastest of sliding windows with
tensordot, two kinds of im2col with matmul and a product for each tap; in fastconv, by algorithm. The candidates
take turns; the best call of each counts. Results are compared before they are timed.
"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``bench`` and its options to the parser of ``python -m fastconv``."""
    parser = commands.add_parser("bench", help="time the layers of known networks", description=_DESCRIPTION)
    names = network_names()
    parser.add_argument(
        "--net",
        action="append",
        choices=names,
        metavar="NAME",
        help=f"network, repeatable: {', '.join(names)}; default all, with --quick {' and '.join(_QUICK_NETWORKS)}",
    )
    parser.add_argument(
        "--algo", action="append", choices=_ALGORITHMS, help="algorithm of fastconv, repeatable; default all"
    )
    parser.add_argument("--batch", type=positive_int, default=1, metavar="N", help="images in a batch; default 1")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--threads", type=positive_int, metavar="N", help="threads of both sides; default fastconv's")
    parser.add_argument(
        "--repeat", type=positive_int, metavar="N", help=f"most turns of a candidate; default {_FULL['repeat']}"
    )
    parser.add_argument(
        "--seconds", type=positive_float, metavar="S", help=f"time budget of a layer; default {_FULL['seconds']}"
    )
    parser.add_argument("--quick", action="store_true", help="few turns on small networks: does it run at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark and print its table; 1 if rich is missing, the JSON cannot be written or a result is wrong."""
    try:
        from rich.console import Console
    except ImportError:
        print("bench needs rich: pip install 'fastconv[bench]'", file=sys.stderr)
        return 1
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _PLAIN_WIDTH)
    if arguments.json is not None:
        try:
            arguments.json.touch()  # before the long run, not after it
        except OSError as error:
            print(f"cannot write {arguments.json}: {error.strerror}", file=sys.stderr)
            return 1
    try:
        _run(arguments, console)
    except ArithmeticError as error:
        print(f"wrong result: {error}", file=sys.stderr)
        return 1
    return 0


def _run(arguments: argparse.Namespace, console: "Console") -> None:
    from fastconv.cli import report

    defaults = _QUICK if arguments.quick else _FULL
    names = arguments.net or (_QUICK_NETWORKS if arguments.quick else network_names())
    algorithms = list(dict.fromkeys(arguments.algo or _ALGORITHMS))
    settings: dict[str, Any] = {
        "networks": list(dict.fromkeys(names)),
        "algorithms": algorithms,
        "batch": arguments.batch,
        "dtype": arguments.dtype,
        "rounds": arguments.repeat or int(defaults["repeat"]),
        "seconds": arguments.seconds or float(defaults["seconds"]),
    }
    threads = arguments.threads or fastconv.get_num_threads()
    with limited_threads(threads) as blas:
        before = describe(arguments.dtype, threads, blas)
        console.print(
            f"{before.cpu}: {before.isa}, threads: {threads}; {arguments.dtype}, batch of {settings['batch']}"
        )
        console.print(f"fastconv {before.fastconv}, NumPy {before.numpy} ({blas}), Python {before.python}")
        layers = [(name, replace(p, n=settings["batch"])) for name in settings["networks"] for p in network(name)]
        measurements = _measure_all(layers, settings, console)
        after = describe(arguments.dtype, threads, blas)
    machine = max(before, after, key=lambda machine: machine.peak)
    table = report.table(measurements, algorithms, machine)
    if console.measure(table, options=console.options.update(max_width=_UNLIMITED_WIDTH)).maximum > console.width:
        table = report.table(measurements, algorithms, machine, narrow=True)
    console.print(table)
    console.print(f"peak of the CPU in this run: {machine.peak:.0f} GFLOP/s")
    for algo, row in report.summary(measurements, algorithms).items():
        console.print(
            f"{algo} against NumPy, {row['layers']} layers: geomean {row['geomean']:.2f}x, "
            f"least {row['min']:.2f}x ({row['min_layer']})"
        )
    alone = report.by_formulation(measurements, algorithms[0])
    if alone:
        ratios = ", ".join(f"{name} {ratio:.2f}x" for name, ratio in alone.items())
        console.print(f"{algorithms[0]} against each formulation alone, geomean: {ratios}")
    if arguments.json is not None:
        text = json.dumps(report.as_json(measurements, algorithms, machine, settings), indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")


def _measure_all(layers: list[tuple[str, Problem]], settings: dict[str, Any], console: "Console") -> list[Measurement]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    measurements = []
    # The bar is drawn between layers only: a refreshing thread would take time from the candidates.
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=len(layers))
        for name, problem in layers:
            progress.update(task, description=problem.name, refresh=True)
            measurements.append(
                measure(
                    name,
                    problem,
                    dtype=settings["dtype"],
                    algorithms=settings["algorithms"],
                    rounds=settings["rounds"],
                    seconds=settings["seconds"],
                )
            )
            progress.advance(task)
    return measurements
