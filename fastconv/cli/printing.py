"""What the benchmark says on the terminal: who takes part, the tables, and the lines below them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from fastconv.cli import tables
from fastconv.cli.bench_settings import not_capped
from fastconv.cli.machine import Machine
from fastconv.cli.measure import HELD, Measurement
from fastconv.cli.peers import PEERS, installed
from fastconv.cli.results import by_formulation, summary

__all__ = ["introduction", "result_tables", "summary_lines"]

_UNLIMITED_WIDTH = 1000


def introduction(machine: Machine, settings: Mapping[str, Any]) -> Iterator[str]:
    """Say where the run takes place, of what versions, and which peers do not take part."""
    job = f"{settings['operation'].removeprefix('conv_')}, {settings['dtype']}, batch of {settings['batch']}"
    yield f"{machine.cpu}: {machine.isa}, threads: {machine.threads}; {job}"
    commit = f" ({machine.commit})" if machine.commit else ""
    yield (
        f"fastconv {machine.fastconv}{commit}, {machine.compiler}; NumPy {machine.numpy} ({machine.blas}); "
        f"Python {machine.python}"
    )
    if machine.peers:
        yield "peers: " + ", ".join(f"{name} {version}" for name, version in machine.peers.items())
    absent = [name for name in PEERS if name not in installed()]
    if absent:
        yield f"peers that are not installed: {', '.join(absent)}"
    free = not_capped()
    if free:
        yield f"peers that cannot be held to {machine.isa}, timed only by --peer: {', '.join(free)}"


def result_tables(
    measurements: Sequence[Measurement], candidates: Sequence[str], machine: Machine, console: Console
) -> Iterator[Table]:
    """Give the rates, narrow if the console is, and for each headline candidate the ratios to peers."""
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


def summary_lines(measurements: Sequence[Measurement], candidates: Sequence[str]) -> Iterator[str]:
    """Give geometric mean and least by candidate and rival, then the peers' errors and refusals."""
    for candidate, by_rival in summary(measurements, candidates).items():
        for rival, row in by_rival.items():
            if rival in PEERS and candidate not in _headline(candidates):
                continue
            yield (
                f"{candidate} against {rival}, {row['layers']} layers: geomean {row['geomean']:.2f}x, "
                f"least {row['min']:.2f}x ({row['min_layer']})"
            )
    alone = by_formulation(measurements, candidates[0])
    if len(alone) > 1:
        ratios = ", ".join(f"{name} {ratio:.2f}x" for name, ratio in alone.items())
        yield f"{candidates[0]} against each formulation alone, geomean: {ratios}"
    errors: dict[str, float] = {}
    for m in measurements:
        for name, error in m.errors.items():
            errors[name] = max(error, errors.get(name, 0.0))
    if errors:
        yield "largest RMS error of peers: " + ", ".join(f"{name} {error:.0e}" for name, error in errors.items())
    yield from _refusals(measurements)


def _refusals(measurements: Sequence[Measurement]) -> Iterator[str]:
    layers: dict[tuple[str, str], list[str]] = {}
    for m in measurements:
        for name, reason in m.refused.items():
            if name in PEERS:
                layers.setdefault((name, reason), []).append(m.problem.name)
    for (name, reason), refused in layers.items():
        where = "any layer" if len(refused) == len(measurements) else ", ".join(refused)
        yield f"{name} does not take part in {where}: {reason}"
