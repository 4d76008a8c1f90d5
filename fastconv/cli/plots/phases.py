"""Where the time of a forward convolution goes, by what the public calls let one measure.

Two differences are measured: `conv2d` against a `Conv2d` that holds its weights is the packing or transform of the
weights; that against one with ``out=`` is memory that the system hands out and clears at its first touch. What is
left is split by arithmetic: products take at least their operations over the peak of the CPU; the rest is what the
kernels do besides: gathering or transforming the image, storing, waiting.
"""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from fastconv.cli.measure import HELD, REUSED
from fastconv.cli.plots.style import BLUE, GREY, ORANGE, SKY, Run, new_figure, problem_of, subtitle
from fastconv.cli.tables import shape, time

__all__ = ["NEEDS", "phases", "shares"]

NEEDS = ("auto", HELD, REUSED)
"""Candidates that a run must have timed."""

PARTS = {
    "pack or transform weights (conv2d - Conv2d)": ORANGE,
    "products at the CPU's peak (computed)": BLUE,
    "image gathered or transformed, stores, waiting (rest)": SKY,
    "fresh memory for the output (Conv2d - Conv2d with out=)": GREY,
}
_ROW, _REST, _WIDTH = 0.22, 1.5, 11.0  # inches


def shares(layer: Mapping[str, Any], peak: float) -> list[float] | None:
    """Return the parts of a layer's time in seconds, in the order of the legend, or None if it was not measured.

    A difference that noise has made negative counts as zero.
    """
    times = layer["fastconv_seconds"]
    if not all(name in times for name in NEEDS):
        return None
    auto, held, reused = (times[name] for name in NEEDS)
    products = min(layer["product_flops"] / (peak * 1e9), reused)
    return [max(auto - held, 0.0), products, reused - products, max(held - reused, 0.0)]


def phases(run: Run) -> Figure | None:
    """Draw a stacked bar a layer, the parts in per cent; None if the run did not time what it takes."""
    rows = [(layer, parts) for layer in run["layers"] if (parts := shares(layer, run["machine"]["peak"])) is not None]
    if not rows:
        return None
    figure = new_figure(_WIDTH, _REST + _ROW * len(rows))
    ax = figure.subplots()
    start = [0.0] * len(rows)
    for index, (label, colour) in enumerate(PARTS.items()):
        width = [100 * parts[index] / sum(parts) for _, parts in rows]
        ax.barh(range(len(rows)), width, 0.8, start, label=label, color=colour, edgecolor="white", linewidth=0.5)
        start = [left + more for left, more in zip(start, width, strict=True)]
    for row, (layer, _) in enumerate(rows):
        text = f"{time(layer['fastconv_seconds']['auto'])}, {layer['auto_takes']}"
        ax.text(101, row, text, va="center", fontsize=8)
    names = [f"{layer['name']}   {shape(problem_of(layer))}" for layer, _ in rows]
    ax.set_yticks(range(len(rows)), names, fontsize=8)
    ax.set(xlim=(0, 100), ylim=(len(rows) - 0.4, -0.6))
    ax.set_xlabel("per cent of the time of conv2d")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(f"Time by phase: {subtitle(run)}", fontsize=11)
    return figure
