"""Colours and names of the candidates, the same in every picture.

The colours are those of Okabe and Ito, "Color Universal Design", 2008, which stay apart for colour-blind readers;
hatches tell the bars apart in print.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from fastconv.cli.measure import HELD
from fastconv.cli.problems import Problem, parse_line

__all__ = ["COLOURS", "HATCHES", "LABELS", "Run", "headline", "new_figure", "problem_of", "series", "subtitle"]

Run = Mapping[str, Any]
"""What `as_json` gives, or what was read from its file."""

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE, GREY = (
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999",
)  # fmt: skip
COLOURS = {
    "auto": VERMILLION,
    HELD: ORANGE,
    "direct": BLUE,
    "im2col": GREEN,
    "winograd": PURPLE,
    "NumPy": GREY,
    "torch": BLUE,
    "torch-channels-last": SKY,
    "onnxruntime": GREEN,
    "openvino": YELLOW,
    "ncnn": PURPLE,
    "mnn": BLACK,
}
HATCHES = {"NumPy": "//", "torch-channels-last": "\\\\", "openvino": "..", "ncnn": "xx"}
LABELS = {
    "auto": "fastconv conv2d",
    HELD: "fastconv Conv2d, weights held",
    "torch": "PyTorch",
    "torch-channels-last": "PyTorch channels_last",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "mnn": "MNN",
}


def headline(run: Run) -> list[str]:
    """Candidates of fastconv's that a picture of everyone shows: the first, and the one that holds its weights."""
    candidates: list[str] = run["settings"]["candidates"]
    return [name for name in candidates if name in (candidates[0], HELD)]


def series(layers: Sequence[Mapping[str, Any]], candidates: Sequence[str]) -> dict[str, list[float]]:
    """GFLOP/s by name, a value a layer: candidates, NumPy, peers; 0 where one did not run."""
    peers = dict.fromkeys(name for layer in layers for name in layer["peer_seconds"])
    result = {name: [layer["gflops"].get(name, 0.0) for layer in layers] for name in (*candidates, *peers)}
    if any(layer["numpy_seconds"] for layer in layers):
        result["NumPy"] = [
            layer["flops"] / min(layer["numpy_seconds"].values()) / 1e9 if layer["numpy_seconds"] else 0.0
            for layer in layers
        ]
    return result


def problem_of(layer: Mapping[str, Any]) -> Problem:
    """Problem of a layer of a run."""
    problem = parse_line(layer["problem"])
    assert problem is not None
    return problem


def subtitle(run: Run) -> str:
    """Where and how the run took place, in a line."""
    machine, settings = run["machine"], run["settings"]
    direction = settings["operation"].removeprefix("conv_")
    threads = f"{machine['threads']} thread{'s' * (machine['threads'] != 1)}"
    return (
        f"{direction}, {settings['dtype']}, batch of {settings['batch']}; {machine['cpu']}, {machine['isa']}, {threads}"
    )


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, sizes in inches, that arranges its parts without overlap."""
    return Figure(figsize=(width, height), layout="constrained")
