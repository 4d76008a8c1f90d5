"""``python -m fastconv ladder``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv.__main__ import main
from fastconv.cli import ladder as command
from fastconv.ladder import FAMILIES

SMALL = ["ladder", "--problem", "c2 h8 k3 r3 p1", "--seconds", "0.005", "--threads", "2"]


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SMALL) == 0
    printed = capsys.readouterr().out
    for step in FAMILIES["conv"].steps:
        assert f"{step.number:2} {step.title}" in printed
    for text in (
        "n1 c2 h8 w8 k3 r3",
        "GFLOP/s",
        "gain",
        "op/B L1",
        "latency: one sum",
        "threads: 1. Peak",
        "threads: 2.",
    ):
        assert text in printed


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_runs(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--family", family, "--steps", "1-"]) == 0
    printed = capsys.readouterr().out
    assert FAMILIES[family].unit in printed
    assert f" 0 {FAMILIES[family][0].title}" not in printed
    assert FAMILIES[family][2].title in printed


def test_a_narrow_terminal_has_no_ideas(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_PLAIN_WIDTH", 0)
    assert main([*SMALL, "--steps", "3,8"]) == 0
    printed = capsys.readouterr().out
    assert "register tile" in printed
    assert "bound by" not in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_refused_steps_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ladder", "--problem", "c2 h9 k3 r3 u2", "--seconds", "0.005", "--steps", "3,11"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if "11 Winograd" in line)
    assert "algo='winograd'" in row or "algo='winograd'" in "".join(lines)


@pytest.mark.parametrize("to_file", [True, False])
def test_json(to_file: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ladder.json"
    assert main([*SMALL, "--steps", "2-4,10", "--json", *([str(path)] if to_file else [])]) == 0
    printed = capsys.readouterr().out
    result = json.loads(path.read_text() if to_file else printed)
    assert ("register" in printed) is False
    assert ("loop order" in printed) is True
    assert [step["number"] for step in result["steps"]] == [2, 3, 4, 10]
    assert result["problem"].startswith("ladder: n1 c2 h8")
    assert result["machine"]["threads"] == 2
    flops = 2 * 3 * 8 * 8 * 2 * 9
    before = None
    for step in result["steps"]:
        assert step["rate"] == pytest.approx(flops / step["seconds"] / 1e9)
        assert step["gain"] == (None if before is None else pytest.approx(step["rate"] / before))
        assert 0 < step["share_of_peak"] < 2
        before = step["rate"]
    assert result["steps"][2]["place"]["near"] is None
    assert [step["threads"] for step in result["steps"]] == [1, 1, 1, 2]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_plot(ending: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"ladder.{ending}"
    assert main([*SMALL, "--steps", "3-8,11", "--plot", str(path)]) == 0
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")


def test_a_plot_without_places(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "ladder.png"
    assert main([*SMALL, "--steps", "4", "--plot", str(path)]) == 0
    assert path.stat().st_size > 0


@pytest.mark.parametrize(("family", "number"), [("conv", 0), ("conv", 2), ("conv", 6), ("pool", 1), ("backward", 2)])
def test_show(family: str, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ladder", "--family", family, "--show", str(number)]) == 0
    printed = capsys.readouterr().out
    assert printed == FAMILIES[family][number].text
    assert f"tep {number}" in printed


def test_diff(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ladder", "--diff", "7", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["--- conv_07_vectors.c", "+++ conv_08_tile.c"]
    assert "-        vec sum[TILE_VECTORS] = {0};" in lines
    assert "+    vec sum[TILE_ROWS][TILE_VECTORS] = {0};" in lines


def test_show_in_colours(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main(["ladder", "--diff", "7", "8"]) == 0
    assert "\x1b[" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--show", "12"], "conv has steps 0 to 11, not 12"),
        (["--family", "pool", "--diff", "2", "3"], "pool has steps 0 to 2, not 3"),
        (["--steps", "10-14"], "conv has steps 0 to 11, not 14"),
        (["--json", "none/out.json"], "cannot write none/out.json"),
        (["--plot", "none/out.png"], "cannot write none/out.png"),
        (["--plot", "out.doc"], "cannot draw to out.doc"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_cannot_be_done(
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ladder", *options]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    "options",
    [
        ["--family", "fft"],
        ["--problem", "c2 h3"],
        ["--problem", "# nothing"],
        ["--steps", "x"],
        ["--steps", "5-3"],
        ["--steps", ""],
        ["--threads", "0"],
        ["--seconds", "-1"],
        ["--show", "x"],
        ["--diff", "3"],
    ],
    ids=" ".join,
)
def test_wrong_options(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["ladder", *options])
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_a_wrong_result(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    serve = fastconv.conv2d
    monkeypatch.setattr(fastconv, "conv2d", lambda *args, **kwargs: serve(*args, **kwargs) * np.float32(1.1))
    assert main([*SMALL, "--steps", "9"]) == 1
    assert "wrong result: conv_09_implicit" in capsys.readouterr().err


def test_without_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert main(SMALL) == 1
    assert "pip install 'fastconv[bench,plot]'" in capsys.readouterr().err
    assert main(["ladder", "--show", "3"]) == 0
