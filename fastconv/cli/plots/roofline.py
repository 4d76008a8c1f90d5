"""Every layer and algorithm under the two roofs of the machine: arithmetic and memory.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures", 2009.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from fastconv.cli.plots.style import BLACK, COLOURS, Run, new_figure, subtitle

__all__ = ["roofline"]

_MARKERS = {"auto": "*", "Conv2d": "P", "direct": "o", "im2col": "s", "winograd": "^"}
_SPOTS = ((0, 7, "center", "bottom"), (7, 0, "left", "center"), (-7, 0, "right", "center"), (0, -7, "center", "top"))
_STEPS = 400  # along the roofs, closer than a name is wide
_MARGIN = 1.6  # of the axes beyond the outermost points


def roofline(run: Run) -> Figure:
    """Draw points at operations a byte and GFLOP/s, and name as many layers as there is room for."""
    figure = new_figure(11, 7.5)
    ax = figure.subplots()
    layers, machine = run["layers"], run["machine"]
    points = {
        name: [(layer["flops"] / layer["bytes"], layer["gflops"][name]) for layer in layers if name in layer["gflops"]]
        for name in run["settings"]["candidates"]
    }
    for name, where in points.items():
        ax.scatter(
            [x for x, _ in where],
            [y for _, y in where],
            s=70 if name == "auto" else 32,
            marker=_MARKERS[name],
            color=COLOURS[name],
            edgecolors="white",
            linewidths=0.5,
            label="conv2d, auto" if name == "auto" else name,
            zorder=3,
        )
    everywhere = [point for where in points.values() for point in where]
    ax.set(xscale="log", yscale="log")
    low, high = min(x for x, _ in everywhere) / _MARGIN, max(x for x, _ in everywhere) * _MARGIN
    bottom, top = min(y for _, y in everywhere), max(machine["peak"], *(y for _, y in everywhere))
    ax.set(xlim=(low, high), ylim=(bottom / _MARGIN, top * _MARGIN))
    _roofs(ax, machine, low, high)
    ax.set_xlabel("operations a byte, each array read or written once")
    ax.set_ylabel("GFLOP/s of the direct convolution")
    ax.grid(which="major", alpha=0.3)
    ax.legend(loc="lower right", frameon=True)
    figure.suptitle(f"Roofline: {subtitle(run)}", fontsize=11)
    _name(figure, ax, run, machine)
    return figure


def _roofs(ax: Axes, machine: Any, low: float, high: float) -> None:
    peak, bandwidth = machine["peak"], machine["bandwidth"]
    ridge = peak / bandwidth
    ax.plot([min(low, ridge), ridge], [bandwidth * min(low, ridge), peak], color=BLACK, linewidth=1.2, linestyle=":")
    ax.plot([low, high], [peak, peak], color=BLACK, linewidth=1.2, linestyle="--")
    ax.plot([], [], color=BLACK, linestyle="--", label=f"peak of the CPU, {peak:.0f} GFLOP/s; Winograd may exceed it")
    ax.plot([], [], color=BLACK, linestyle=":", label=f"memory, {bandwidth:.0f} GB/s; data in cache may exceed it")


def _name(figure: Figure, ax: Axes, run: Run, machine: Any) -> None:
    """Name layers at the first candidate's points, furthest from the roofs first, where no name or point is yet."""
    first = run["settings"]["candidates"][0]
    figure.draw_without_rendering()
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in _pixels(ax, machine)]
    legend = ax.get_legend()
    assert legend is not None
    taken.append(legend.get_window_extent())
    inside = ax.get_window_extent()

    def share(layer: Any) -> float:
        roof = min(machine["peak"], machine["bandwidth"] * layer["flops"] / layer["bytes"])
        return float(layer["gflops"][first] / roof)

    for layer in sorted((layer for layer in run["layers"] if first in layer["gflops"]), key=share):
        point = layer["flops"] / layer["bytes"], layer["gflops"][first]
        for dx, dy, horizontal, vertical in _SPOTS:
            text = ax.annotate(
                layer["name"], point, (dx, dy), textcoords="offset points", ha=horizontal, va=vertical, fontsize=7
            )
            box = text.get_window_extent()
            if inside.contains(*box.min) and inside.contains(*box.max) and not box.count_overlaps(taken):
                taken.append(box)
                break
            text.remove()


def _pixels(ax: Axes, machine: Any) -> list[tuple[float, float]]:
    """Places of the picture that names must keep clear of: points, and the roofs."""
    low, high = ax.get_xlim()
    along = np.geomspace(low, high, _STEPS)
    roofs = [np.column_stack([along, np.minimum(machine["bandwidth"] * along, machine["peak"])])]
    points = [np.asarray(markers.get_offsets()) for markers in ax.collections]
    return [(float(x), float(y)) for x, y in ax.transData.transform(np.concatenate(roofs + points))]
