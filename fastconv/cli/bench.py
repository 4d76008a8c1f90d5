"""``python -m fastconv bench``: the layers of known networks, fastconv against NumPy and other engines."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastconv
from fastconv import _core
from fastconv.cli import bench_options, compare, results
from fastconv.cli.jobs import Job
from fastconv.cli.machine import Machine, describe, limited_threads
from fastconv.cli.measure import HELD, Measurement, measure
from fastconv.cli.peers import PEERS, PeerProcess, installed
from fastconv.cli.problems import Problem

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["add_command", "run"]

_PLAIN_WIDTH = 120  # columns where the output is not a terminal
_UNLIMITED_WIDTH = 1000

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
        if arguments.json is not None:
            arguments.json.touch()  # before the long run, not after it
        _run(arguments, console)
    except OSError as error:
        verb = "write" if arguments.compare is None else "read"
        return _fail(f"cannot {verb} {error.filename}: {error.strerror}")
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


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    defaults = bench_options.QUICK if arguments.quick else bench_options.FULL
    if arguments.held and arguments.direction != "forward":
        raise ValueError("--held goes with --pass forward")
    candidates = list(dict.fromkeys(arguments.algo or bench_options.ALGORITHMS))
    peers = _peers(arguments)
    budget = defaults["seconds"] + defaults["peer_seconds"] * len(peers)
    return {
        "operation": f"conv_{arguments.direction}",
        "candidates": candidates + [HELD] * arguments.held,
        "numpy": arguments.numpy,
        "peers": peers,
        "batch": arguments.batch,
        "dtype": arguments.dtype,
        "threads": arguments.threads or fastconv.get_num_threads(),
        "rounds": arguments.repeat or int(defaults["repeat"]),
        "seconds": arguments.seconds or budget,
    }


def _peers(arguments: argparse.Namespace) -> list[str]:
    wanted = list(dict.fromkeys(arguments.peer or ()))
    if wanted:
        absent = [name for name in wanted if name not in installed()]
        if absent:
            raise ValueError(f"not installed: {', '.join(absent)}")
        return wanted
    everyone = not arguments.quick if arguments.peers is None else arguments.peers
    return [name for name in installed() if name not in _not_capped()] if everyone else []


def _not_capped() -> list[str]:
    """Peers that would use instructions which FASTCONV_ISA denies to fastconv."""
    capped = _core.isa() != _core.isas_supported()[-1]
    return [name for name in installed() if capped and _core.isa() not in PEERS[name].caps]


def _run(arguments: argparse.Namespace, console: "Console") -> None:
    settings = _settings(arguments)
    layers = bench_options.layers(arguments.net, arguments.layers, arguments.batch, arguments.quick)
    threads, peers = settings["threads"], settings["peers"]
    with limited_threads(threads) as blas:
        before = describe(arguments.dtype, threads, blas, peers)
        _introduce(before, settings, console)
        measurements = _measure_all(layers, settings, console)
        after = describe(arguments.dtype, threads, blas, peers)
    machine = max(before, after, key=lambda machine: machine.peak)
    for table in _tables(measurements, settings["candidates"], machine, console):
        console.print(table)
    console.print(f"peak of the CPU in this run: {machine.peak:.0f} GFLOP/s")
    for line in _summary(measurements, settings["candidates"]):
        console.print(line)
    if arguments.json is not None:
        text = json.dumps(results.as_json(measurements, settings["candidates"], machine, settings), indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")


def _introduce(machine: Machine, settings: dict[str, Any], console: "Console") -> None:
    job = f"{settings['operation'].removeprefix('conv_')}, {settings['dtype']}, batch of {settings['batch']}"
    console.print(f"{machine.cpu}: {machine.isa}, threads: {machine.threads}; {job}")
    commit = f" ({machine.commit})" if machine.commit else ""
    console.print(
        f"fastconv {machine.fastconv}{commit}, {machine.compiler}; NumPy {machine.numpy} ({machine.blas}); "
        f"Python {machine.python}"
    )
    if machine.peers:
        console.print("peers: " + ", ".join(f"{name} {version}" for name, version in machine.peers.items()))
    absent = [name for name in PEERS if name not in installed()]
    if absent:
        console.print(f"peers that are not installed: {', '.join(absent)}")
    free = _not_capped()
    if free:
        console.print(f"peers that cannot be held to {machine.isa}, timed only by --peer: {', '.join(free)}")


def _tables(
    measurements: list[Measurement], candidates: list[str], machine: Machine, console: "Console"
) -> "Iterator[Table]":
    from fastconv.cli import tables

    wide = tables.rates(measurements, candidates, machine)
    options = console.options.update(max_width=_UNLIMITED_WIDTH)
    if console.measure(wide, options=options).maximum > console.width:
        yield tables.rates(measurements, candidates, machine, narrow=True)
    else:
        yield wide
    if any(m.peers for m in measurements):
        for candidate in _headline(candidates):
            yield tables.ratios(measurements, candidate)


def _headline(candidates: Sequence[str]) -> list[str]:
    """Candidates that are compared with each peer on paper; the JSON compares all."""
    return [name for name in candidates if name in (candidates[0], HELD)]


def _summary(measurements: list[Measurement], candidates: list[str]) -> Iterator[str]:
    for candidate, by_rival in results.summary(measurements, candidates).items():
        for rival, row in by_rival.items():
            if rival in PEERS and candidate not in _headline(candidates):
                continue
            yield (
                f"{candidate} against {rival}, {row['layers']} layers: geomean {row['geomean']:.2f}x, "
                f"least {row['min']:.2f}x ({row['min_layer']})"
            )
    alone = results.by_formulation(measurements, candidates[0])
    if len(alone) > 1:
        ratios = ", ".join(f"{name} {ratio:.2f}x" for name, ratio in alone.items())
        yield f"{candidates[0]} against each formulation alone, geomean: {ratios}"
    errors = {name: max(m.errors[name] for m in measurements if name in m.errors) for name in measurements[0].errors}
    if errors:
        yield "largest RMS error of peers: " + ", ".join(f"{name} {error:.0e}" for name, error in errors.items())
    yield from _refusals(measurements)


def _refusals(measurements: list[Measurement]) -> Iterator[str]:
    layers: dict[tuple[str, str], list[str]] = {}
    for m in measurements:
        for name, reason in m.refused.items():
            if name in PEERS:
                layers.setdefault((name, reason), []).append(m.problem.name)
    for (name, reason), refused in layers.items():
        where = "any layer" if len(refused) == len(measurements) else ", ".join(refused)
        yield f"{name} does not take part in {where}: {reason}"


def _measure_all(layers: list[tuple[str, Problem]], settings: dict[str, Any], console: "Console") -> list[Measurement]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    measurements = []
    with ExitStack() as stack:
        peers = [
            stack.enter_context(PeerProcess(PEERS[name], settings["threads"], _core.isa()))
            for name in settings["peers"]
        ]
        # The bar is drawn between layers only: a refreshing thread would take time from the candidates.
        progress = stack.enter_context(Progress(*columns, console=console, auto_refresh=False, transient=True))
        task = progress.add_task("", total=len(layers))
        for name, problem in layers:
            progress.update(task, description=problem.name, refresh=True)
            measurements.append(
                measure(
                    name,
                    Job(settings["operation"], problem, settings["dtype"]),
                    candidates=settings["candidates"],
                    rounds=settings["rounds"],
                    seconds=settings["seconds"],
                    numpy=settings["numpy"],
                    peers=peers,
                )
            )
            progress.advance(task)
    return measurements
