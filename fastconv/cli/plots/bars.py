"""Rates of every layer of a network as bars, against everyone who ran and the peak of the CPU."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastconv.cli.plots.style import (
    BLACK,
    COLOURS,
    HATCHES,
    LABELS,
    Run,
    headline,
    new_figure,
    problem_of,
    series,
    subtitle,
)
from fastconv.cli.tables import shape

__all__ = ["bars"]

_IN_A_ROW = 7  # layers; more would leave too little room for their names
_LEAST_SHARE = 0.3  # of the peak, that the highest bar reaches where the peak is drawn
_WIDTH, _HEIGHT, _REST = 13.0, 2.9, 1.3  # inches: a row, and what is above and below all


def bars(run: Run, network: str) -> Figure:
    """Draw rows of groups of bars, a group a layer; all rows have one scale."""
    layers = [layer for layer in run["layers"] if layer["network"] == network]
    rows = -(-len(layers) // _IN_A_ROW)
    each = -(-len(layers) // rows)
    figure = new_figure(_WIDTH, _REST + rows * _HEIGHT)
    axes: list[Axes] = list(figure.subplots(rows, 1, sharey=True, squeeze=False)[:, 0])
    values = series(layers, headline(run))
    for row, ax in enumerate(axes):
        chosen = slice(row * each, (row + 1) * each)
        _groups(ax, layers[chosen], {name: rates[chosen] for name, rates in values.items()}, each)
    _peak(axes, run["machine"]["peak"], max(max(rates) for rates in values.values()))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle(f"{network or 'layers'}: {subtitle(run)}", fontsize=11)
    figure.supylabel("GFLOP/s of the direct convolution", fontsize=10)
    return figure


def _peak(axes: Sequence[Axes], peak: float, highest: float) -> None:
    """Draw the peak, unless it is so far above the bars that they would be too low to compare."""
    for ax in axes:
        if highest > peak * _LEAST_SHARE:
            ax.axhline(peak, color=BLACK, linewidth=1, linestyle="--", label=f"peak of the CPU, {peak:.0f}")
        else:
            ax.plot([], [], color=BLACK, linestyle="--", label=f"peak of the CPU, {peak:.0f}: above the picture")


def _groups(ax: Axes, layers: Sequence[Any], values: dict[str, list[float]], slots: int) -> None:
    width = 0.86 / len(values)
    for index, (name, rates) in enumerate(values.items()):
        left = [slot - 0.43 + width * (index + 0.5) for slot in range(len(layers))]
        ax.bar(
            left,
            rates,
            width,
            label=LABELS.get(name, name),
            color=COLOURS.get(name, BLACK),
            hatch=HATCHES.get(name),
            edgecolor="white",
            linewidth=0.3,
        )
    names = [f"{layer['name']}\n{shape(problem_of(layer))}" for layer in layers]
    ax.set_xticks(range(len(layers)), names, fontsize=8)
    ax.set_xlim(-0.6, slots - 0.4)
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="y", alpha=0.3)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
