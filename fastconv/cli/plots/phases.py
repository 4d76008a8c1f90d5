"""What the threads of each layer's convolution do, by phase."""

from matplotlib.figure import Figure

from fastconv.cli.phase_times import PHASES
from fastconv.cli.plots.style import BLUE, GREY, ORANGE, SKY, Run, headline, new_figure, problem_of, subtitle
from fastconv.cli.tables import shape, time

__all__ = ["phases"]

PARTS = {
    "pack or transform": ("pack or transform image and weights", ORANGE),
    "multiply": ("multiply", BLUE),
    "store": ("store: epilogue, output transform", SKY),
    "wait and call": ("wait for threads, call from Python", GREY),
}
_ROW, _REST, _WIDTH = 0.22, 1.5, 11.0  # inches


def phases(run: Run) -> Figure | None:
    """Draw a stacked bar a layer, the phases in per cent; None if the run did not look at them."""
    rows = [layer for layer in run["layers"] if layer.get("phases")]
    if not rows:
        return None
    figure = new_figure(_WIDTH, _REST + _ROW * len(rows))
    ax = figure.subplots()
    start = [0.0] * len(rows)
    for phase in PHASES:
        label, colour = PARTS[phase]
        width = [100 * layer["phases"][phase] for layer in rows]
        ax.barh(range(len(rows)), width, 0.8, start, label=label, color=colour, edgecolor="white", linewidth=0.5)
        start = [left + more for left, more in zip(start, width, strict=True)]
    first = headline(run)[0]
    for row, layer in enumerate(rows):
        seconds = layer["fastconv_seconds"].get(first)
        text = layer["auto_takes"] if first == "auto" else first
        ax.text(101, row, text if seconds is None else f"{time(seconds)}, {text}", va="center", fontsize=8)
    names = [f"{layer['name']}   {shape(problem_of(layer))}" for layer in rows]
    ax.set_yticks(range(len(rows)), names, fontsize=8)
    ax.set(xlim=(0, 100), ylim=(len(rows) - 0.4, -0.6))
    ax.set_xlabel("per cent of the threads' time")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(f"Time by phase: {subtitle(run)}", fontsize=11)
    return figure
