"""A run of the benchmark as one HTML page that needs no other file."""

import base64
import io
from collections.abc import Iterable, Mapping
from html import escape
from string import Template
from typing import Any

from matplotlib.figure import Figure

from fastconv.cli.plots import draw
from fastconv.cli.plots.style import LABELS, Run, headline, problem_of, series, subtitle
from fastconv.cli.tables import SHORT, shape, time

__all__ = ["page"]

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>fastconv bench</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 92em; padding: 0 1em; color: #222; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2em .7em; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { vertical-align: bottom; border-bottom: 2px solid #888; }
th.text, td.text { text-align: left; }
td.best { font-weight: bold; }
img { max-width: 100%; height: auto; }
</style>
</head>
<body>
<h1>fastconv bench</h1>
<p>$subtitle</p>
<h2>Speed-up</h2>
<p>How many times faster, over the layers that both ran.</p>
<div class="wide">$summary</div>
<h2>Layers</h2>
<p>GFLOP/s of the direct convolution, the best of a layer in bold; peak is the share of the CPU's peak
that $first reaches.</p>
<div class="wide">$layers</div>
<h2>Plots</h2>
$plots
<h2>Machine</h2>
<div class="wide">$machine</div>
</body>
</html>
""")


def page(run: Run) -> str:
    """Return the page of a run: speed-ups, rates of every layer, plots and the machine."""
    return _PAGE.substitute(
        subtitle=escape(subtitle(run)),
        summary=_summary(run),
        first=escape(headline(run)[0]),
        layers=_layers(run),
        plots="\n".join(f"<p>{_image(name, figure)}</p>" for name, figure in draw(run).items()),
        machine=_machine(run),
    )


def _table(head: Iterable[tuple[str, str]], rows: Iterable[str]) -> str:
    """Return a table; a heading is a text and its class, like the cells of `_row`."""
    cells = "".join(f'<th class="{kind}">{escape(text)}</th>' for text, kind in head)
    return f"<table>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>\n</table>"


def _row(cells: Iterable[tuple[str, str]]) -> str:
    """Return a row of texts and their classes."""
    return "<tr>" + "".join(f'<td class="{kind}">{escape(text)}</td>' for text, kind in cells) + "</tr>"


def _summary(run: Run) -> str:
    rows = [
        _row([
            (LABELS.get(candidate, candidate), "text"), (LABELS.get(rival, rival), "text"), (str(row["layers"]), ""),
            (f"{row['geomean']:.2f}", ""), (f"{row['min']:.2f}", ""), (row["min_layer"], "text"),
        ])
        for candidate in headline(run)
        for rival, row in run["summary"].get(candidate, {}).items()
    ]  # fmt: skip
    head = ("", "text"), ("than", "text"), ("layers", ""), ("geometric mean", ""), ("least", ""), ("its layer", "text")
    return _table(head, rows)


def _layers(run: Run) -> str:
    layers, first = run["layers"], headline(run)[0]
    rates = series(layers, run["settings"]["candidates"])
    rows = []
    for index, layer in enumerate(layers):
        best = max(values[index] for values in rates.values())
        seconds = layer["fastconv_seconds"].get(first)
        share = layer["fraction_of_peak"].get(first)
        cells = [
            (layer["name"], "text"),
            (shape(problem_of(layer)), "text"),
            *(_rate(values[index], best) for values in rates.values()),
            (layer["auto_takes"], "text"),
            ("-" if seconds is None else time(seconds), ""),
            ("-" if share is None else f"{share:.0%}", ""),
        ]
        rows.append(_row(cells))
    names = [(SHORT.get(name, name), "") for name in rates]
    return _table([("layer", "text"), ("shape", "text"), *names, ("auto is", "text"), ("time", ""), ("peak", "")], rows)


def _rate(value: float, best: float) -> tuple[str, str]:
    return (f"{value:.1f}", "best" if value == best else "") if value else ("-", "")


def _machine(run: Run) -> str:
    machine = run["machine"]
    facts: dict[str, Any] = {key: value for key, value in machine.items() if key not in ("peers", "peak", "bandwidth")}
    facts["peak of the CPU"] = f"{machine['peak']:.0f} GFLOP/s"
    facts["memory copied"] = f"{machine['bandwidth']:.0f} GB/s, read and written"
    peers: Mapping[str, str] = machine["peers"]
    facts |= {LABELS.get(name, name): version for name, version in peers.items()}
    settings = {key: value for key, value in run["settings"].items() if key not in ("peers", "candidates")}
    return _table([], [_row([(key, "text"), (str(value), "text")]) for key, value in (facts | settings).items()])


def _image(name: str, figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{escape(name)}" src="data:image/svg+xml;base64,{data}">'
