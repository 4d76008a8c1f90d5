"""Plots and page of a benchmark run, and the figures that they are drawn from."""

from __future__ import annotations

import copy
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from fastconv.__main__ import main
from fastconv.cli.bandwidth import copy_gigabytes
from fastconv.cli.bench_options import ALGORITHMS
from fastconv.cli.jobs import Job
from fastconv.cli.measure import HELD
from fastconv.cli.phase_times import PHASES
from fastconv.cli.problems import network, parse_line

pytest.importorskip("matplotlib")

from fastconv.cli import plots
from fastconv.cli.page import page
from fastconv.cli.plots.bars import bars
from fastconv.cli.plots.phases import phases
from fastconv.cli.plots.roofline import roofline
from fastconv.cli.plots.style import series

PEERS = ("torch", "torch-channels-last", "onnxruntime", "openvino", "ncnn", "mnn")
PNG = b"\x89PNG"


def layer(name: str, problem: Any, rate: float) -> dict[str, Any]:
    job = Job("conv_forward", problem)
    seconds = job.flops / (rate * 1e9)
    ours = {algo: seconds * (1 + 0.1 * i) for i, algo in enumerate(ALGORITHMS)}
    ours[HELD] = 0.8 * seconds
    peers = {peer: seconds * (1.2 + 0.1 * i) for i, peer in enumerate(PEERS)}
    return {
        "network": name,
        "name": problem.name,
        "problem": str(problem),
        "flops": job.flops,
        "bytes": job.bytes,
        "numpy_seconds": {"im2col": 2 * seconds, "windows": 3 * seconds},
        "fastconv_seconds": ours,
        "peer_seconds": peers,
        "auto_takes": "direct",
        "phases": dict(zip(PHASES, (0.2, 0.6, 0.15, 0.05), strict=True)),
        "gflops": {who: job.flops / time / 1e9 for who, time in (ours | peers).items()},
        "fraction_of_peak": {who: job.flops / time / 1e9 / 500 for who, time in ours.items()},
    }


@pytest.fixture
def run() -> dict[str, Any]:
    """Every layer of three networks, the rates rising from layer to layer."""
    problems = [(name, problem) for name in ("googlenet", "lenet", "vgg") for problem in network(name)]
    row = {"layers": 3, "geomean": 1.5, "min": 1.2, "min_layer": "lenet_c1"}
    return {
        "machine": {
            "cpu": "Some <CPU> & more", "isa": "avx2", "threads": 2, "peak": 500.0, "bandwidth": 40.0,
            "peers": {"torch": "1.2.3"},
        },
        "settings": {
            "operation": "conv_forward", "candidates": [*ALGORITHMS, HELD], "batch": 1, "dtype": "float32",
        },
        "layers": [layer(name, problem, 100 + 10 * i) for i, (name, problem) in enumerate(problems)],
        "summary": {"auto": {"torch": row, "best peer": row}},
    }  # fmt: skip


def boxes(texts: list[Any]) -> list[Any]:
    return [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]


def assert_apart(found: list[Any]) -> None:
    for index, box in enumerate(found):
        assert not box.padded(-0.5).count_overlaps([other.padded(-0.5) for other in found[:index]])


def test_bars_show_everyone(run: dict[str, Any]) -> None:
    figure = bars(run, "googlenet")
    axes = figure.axes
    assert [len(ax.get_xticklabels()) for ax in axes] == [7, 7, 7]
    shown = [label.get_text() for ax in axes for label in ax.get_xticklabels()]
    assert [text.partition("\n")[0] for text in shown] == [problem.name for problem in network("googlenet")]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(legend) == 2 + len(PEERS) + 1 + 1
    assert "peak of the CPU, 500" in legend
    heights = {bar.get_label(): [patch.get_height() for patch in bar] for bar in axes[0].containers}
    assert heights["fastconv conv2d"] == pytest.approx([100 + 10 * i for i in range(7)])
    assert heights["NumPy"] == pytest.approx([(100 + 10 * i) / 2 for i in range(7)])


def labels_in_sight(ax: Any) -> list[Any]:
    """Labels of the vertical axis; matplotlib lists a tick beyond its ends too."""
    low, high = ax.get_ylim()
    return [label for label, y in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True) if low <= y <= high]


@pytest.mark.parametrize("name", ["googlenet", "lenet", "vgg"])
def test_nothing_overlaps_in_the_bars(run: dict[str, Any], name: str) -> None:
    figure = bars(run, name)
    figure.draw_without_rendering()
    assert figure._suptitle is not None
    texts = [label for ax in figure.axes for label in (*ax.get_xticklabels(), *labels_in_sight(ax))]
    assert_apart([*boxes([*texts, figure._suptitle]), figure.legends[0].get_window_extent()])


def test_a_peak_far_above_the_bars_is_only_told(run: dict[str, Any]) -> None:
    run["machine"]["peak"] = 5000.0
    figure = bars(run, "lenet")
    assert figure.axes[0].get_ylim()[1] < 1000
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "peak of the CPU, 5000: above the picture" in legend


def test_one_that_did_not_run_has_no_bar(run: dict[str, Any]) -> None:
    for each in run["layers"]:
        each["numpy_seconds"] = {}
    del run["layers"][0]["peer_seconds"]["ncnn"], run["layers"][0]["gflops"]["ncnn"]
    values = series(run["layers"], ["auto"])
    assert "NumPy" not in values
    assert values["ncnn"][0] == 0
    assert values["ncnn"][1] > 0


