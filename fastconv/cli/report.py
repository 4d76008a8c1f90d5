"""The result of a benchmark run as a table for the terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from math import exp, log
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fastconv.cli.machine import Machine
from fastconv.cli.measure import Measurement
from fastconv.cli.problems import Problem

__all__ = ["as_json", "by_formulation", "summary", "table"]


def _size(height: int, width: int) -> str:
    return f"{height}²" if height == width else f"{height}x{width}"


def _shape(problem: Problem) -> str:
    text = f"{problem.c}x{_size(problem.h, problem.w)} → {problem.k}, {problem.r}x{problem.s}"
    stride = f"/{problem.u}" if problem.u == problem.v else f"/{problem.u}x{problem.v}"
    return text if stride == "/1" else text + stride


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} us"


def _gflops(measurement: Measurement, seconds: float | None) -> str:
    return "-" if seconds is None else f"{measurement.gflops(seconds):.1f}"


def table(
    measurements: Sequence[Measurement], algorithms: Sequence[str], machine: Machine, *, narrow: bool = False
) -> Table:
    """One row a layer; a narrow table has no shapes and times. The last columns are those of the first algorithm."""
    first = algorithms[0]
    caption = f"{'' if narrow else 'time, '}share of peak and speed-up: {first}"
    result = Table(title="Forward convolution, GFLOP/s", caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    result.add_column("layer", no_wrap=True)
    if not narrow:
        result.add_column("shape", no_wrap=True)
    for heading in ("NumPy", *algorithms):
        result.add_column(heading, justify="right", no_wrap=True)
    result.add_column("auto is", no_wrap=True)
    for heading in ("peak", "x NumPy") if narrow else ("time", "peak", "x NumPy"):
        result.add_column(heading, justify="right", no_wrap=True)
    previous = None
    for measurement in measurements:
        if previous not in (None, measurement.network):
            result.add_section()
        previous = measurement.network
        seconds = measurement.fastconv.get(first)
        speed_up = measurement.speed_up(first)
        last = ("-", "-", "-")
        if seconds is not None and speed_up is not None:
            share = measurement.gflops(seconds) / machine.peak
            last = _time(seconds), f"{share:.0%}", f"{speed_up:.2f}"
        result.add_row(
            measurement.problem.name,
            *([] if narrow else [_shape(measurement.problem)]),
            _gflops(measurement, measurement.numpy_best),
            *(_gflops(measurement, measurement.fastconv.get(algo)) for algo in algorithms),
            measurement.chosen,
            *last[narrow:],
        )
    return result


def summary(measurements: Sequence[Measurement], algorithms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Speed-up against NumPy by algorithm: geometric mean, minimum and its layer, over the layers it serves."""
    result: dict[str, dict[str, Any]] = {}
    for algo in algorithms:
        ratios = {m.problem.name: ratio for m in measurements if (ratio := m.speed_up(algo)) is not None}
        if ratios:
            slowest = min(ratios, key=ratios.__getitem__)
            result[algo] = {
                "layers": len(ratios),
                "geomean": exp(sum(map(log, ratios.values())) / len(ratios)),
                "min": ratios[slowest],
                "min_layer": slowest,
            }
    return result


def by_formulation(measurements: Sequence[Measurement], algo: str) -> dict[str, float]:
    """Geometric mean of an algorithm's speed-up against each NumPy formulation alone."""
    served = [m for m in measurements if algo in m.fastconv]
    return {
        name: exp(sum(log(m.numpy[name] / m.fastconv[algo]) for m in served) / len(served))
        for name in (served[0].numpy if served else ())
    }


def as_json(
    measurements: Sequence[Measurement], algorithms: Sequence[str], machine: Machine, settings: dict[str, Any]
) -> dict[str, Any]:
    """Everything that was measured; times in seconds, peak and rates in GFLOP/s."""
    layers = [
        {
            "network": m.network,
            "name": m.problem.name,
            "problem": str(m.problem),
            "flops": m.problem.flops,
            "numpy_seconds": m.numpy,
            "fastconv_seconds": m.fastconv,
            "refused": m.refused,
            "auto_takes": m.chosen,
            "gflops": {algo: m.gflops(seconds) for algo, seconds in m.fastconv.items()},
            "fraction_of_peak": {algo: m.gflops(seconds) / machine.peak for algo, seconds in m.fastconv.items()},
            "speed_up": {algo: m.speed_up(algo) for algo in m.fastconv},
        }
        for m in measurements
    ]
    return {
        "machine": asdict(machine),
        "settings": settings,
        "layers": layers,
        "summary": summary(measurements, algorithms),
    }
