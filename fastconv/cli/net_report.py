"""A network's times as a table, a picture and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fastconv.cli.machine import Machine
from fastconv.cli.net_times import LayerTime

__all__ = ["as_json", "plot", "table"]

_BAR = 16  # characters
_ITEM = 4  # bytes of a float32
# Okabe and Ito's palette, which all kinds of colour vision tell apart.
_BLUE, _ORANGE, _GREEN, _PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"


def table(layers: Sequence[LayerTime], batch: int, *, train: bool, title: str) -> Table:
    """One row a layer: where time and memory go."""
    result = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
    total = sum(layer.seconds for layer in layers)
    slowest = max(layer.seconds for layer in layers)
    directions = ("forward", "backward") if train else ("forward",)
    sums = {name: sum(getattr(layer, name) for layer in layers) for name in ("activations", "parameters", *directions)}
    result.add_column("layer", "all layers", no_wrap=True)
    result.add_column("output", no_wrap=True)
    result.add_column("activations, MB", _megabytes(batch * sums["activations"]), justify="right")
    result.add_column("parameters, MB", _megabytes(sums["parameters"]), justify="right")
    for name in directions:
        result.add_column(f"{name}, ms", f"{sums[name] * 1e3:.2f}", justify="right")
    result.add_column("share", "100%", justify="right")
    result.add_column("", no_wrap=True)
    result.add_column("GFLOP/s", justify="right")
    for layer in layers:
        # The backward pass does the products of the forward pass twice: for the input and for the weights.
        flops = 2 * batch * layer.multiply_adds
        rate = f"{flops / layer.forward / 1e9:.0f}" if flops else ""
        if flops and train and layer.backward:
            rate += f" / {2 * flops / layer.backward / 1e9:.0f}"
        result.add_row(
            layer.name,
            "x".join(map(str, layer.output)),
            _megabytes(batch * layer.activations),
            _megabytes(layer.parameters),
            *(f"{getattr(layer, name) * 1e3:.2f}" for name in directions),
            f"{layer.seconds / total:.0%}",
            "█" * round(_BAR * layer.seconds / slowest),
            rate,
        )
    return result


def _megabytes(elements: int) -> str:
    return f"{elements * _ITEM / 1e6:.2f}" if elements else ""


def plot(layers: Sequence[LayerTime], batch: int, *, train: bool, title: str, path: Path) -> None:
    """Draw time, activations and parameters of each layer side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.6 + 0.24 * len(layers)), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    time, memory, parameters = figure.subplots(1, 3, sharey=True)
    rows = range(len(layers))
    forward = [layer.forward * 1e3 for layer in layers]
    time.barh(rows, forward, color=_BLUE, label="forward")
    if train:
        backward = [layer.backward * 1e3 for layer in layers]
        time.barh(rows, backward, left=forward, color=_ORANGE, hatch="///", edgecolor="white", label="backward")
        time.legend(loc="best", frameon=False)
    memory.barh(rows, [batch * layer.activations * _ITEM / 1e6 for layer in layers], color=_GREEN)
    parameters.barh(rows, [layer.parameters * _ITEM / 1e6 for layer in layers], color=_PURPLE)
    time.set_yticks(rows, [layer.name for layer in layers])
    time.invert_yaxis()  # the input at the top; the other panels share the axis
    headings = {time: "time, ms", memory: "activations, MB", parameters: "parameters, MB"}
    for axes, heading in headings.items():
        axes.set_title(heading)
        axes.grid(axis="x", color="0.85")
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(title)
    canvas.print_figure(path, dpi=110)


def as_json(
    layers: Sequence[LayerTime], end_to_end: Mapping[str, float], machine: Machine, settings: dict[str, Any]
) -> dict[str, Any]:
    """Everything that was measured, in seconds; speed-ups are of fastconv against each peer."""
    ours = end_to_end["fastconv"]
    return {
        "machine": asdict(machine),
        "settings": settings,
        "layers": [asdict(layer) for layer in layers],
        "seconds": dict(end_to_end),
        "speed_up": {name: seconds / ours for name, seconds in end_to_end.items() if name != "fastconv"},
    }