def test_roofline_has_a_point_for_every_layer_and_algorithm(run: dict[str, Any]) -> None:
    figure = roofline(run)
    ax = figure.axes[0]
    labels = {"conv2d, auto", "direct", "im2col", "winograd", HELD}
    assert {points.get_label() for points in ax.collections} == labels
    assert all(len(points.get_offsets()) == len(run["layers"]) for points in ax.collections)
    first = run["layers"][0]
    assert tuple(ax.collections[0].get_offsets()[0]) == pytest.approx((first["flops"] / first["bytes"], 100))
    slope = ax.lines[0].get_xydata()
    assert tuple(slope[-1]) == pytest.approx((500 / 40, 500))
    assert slope[0][1] == pytest.approx(40 * slope[0][0])


def test_names_in_the_roofline_do_not_overlap(run: dict[str, Any]) -> None:
    figure = roofline(run)
    figure.draw_without_rendering()
    ax = figure.axes[0]
    assert len(ax.texts) > 5
    assert_apart([*boxes(list(ax.texts)), ax.get_legend().get_window_extent()])


def test_phases_add_up(run: dict[str, Any]) -> None:
    figure = phases(run)
    assert figure is not None
    ax = figure.axes[0]
    ends = [patch.get_x() + patch.get_width() for patch in ax.containers[-1]]
    assert ends == pytest.approx([100.0] * len(run["layers"]))
    figure.draw_without_rendering()
    assert figure._suptitle is not None
    texts = [*ax.get_yticklabels(), *ax.texts, figure._suptitle]
    assert_apart([*boxes(texts), figure.legends[0].get_window_extent()])
    for each in run["layers"]:
        del each["phases"]
    assert phases(run) is None
    assert "phases" not in plots.draw(run)


@pytest.mark.parametrize(
    ("target", "names"),
    [("plots", {"bars-lenet.png", "roofline.png", "phases.png"}),
     ("new/some.png", {"some-bars-lenet.png", "some-roofline.png", "some-phases.png"})],
)  # fmt: skip
def test_files(run: dict[str, Any], tmp_path: Path, target: str, names: set[str]) -> None:
    run["layers"] = [each for each in run["layers"] if each["network"] == "lenet"]
    paths = plots.save(run, tmp_path / target)
    assert {path.name for path in paths} == names
    assert all(path.read_bytes().startswith(PNG) for path in paths)


def test_page_is_complete_and_needs_no_other_file(run: dict[str, Any]) -> None:
    text = page(run)
    assert "Some &lt;CPU&gt; &amp; more" in text
    assert "<CPU>" not in text
    assert text.count("data:image/svg+xml;base64,") == 5
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    for each in run["layers"]:
        assert f'<td class="text">{each["name"]}</td>' in text
    first = run["layers"][0]
    assert f'<td class="best">{first["gflops"][HELD]:.1f}</td>' in text
    assert "1.50" in text
    assert "1.2.3" in text


def test_from_a_run_and_from_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--quick", "--net", "lenet", "--repeat", "1", "--seconds", "0.01", "--algo", "auto", "--no-numpy"]
    where = ["--json", str(tmp_path / "run.json"), "--html", str(tmp_path / "page.html"), "--plot", str(tmp_path / "a")]
    assert main(["bench", *options, *where]) == 0
    written = json.loads((tmp_path / "run.json").read_text())
    assert written["settings"]["candidates"] == ["auto"]
    assert all(sum(each["phases"].values()) == pytest.approx(1) for each in written["layers"])
    assert written["machine"]["bandwidth"] > 0
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["bars-lenet.png", "phases.png", "roofline.png"]
    again = ["--html", str(tmp_path / "again.html"), "--plot", str(tmp_path / "b")]
    assert main(["bench", "--read", str(tmp_path / "run.json"), *again]) == 0
    assert len(list((tmp_path / "b").iterdir())) == 3
    assert "lenet_c5" in (tmp_path / "again.html").read_text()
    capsys.readouterr()
    assert main(["bench", "--read", str(tmp_path / "run.json")]) == 1
    assert "--read goes with --html or --plot" in capsys.readouterr().err


def test_backward_has_phases_too(tmp_path: Path) -> None:
    options = ["--quick", "--net", "lenet", "--repeat", "1", "--seconds", "0.01", "--algo", "auto", "--no-numpy"]
    assert main(["bench", *options, "--pass", "backward", "--plot", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bars-lenet.png", "phases.png", "roofline.png"]


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["bench", "--quick", "--plot", str(tmp_path)]) == 1
    assert "pip install 'fastconv[plot]'" in capsys.readouterr().err


def test_bytes_of_a_job() -> None:
    problem = parse_line("a: n2 c8 h14 k6 r3 p1 g2")
    assert problem is not None
    x, w, y = 2 * 8 * 14 * 14, 6 * 4 * 9, 2 * 6 * 14 * 14
    assert Job("conv_forward", problem).bytes == 4 * (x + w + y)
    assert Job("conv_backward", problem, "float64").bytes == 8 * (2 * x + 2 * w + y)


def test_bandwidth_counts_reads_and_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copies take 1, 2, 1.5 and 3 s, the first of them to touch the memory: it does not count."""
    ticks = iter([0, 1, 10, 12, 20, 21.5, 30, 33])
    monkeypatch.setattr("fastconv.cli.bandwidth.perf_counter", lambda: next(ticks))
    assert copy_gigabytes(2, size=3_000_000, rounds=3) == pytest.approx(3e6 / 1.5 / 1e9)


def test_the_first_runs_layers_are_left_alone(run: dict[str, Any]) -> None:
    before = copy.deepcopy(run)
    page(run)
    assert run == before
