"""``python -m fastconv bench``: the layers of known networks, fastconv against NumPy and other engines."""

import argparse
import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastconv import _core
from fastconv.cli import bench_options, compare
from fastconv.cli.bench_settings import settings
from fastconv.cli.jobs import Job
from fastconv.cli.machine import best, describe, limited_threads
from fastconv.cli.measure import Measurement, measure
from fastconv.cli.peers import PEERS, PeerProcess
from fastconv.cli.problems import Problem
from fastconv.cli.results import as_json

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_command", "run"]

_PLAIN_WIDTH = 160  # columns where the output is not a terminal

_DESCRIPTION = """\
Times the convolution of the layers of known networks: in NumPy, the fastest of sliding windows with tensordot, two
kinds of im2col with matmul and a product for each tap; in fastconv, by algorithm; and in every other engine that is
installed, each in a process of its own. The candidates take turns; the best call of each counts. Results are compared
before they are timed.
"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``bench`` and its options to the parser of ``python -m fastconv``."""
    parser = commands.add_parser("bench", help="time the layers of known networks", description=_DESCRIPTION)
    bench_options.add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark and print its tables; 1 if rich is missing, a file or an option is wrong, or a result is."""
    try:
        from rich.console import Console
    except ImportError:
        return _fail("bench needs rich: pip install 'fastconv[bench]'")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _PLAIN_WIDTH)
    try:
        if arguments.compare is not None:
            for part in compare.report(*map(_read, arguments.compare)):
                console.print(part)
            return 0
        _check_targets(arguments)
        if arguments.read is not None:
            _write(_read(arguments.read), arguments, console)
            return 0
        _run(arguments, console)
    except OSError as error:
        return _fail(f"cannot open {error.filename}: {error.strerror}")
    except ArithmeticError as error:
        return _fail(f"wrong result: {error}")
    except ValueError as error:
        return _fail(str(error))
    return 0


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    return content


def _check_targets(arguments: argparse.Namespace) -> None:
    """Fail before the long run, not after it."""
    if arguments.read is not None and not (arguments.html or arguments.plot):
        raise ValueError("--read goes with --html or --plot")
    for path in (arguments.json, arguments.html):
        if path is not None:
            path.touch()
    if (arguments.html or arguments.plot) and find_spec("matplotlib") is None:
        raise ValueError("--html and --plot need matplotlib: pip install 'fastconv[plot]'")


def _write(result: Mapping[str, Any], arguments: argparse.Namespace, console: "Console") -> None:
    if arguments.plot is not None:
        from fastconv.cli import plots

        for path in plots.save(result, arguments.plot):
            console.print(f"wrote {path}", soft_wrap=True)
    if arguments.html is not None:
        from fastconv.cli.page import page

        arguments.html.write_text(page(result), encoding="utf-8")
        console.print(f"wrote {arguments.html}", soft_wrap=True)


def _run(arguments: argparse.Namespace, console: "Console") -> None:
    from fastconv.cli import printing

    chosen = settings(arguments)
    layers = bench_options.layers(arguments.net, arguments.layers, arguments.batch, arguments.quick)
    threads, peers, candidates = chosen["threads"], chosen["peers"], chosen["candidates"]
    with limited_threads(threads) as blas:
        before = describe(arguments.dtype, threads, blas, peers)
        for line in printing.introduction(before, chosen):
            console.print(line)
        measurements = _measure_all(layers, chosen, console)
        machine = best(before, describe(arguments.dtype, threads, blas, peers))
    for table in printing.result_tables(measurements, candidates, machine, console):
        console.print(table)
    console.print(f"limits in this run: {machine.peak:.0f} GFLOP/s, {machine.bandwidth:.0f} GB/s of memory copied")
    for line in printing.summary_lines(measurements, candidates):
        console.print(line)
    result = as_json(measurements, candidates, machine, chosen)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _write(result, arguments, console)


def _measure_all(layers: list[tuple[str, Problem]], chosen: Mapping[str, Any], console: "Console") -> list[Measurement]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    measurements = []
    with ExitStack() as stack:
        peers = [
            stack.enter_context(PeerProcess(PEERS[name], chosen["threads"], _core.isa())) for name in chosen["peers"]
        ]
        # The bar is drawn between layers only: a refreshing thread would take time from the candidates.
        progress = stack.enter_context(Progress(*columns, console=console, auto_refresh=False, transient=True))
        task = progress.add_task("", total=len(layers))
        for name, problem in layers:
            progress.update(task, description=problem.name, refresh=True)
            measurements.append(
                measure(
                    name,
                    Job(chosen["operation"], problem, chosen["dtype"]),
                    candidates=chosen["candidates"],
                    rounds=chosen["rounds"],
                    seconds=chosen["seconds"],
                    numpy=chosen["numpy"],
                    peers=peers,
                    phases=chosen["phases"],
                )
            )
            progress.advance(task)
    return measurements
