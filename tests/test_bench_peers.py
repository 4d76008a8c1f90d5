"""The benchmark with other engines: who takes part, the ratios, and what a peer's failure does."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from fake_peer import peer

import fastconv
from fastconv import _core
from fastconv.__main__ import main
from fastconv.cli import bench
from fastconv.cli.bench_settings import settings
from fastconv.cli.peers import PEERS, Peer

QUICK = ["bench", "--quick", "--net", "lenet", "--repeat", "1", "--seconds", "0.01", "--algo", "auto"]


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two peers that are right, and no pause between turns."""
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setattr("fastconv.cli.timing._PAUSE_SECONDS", (0, 0))
    monkeypatch.setattr("fastconv.cli.timing._TURN_SECONDS", 0)
    for name in list(PEERS):
        monkeypatch.delitem(PEERS, name)
    monkeypatch.setitem(PEERS, "one", peer(name="one"))
    monkeypatch.setitem(PEERS, "two", peer(name="two"))
    monkeypatch.setitem(PEERS, "gone", Peer("gone", "fake_peer", ("gone",), ("no_such_module",)))


def run(path: Path, *options: str) -> dict[str, Any]:
    assert main([*QUICK, *options, "--json", str(path)]) == 0
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def test_ratios_to_each_peer_and_to_the_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(tmp_path / "out.json", "--peers", "--held")
    ratios = []
    for layer in result["layers"]:
        assert set(layer["fastconv_seconds"]) == {"auto", "Conv2d"}
        assert set(layer["peer_seconds"]) == {"one", "two"}
        for candidate, seconds in layer["fastconv_seconds"].items():
            rivals = {"NumPy": min(layer["numpy_seconds"].values()), **layer["peer_seconds"]}
            rivals["best peer"] = min(layer["peer_seconds"].values())
            assert layer["speed_up"][candidate] == pytest.approx({r: time / seconds for r, time in rivals.items()})
        for name, seconds in layer["peer_seconds"].items():
            assert layer["gflops"][name] == pytest.approx(layer["flops"] / seconds / 1e9)
        assert all(error < 1e-6 for error in layer["peer_rms_error"].values())
        ratios.append(layer["speed_up"]["Conv2d"]["best peer"])
    row = result["summary"]["Conv2d"]["best peer"]
    assert row["geomean"] == pytest.approx(math.prod(ratios) ** (1 / 3))
    assert row["min"] == min(ratios)
    assert result["machine"]["peers"] == {"one": PEERS["one"].version(), "two": PEERS["two"].version()}
    assert result["machine"]["compiler"] == _core.compiler()
    printed = capsys.readouterr().out
    for text in (
        "auto: times faster than",
        "Conv2d: times faster than",
        "Conv2d against best peer, 3 layers: geomean",
        "auto against two, 3 layers: geomean",
        "peers that are not installed: gone",
        "largest RMS error of peers: one",
    ):
        assert text in printed


def test_who_takes_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "out.json")["settings"]["peers"] == []
    assert run(tmp_path / "out.json", "--peer", "two", "--peer", "two")["settings"]["peers"] == ["two"]
    result = run(tmp_path / "out.json", "--no-numpy", "--peer", "one")
    assert all(set(layer["speed_up"]["auto"]) == {"one", "best peer"} for layer in result["layers"])
    assert "best peer" not in result["summary"]["auto"]
    capsys.readouterr()
    assert main([*QUICK, "--peer", "gone"]) == 1
    assert capsys.readouterr().err == "not installed: gone\n"


def test_all_that_are_installed_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    monkeypatch.setattr(bench, "_run", lambda arguments, console: seen.update(settings(arguments)))
    assert main(["bench"]) == 0
    assert seen["peers"] == ["one", "two"]
    assert seen["seconds"] == pytest.approx(1.6)
    assert main(["bench", "--no-peers"]) == 0
    assert seen["peers"] == []


def test_without_numpy_the_results_are_still_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve = fastconv.conv2d
    monkeypatch.setattr(
        fastconv, "conv2d", lambda *args, algo, **kwargs: serve(*args, algo=algo, **kwargs) * (1 + (algo == "auto"))
    )
    assert main([*QUICK, "--no-numpy"]) == 1
    assert "lenet_c1, algo='auto': differs from algo='im2col'" in capsys.readouterr().err


def test_backward(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(tmp_path / "out.json", "--pass", "backward", "--peer", "one", "--algo", "im2col")
    assert "Gradients by input, weights and bias" in capsys.readouterr().out
    for layer in result["layers"]:
        sizes = {key: int(layer["problem"].split(f" {key}")[1].split()[0]) for key in ("c", "h", "k", "r")}
        outputs = (sizes["h"] - sizes["r"] + 1) ** 2
        assert layer["flops"] == 4 * sizes["k"] * outputs * sizes["c"] * sizes["r"] ** 2
        assert list(layer["numpy_seconds"]) == ["reference"]
        assert set(layer["fastconv_seconds"]) == {"auto", "im2col"}
        assert set(layer["auto_takes"].split("+")) <= {"direct", "im2col", "winograd"}


def test_held_weights_have_no_backward_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--pass", "backward", "--held"]) == 1
    assert capsys.readouterr().err == "--held goes with --pass forward\n"


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ("wrong", "its RMS error is 1.0e-02 of the result's size, more than 1e-03"),
        ("of the wrong shape", "but NumPy gives float32"),
        ("fails", "RuntimeError: no such layer"),
        ("dies", "its process died, status 7"),
        ("fails in its turn", "RuntimeError: tired"),
        ("dies in its turn", "its process died, status 8"),
    ],
)
def test_a_peer_that_fails_is_left_out(
    variant: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(PEERS, "two", peer(variant, name="two"))
    result = run(tmp_path / "out.json", "--peers")
    for layer in result["layers"]:
        assert set(layer["peer_seconds"]) == {"one"}
        assert reason in layer["refused"]["two"]
        assert "two" not in layer["speed_up"]["auto"]
    assert set(result["summary"]["auto"]) == {"NumPy", "one"}
    assert "two does not take part in" in capsys.readouterr().out


def test_a_peer_that_cannot_be_held_to_an_instruction_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fakes know "avx2" alone."""
    monkeypatch.setattr(_core, "isas_supported", lambda: ["baseline", "wider"])
    monkeypatch.setattr(_core, "isa", lambda: "baseline")
    assert run(tmp_path / "out.json", "--peers")["settings"]["peers"] == []
    assert "peers that cannot be held to baseline, timed only by --peer: one, two" in capsys.readouterr().out
    assert run(tmp_path / "out.json", "--peer", "one")["settings"]["peers"] == ["one"]
    monkeypatch.setattr(_core, "isa", lambda: "avx2")
    assert run(tmp_path / "out.json", "--peers")["settings"]["peers"] == ["one", "two"]
