"""The result of a benchmark run as tables for the terminal."""

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fastconv.cli.machine import Machine
from fastconv.cli.measure import Measurement
from fastconv.cli.problems import Problem
from fastconv.cli.results import rivals

__all__ = ["SHORT", "comparison", "rates", "ratios", "shape", "time"]

SHORT = {"torch-channels-last": "torch nhwc", "onnxruntime": "ort"}
"""Headings of columns that would be too wide with the peer's name."""

_TITLES = {"conv_forward": "Forward convolution", "conv_backward": "Gradients by input, weights and bias"}


def _size(height: int, width: int) -> str:
    return f"{height}²" if height == width else f"{height}x{width}"


def shape(problem: Problem) -> str:
    """Input channels and size, filters, filter size and stride: ``3x224² → 64, 7x7/2``."""
    text = f"{problem.c}x{_size(problem.h, problem.w)} → {problem.k}, {problem.r}x{problem.s}"
    stride = f"/{problem.u}" if problem.u == problem.v else f"/{problem.u}x{problem.v}"
    return text if stride == "/1" else text + stride


def time(seconds: float) -> str:
    """Time with its unit."""
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} us"


def _start(title: str, caption: str, *, shapes: bool) -> Table:
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("layer", no_wrap=True)
    if shapes:
        table.add_column("shape", no_wrap=True)
    return table


def _columns(table: Table, headings: Sequence[str]) -> None:
    for heading in headings:
        table.add_column(SHORT.get(heading, heading), justify="right", no_wrap=True)


def _part_networks(table: Table, previous: Measurement | None, measurement: Measurement) -> None:
    if previous is not None and previous.network != measurement.network:
        table.add_section()


def _gflops(measurement: Measurement, seconds: float | None) -> str:
    if seconds is None:
        return "-"
    rate = measurement.gflops(seconds)
    return f"{rate:.1f}" if rate < 100 else f"{rate:.0f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def rates(
    measurements: Sequence[Measurement], candidates: Sequence[str], machine: Machine, *, narrow: bool = False
) -> Table:
    """GFLOP/s of all, one row a layer, and what the first candidate's are worth; a narrow table has less of that."""
    first = candidates[0]
    others = [name for name in rivals(measurements) if name != "best peer"]
    against_numpy = "NumPy" in others
    last_columns = slice(2 if narrow else 0, 2 + against_numpy)
    headings = ("time", "peak", "x NumPy")[last_columns]
    caption = f"{', '.join(headings)}: {first}" if headings else ""
    table = _start(f"{_TITLES[measurements[0].job.operation]}, GFLOP/s", caption, shapes=not narrow)
    _columns(table, (*candidates, *others))
    table.add_column("auto is", no_wrap=True)
    _columns(table, headings)
    previous = None
    for measurement in measurements:
        _part_networks(table, previous, measurement)
        previous = measurement
        times = measurement.rivals() | measurement.fastconv
        seconds = measurement.fastconv.get(first)
        last = ["-", "-", "-"]
        if seconds is not None:
            last = [time(seconds), f"{measurement.gflops(seconds) / machine.peak:.0%}"]
            last.append(_ratio(measurement.speed_up(first, "NumPy")))
        table.add_row(
            measurement.problem.name,
            *([] if narrow else [shape(measurement.problem)]),
            *(_gflops(measurement, times.get(name)) for name in (*candidates, *others)),
            measurement.algorithm,
            *last[last_columns],
        )
    return table


def ratios(measurements: Sequence[Measurement], candidate: str) -> Table:
    """How many times faster than each rival a candidate is, one row a layer."""
    names = rivals(measurements)
    table = _start(f"{candidate}: times faster than", "", shapes=False)
    _columns(table, names)
    previous = None
    for measurement in measurements:
        _part_networks(table, previous, measurement)
        previous = measurement
        found = [measurement.speed_up(candidate, name) for name in names]
        table.add_row(measurement.problem.name, *map(_ratio, found))
    return table


def comparison(candidate: str, times: Mapping[str, tuple[float, float]]) -> Table:
    """Show times of two runs, A and B, in seconds, and how many times faster B is, one row a layer."""
    table = _start(f"{candidate}: two runs", "", shapes=False)
    _columns(table, ("A", "B", "A / B"))
    for layer, (before, after) in times.items():
        table.add_row(layer, time(before), time(after), f"{before / after:.2f}")
    return table
