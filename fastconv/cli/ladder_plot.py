"""A run of the ladder as a picture: the rate of each step, and its place on the roofline."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fastconv.cli.ladder_report import Run
from fastconv.ladder import roofline

__all__ = ["check", "draw"]

# Okabe and Ito's colours, which readers who are colour-blind tell apart.
_ONE, _ALL = "#0072B2", "#D55E00"
_APART = 1.6  # the ratio of two rates whose labels do not touch


def check(path: Path) -> None:
    """Create the file; `OSError` if it cannot be written, `LookupError` if its format is unknown."""
    formats = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix[1:] not in formats:
        raise LookupError(f"cannot draw to {path}: its name must end in one of {', '.join(sorted(formats))}")
    path.touch()


def draw(run: Run, path: Path) -> None:
    """Draw the rates on the left and the roofline on the right.

    Parameters
    ----------
    run : Run
        At least one step.
    path : Path
        Its ending tells the format.
    """
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.suptitle(f"{run.family.title}, {run.d}")
    _draw_rates(left, run)
    _draw_roofline(right, run)
    figure.savefig(path, dpi=120)


def _colour(threads: int) -> str:
    return _ONE if threads == 1 else _ALL


def _draw_rates(axes: Axes, run: Run) -> None:
    served = [row for row in run.rows if row.rate is not None]
    names = [f"{row.step.number} {row.step.title}" for row in served]
    rates = [row.rate or 0.0 for row in served]
    bars = axes.barh(names, rates, color=[_colour(row.timing.threads) for row in served])
    axes.bar_label(bars, [f"{rate:.3g}" for rate in rates], padding=3)
    axes.set_xscale("log")
    axes.set_xlim(right=3 * max(rates))  # room for the labels
    axes.invert_yaxis()
    axes.set_xlabel(run.family.unit)


def _draw_roofline(axes: Axes, run: Run) -> None:
    placed = [row for row in run.rows if row.place is not None and row.place.near is not None]
    nears = [row.place.near for row in placed if row.place is not None and row.place.near is not None]
    if not nears:
        axes.set_axis_off()
        return
    low, high = min(nears) / 2, max(nears) * 4
    for threads in sorted({row.timing.threads for row in placed}):
        slope = roofline.bandwidth(roofline.L1_BYTES * threads, threads)
        peak = roofline.peak(threads) * run.family.flops / 2
        ridge = min(max(peak / slope, low), high)
        label = f"{threads} {'thread' if threads == 1 else 'threads'}: peak {peak:.0f}, L1 {slope:.0f} GB/s"
        axes.plot([low, ridge, high], [slope * low, min(slope * ridge, peak), peak], _colour(threads), label=label)
    below: dict[float, tuple[float, str]] = {}  # the point below on the same line, and the side of its label
    for row in sorted(placed, key=lambda row: row.rate or 0.0):
        near, rate = (row.place.near if row.place else None) or 0.0, row.rate or 0.0
        last, side = below.get(near, (0.0, "left"))
        side = "right" if side == "left" or rate > _APART * last else "left"
        below[near] = rate, side
        axes.plot(near, rate, "o", color=_colour(row.timing.threads))
        offset = (7, -4) if side == "right" else (-7, -4)
        align = "left" if side == "right" else "right"
        axes.annotate(str(row.step.number), (near, rate), offset, textcoords="offset points", ha=align)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations for each byte between L1 and registers")
    axes.set_ylabel(run.family.unit)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
