"""``python -m fastconv``: info, the benchmark's tables and JSON, and what can go wrong."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import _core
from fastconv.__main__ import main
from fastconv.cli import machine

QUICK = ["bench", "--quick", "--net", "lenet", "--repeat", "1", "--seconds", "0.01"]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timing itself is not under test here."""
    monkeypatch.setattr("fastconv.cli.timing._PAUSE_SECONDS", (0, 0))
    monkeypatch.setattr("fastconv.cli.timing._TURN_SECONDS", 0)


def bench(path: Path, *options: str) -> dict[str, Any]:
    assert main([*QUICK, *options, "--json", str(path)]) == 0
    result: dict[str, Any] = json.loads(path.read_text())
    return result


@pytest.mark.parametrize("command", [[], ["info"]])
def test_info(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 0
    printed = capsys.readouterr().out
    fastconv.show_config()
    assert printed == capsys.readouterr().out
    assert fastconv.__version__ in printed


def test_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "fastconv"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert fastconv.__version__ in done.stdout


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(QUICK) == 0
    printed = capsys.readouterr().out
    for text in ("lenet_c1", "lenet_c3", "lenet_c5", "1x32² → 6, 5x5", "direct", "im2col", "x NumPy", _core.isa()):
        assert text in printed
    assert "auto against NumPy, 3 layers: geomean" in printed
    assert "auto against each formulation alone, geomean: windows-tensordot" in printed
    assert machine.cpu_name() in printed


def test_a_narrow_terminal_has_no_shapes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastconv.cli.bench._PLAIN_WIDTH", 0)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(QUICK) == 0
    printed = capsys.readouterr().out
    assert "5x5" not in printed
    assert "x NumPy" in printed
    assert "…" not in printed


def test_json_adds_up(tmp_path: Path) -> None:
    result = bench(tmp_path / "out.json", "--threads", "1")
    assert result["machine"]["threads"] == 1
    assert result["machine"]["peak"] > 0
    assert [layer["name"] for layer in result["layers"]] == ["lenet_c1", "lenet_c3", "lenet_c5"]
    ratios = []
    for layer in result["layers"]:
        assert set(layer["fastconv_seconds"]) == {"auto", "direct", "im2col", "winograd", "Conv2d"}
        best = min(layer["numpy_seconds"].values())
        for algo, seconds in layer["fastconv_seconds"].items():
            assert layer["speed_up"][algo] == {"NumPy": pytest.approx(best / seconds)}
            assert layer["gflops"][algo] == pytest.approx(layer["flops"] / seconds / 1e9)
            share = layer["gflops"][algo] / result["machine"]["peak"]
            assert layer["fraction_of_peak"][algo] == pytest.approx(share)
        ratios.append(layer["speed_up"]["auto"]["NumPy"])
    assert result["summary"]["auto"]["NumPy"]["geomean"] == pytest.approx(math.prod(ratios) ** (1 / 3))
    assert result["summary"]["auto"]["NumPy"]["min"] == pytest.approx(min(ratios))
    slowest = result["layers"][ratios.index(min(ratios))]["name"]
    assert result["summary"]["auto"]["NumPy"]["min_layer"] == slowest


def test_options(tmp_path: Path) -> None:
    result = bench(tmp_path / "out.json", "--batch", "2", "--dtype", "float64", "--algo", "im2col", "--net", "lenet")
    assert len(result["layers"]) == 3
    assert all(layer["problem"].split()[1] == "n2" for layer in result["layers"])
    assert all(list(layer["fastconv_seconds"]) == ["im2col"] for layer in result["layers"])
    assert result["settings"]["dtype"] == "float64"


def test_quick_takes_small_networks(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    assert main(["bench", "--quick", "--repeat", "1", "--json", str(path)]) == 0
    assert {layer["network"] for layer in json.loads(path.read_text())["layers"]} == {"alphago", "lenet"}


def test_a_refused_algorithm_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve = fastconv.conv2d

    def refuse(*args: Any, algo: str, **kwargs: Any) -> Any:
        if algo == "direct":
            raise ValueError("direct does not serve this")
        return serve(*args, algo=algo, **kwargs)

    monkeypatch.setattr(fastconv, "conv2d", refuse)
    result = bench(tmp_path / "out.json", "--algo", "direct", "--algo", "im2col")
    for layer in result["layers"]:
        assert layer["refused"] == {"direct": "direct does not serve this"}
        assert set(layer["fastconv_seconds"]) == {"im2col"}
    assert set(result["summary"]) == {"im2col"}
    assert "-" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y + np.float32(0.001), "differs from NumPy by"),
        (lambda y: y * np.float32("nan"), "differs from NumPy by nan"),
        (lambda y: y[:, 1:], "but NumPy gives float32 (1, 6, 28, 28)"),
    ],
)
def test_a_wrong_result_is_not_timed(
    change: Any, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve = fastconv.conv2d
    monkeypatch.setattr(fastconv, "conv2d", lambda *args, **kwargs: change(serve(*args, **kwargs)))
    assert main(QUICK) == 1
    error = capsys.readouterr().err
    assert "wrong result: lenet_c1, algo='auto'" in error
    assert message in error


def test_a_json_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--json", str(tmp_path / "none" / "out.json")]) == 1
    captured = capsys.readouterr()
    assert "cannot open" in captured.err
    assert "lenet_c1" not in captured.out


def test_without_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert main(QUICK) == 1
    assert "pip install 'fastconv[bench]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--net", "resnet"],
        ["--algo", "fft"],
        ["--repeat", "0"],
        ["--batch", "0"],
        ["--threads", "x"],
        ["--seconds", "-1"],
        ["--peer", "caffe"],
        ["--pass", "sideways"],
        ["--compare", "one.json"],
    ],
    ids=" ".join,
)
def test_wrong_options(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bench", *options])
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_threads_of_both_sides() -> None:
    before = fastconv.get_num_threads()
    with machine.limited_threads(1) as blas:
        assert fastconv.get_num_threads() == 1
        assert "threads: 1" in blas
    assert fastconv.get_num_threads() == before


def test_without_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with machine.limited_threads(1) as blas:
        assert fastconv.get_num_threads() == 1
        assert "threadpoolctl is not installed" in blas


def test_cpu_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: other\n")
    monkeypatch.setattr(machine, "_CPUINFO", cpuinfo)
    assert machine.cpu_name() == "Some CPU @ 2 GHz"
    cpuinfo.write_text("processor\t: 0\n")
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert machine.cpu_name() == "riscv64"
