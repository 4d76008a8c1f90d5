"""The table of CS231n's lecture 9: where a network's memory, parameters and multiply-adds are."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from fastconv.zoo.catalogue import resolved
from fastconv.zoo.kinds import Branches, Network, Shape

__all__ = ["Row", "layers", "summary"]

_BAR = 12  # characters of the longest bar
_ROOM = 1000  # columns that no table needs
_EIGHTHS = ("", *"▏▎▍▌▋▊▉")
_COLUMNS = ("layer", "output", "activations", "", "parameters", "", "multiply-adds", "")
_LEFT = (0, 1, 3, 5, 7)


@dataclass(frozen=True)
class Row:
    """One layer, for one image.

    Attributes
    ----------
    name, kind : str
        The layer; the first row is "input".
    output : tuple of int
        (C, H, W), or (features,).
    activations : int
        Elements of the output. Those of branches lie in the output of the whole: its own row counts none.
    parameters : int
        Weights and biases.
    multiply_adds : int
        Of convolutions and fully connected layers.
    """

    name: str
    kind: str
    output: Shape
    activations: int
    parameters: int
    multiply_adds: int


def layers(net: Network | str) -> list[Row]:
    """Return what each layer of a network takes, the input first.

    Parameters
    ----------
    net : Network or str
        A network, or the name of one.

    Returns
    -------
    list of Row
        The input, and the layers from input to output; those of branches come before the whole.

    Raises
    ------
    ValueError
        If no network has that name.

    Examples
    --------
    >>> rows = layers("vgg16")
    >>> sum(row.parameters for row in rows)
    138357544
    """
    net = resolved(net)
    rows = [Row("input", "input", net.input, math.prod(net.input), 0, 0)]
    for layer, shape in net.walk():
        output = layer.output(shape)
        activations = 0 if isinstance(layer, Branches) else math.prod(output)
        parameters = sum(map(math.prod, layer.parameters(shape).values()))
        rows.append(Row(layer.name, layer.kind, output, activations, parameters, layer.multiply_adds(shape)))
    return rows


def summary(net: Network | str, *, itemsize: int = 4) -> None:
    """Print what each layer of a network takes, for one image: with rich if it is installed, else as plain text.

    Parameters
    ----------
    net : Network or str
        A network, or the name of one.
    itemsize : int
        Bytes of an element, for the totals.

    Raises
    ------
    ValueError
        If no network has that name.

    Notes
    -----
    Activations are the input and the output of every layer, once: what a forward pass leaves behind for the backward
    pass, which takes as much again for gradients. Bars are shares of the largest layer.
    """
    net = resolved(net)
    rows = layers(net)
    shape = "x".join(map(str, net.input))
    title = f"{net.name}, one image of {shape}"
    totals = {name: sum(getattr(row, name) for row in rows) for name in ("activations", "parameters", "multiply_adds")}
    megabytes = [f"{totals[name] * itemsize / 1e6:,.1f} MB" for name in ("activations", "parameters")]
    footer = ("total", "", f"{totals['activations']:,}", megabytes[0], f"{totals['parameters']:,}", megabytes[1])
    cells = [_cells(row, rows) for row in rows]
    _print(title, cells, (*footer, f"{totals['multiply_adds']:,}", ""))


def _cells(row: Row, rows: list[Row]) -> tuple[str, ...]:
    cells = [row.name, "x".join(map(str, row.output))]
    for name in ("activations", "parameters", "multiply_adds"):
        value, largest = getattr(row, name), max(getattr(row, name) for row in rows)
        full, eighths = divmod(math.ceil(8 * _BAR * value / largest) if largest else 0, 8)
        cells += [f"{value:,}" if value else "", "█" * full + _EIGHTHS[eighths]]
    return tuple(cells)


def _print(title: str, cells: list[tuple[str, ...]], footer: tuple[str, ...]) -> None:
    try:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        sys.stdout.write(_plain(title, cells, footer))
        return
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
    for place, (heading, total) in enumerate(zip(_COLUMNS, footer, strict=True)):
        table.add_column(heading, total, justify="left" if place in _LEFT else "right", no_wrap=True)
    for row in cells:
        table.add_row(*row)
    console = Console(highlight=False)
    if not console.is_terminal:  # a file has room
        console.width = max(
            console.width, console.measure(table, options=console.options.update(max_width=_ROOM)).maximum
        )
    console.print(table)


def _plain(title: str, cells: list[tuple[str, ...]], footer: tuple[str, ...]) -> str:
    lines = [_COLUMNS, *cells, footer]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [title]
    for line in lines:
        padded = zip(line, widths, range(len(line)), strict=True)
        aligned = (cell.ljust(width) if place in _LEFT else cell.rjust(width) for cell, width, place in padded)
        text.append("  ".join(aligned).rstrip())
    return "\n".join(text) + "\n"
