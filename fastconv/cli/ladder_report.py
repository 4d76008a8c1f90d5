"""What a run of the ladder measured, as a table for the terminal and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fastconv import ladder
from fastconv.cli.machine import describe, limited_threads
from fastconv.cli.problems import Problem
from fastconv.ladder import Family, Step, Timing, roofline
from fastconv.ladder.roofline import Place

__all__ = ["Row", "Run", "measure_row"]


@dataclass(frozen=True)
class Row:
    """One step: its time, its rate in 1e9 operations a second, and its place; no rate and place if it was refused."""

    timing: Timing
    rate: float | None
    place: Place | None

    @property
    def step(self) -> Step:
        """The step."""
        return self.timing.step


def measure_row(step: Step, d: Problem, threads: int, seconds: float) -> Row:
    """Check, time and place a step; `ArithmeticError` if its result is wrong."""
    timing = ladder.measure(step, d, threads=threads, seconds=seconds)
    if timing.seconds is None:
        return Row(timing, None, None)
    rate = ladder.operations(step, d) / timing.seconds / 1e9
    return Row(timing, rate, roofline.place(step, d, timing.threads))


@dataclass(frozen=True)
class Run:
    """All steps of a ladder that were run, on one problem."""

    family: Family
    d: Problem
    threads: int
    rows: Sequence[Row]

    def gains(self) -> list[float | None]:
        """How many times faster each step is than the last before it that was served."""
        result: list[float | None] = []
        before = None
        for row in self.rows:
            result.append(row.rate / before if row.rate and before else None)
            before = row.rate or before
        return result

    def share(self, row: Row) -> float | None:
        """Divide a step's rate by the peak of the threads that it uses."""
        return None if row.rate is None else row.rate / self.peak(row)

    def peak(self, row: Row) -> float:
        """Peak of the threads that a step uses, in the operations of the ladder."""
        return roofline.peak(row.timing.threads) * self.family.flops / 2

    def table(self, *, narrow: bool = False) -> Table:
        """One row a step; a narrow table leaves out the idea, the roof and what bounds it."""
        result = Table(
            title=f"{self.family.title}. {self.d}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        result.add_column("step", no_wrap=True)
        if not narrow:
            result.add_column("idea", min_width=16)
        for heading in ("time", self.family.unit, "gain", "of peak", "op/B L1", "op/B far"):
            result.add_column(heading, justify="right", no_wrap=True)
        if not narrow:
            result.add_column("roof", no_wrap=True)
            result.add_column("bound by", min_width=16)
        for row, gain in zip(self.rows, self.gains(), strict=True):
            step = row.step
            share = self.share(row)
            cells = [f"{step.number:2} {step.title}"]
            cells += [] if narrow else [step.idea]
            if row.rate is None or row.place is None or row.timing.seconds is None or share is None:
                result.add_row(*cells, *["-"] * 6, *([] if narrow else ["-", row.timing.refused]))
                continue
            cells += [
                _time(row.timing.seconds),
                _three_digits(row.rate),
                "" if gain is None else f"{_three_digits(gain)}x",
                f"{share:.1%}" if share < 0.1 else f"{share:.0%}",
                "?" if row.place.near is None else _three_digits(row.place.near),
                _three_digits(row.place.far),
            ]
            cells += [] if narrow else [f"{row.place.roof:.0f} {row.place.by}", step.bound]
            result.add_row(*cells)
        return result

    def notes(self) -> Iterator[str]:
        """Lines below the table: what the roofs are made of."""
        for threads in sorted({row.timing.threads for row in self.rows if row.place is not None}):
            near = roofline.bandwidth(roofline.L1_BYTES * threads, threads)
            sizes = sorted(
                {
                    roofline.footprint(row.step, self.d)
                    for row in self.rows
                    if row.place is not None and row.timing.threads == threads
                }
            )
            far = ", ".join(f"{roofline.bandwidth(size, threads):.0f} for {size / 1e6:.1f} MB" for size in sizes)
            yield (
                f"threads: {threads}. Peak {roofline.peak(threads):.0f} GFLOP/s; "
                f"GB/s read from L1: {near:.0f}; from where all arrays lie: {far}"
            )

    def as_json(self) -> dict[str, Any]:
        """Everything that was measured; times in seconds, rates, peaks and roofs in 1e9 operations a second."""
        with limited_threads(self.threads) as blas:
            machine = describe("float32", self.threads, blas)
        steps = [
            {
                **{key: getattr(row.step, key) for key in ("number", "name", "source", "title", "idea", "bound")},
                "threads": row.timing.threads,
                "refused": row.timing.refused,
                "seconds": row.timing.seconds,
                "rate": row.rate,
                "gain": gain,
                "share_of_peak": self.share(row),
                "place": None if row.place is None else asdict(row.place),
            }
            for row, gain in zip(self.rows, self.gains(), strict=True)
        ]
        return {
            "machine": asdict(machine),
            "family": self.family.name,
            "problem": str(self.d),
            "unit": self.family.unit,
            "steps": steps,
        }


def _time(seconds: float) -> str:
    scale, unit = (1, "s") if seconds >= 1 else (1e3, "ms") if seconds >= 1e-3 else (1e6, "us")
    return f"{seconds * scale:.3g} {unit}"


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2g}"
