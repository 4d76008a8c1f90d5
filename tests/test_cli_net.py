"""``python -m fastconv net``: table, picture, JSON, PyTorch, and what can go wrong."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fastconv import zoo
from fastconv.__main__ import main

QUICK = ["--repeat", "1", "--seconds", "0.01"]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timing itself is not under test here."""
    monkeypatch.setattr("fastconv.cli.timing._PAUSE_SECONDS", (0, 0))
    monkeypatch.setattr("fastconv.cli.timing._TURN_SECONDS", 0)


@pytest.mark.parametrize("train", [[], ["--train"]])
def test_json_and_picture(train: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, picture = tmp_path / "out.json", tmp_path / "out.png"
    options = ["--batch", "2", "--threads", "1", "--json", str(out), "--plot", str(picture)]
    assert main(["net", "lenet", *train, *options, *QUICK]) == 0
    result = json.loads(out.read_text())
    rows = {row.name: row for row in zoo.layers("lenet5")}
    assert [layer["name"] for layer in result["layers"]] == list(rows)[1:]
    for layer in result["layers"]:
        assert layer["parameters"] == rows[layer["name"]].parameters
        assert layer["forward"] > 0
        assert (layer["backward"] > 0) == bool(train)
    assert result["machine"]["threads"] == 1
    assert result["settings"] == {"network": "lenet5", "batch": 2, "train": bool(train), "rounds": 1, "seconds": 0.01}
    assert set(result["seconds"]) == {"fastconv"}
    assert result["speed_up"] == {}
    printed = capsys.readouterr().out
    for text in ("conv5", "120x1x1", "all layers", "end to end", "images/s"):
        assert text in printed
    assert ("backward, ms" in printed) == bool(train)
    assert np.asarray(Image.open(picture).convert("RGB")).std() > 20  # bars, not a blank page


def test_modules_are_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (net,) = zoo.parse("module mix:\n conv_a k2 r1\n conv_b k3 r1\ntiny: c1 h4\n mix_1, fc2 k2 linear")
    monkeypatch.setattr(zoo, "network", lambda name: net)
    out = tmp_path / "out.json"
    assert main(["net", "tiny", "--train", "--json", str(out), *QUICK]) == 0
    mix, fc = json.loads(out.read_text())["layers"]
    assert (mix["name"], mix["output"], mix["activations"], mix["parameters"]) == ("mix_1", [5, 4, 4], 80, 10)
    assert (mix["multiply_adds"], fc["multiply_adds"]) == (80, 160)


@pytest.mark.parametrize("train", [[], ["--train"]])
def test_peer(train: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    threads, out = torch.get_num_threads(), tmp_path / "out.json"
    try:
        assert main(["net", "lenet5", *train, "--peer", "torch", "--json", str(out), *QUICK]) == 0
    finally:
        torch.set_num_threads(threads)
    result = json.loads(out.read_text())
    assert set(result["speed_up"]) == {"PyTorch NCHW", "PyTorch channels_last"}
    for name, ratio in result["speed_up"].items():
        assert ratio == pytest.approx(result["seconds"][name] / result["seconds"]["fastconv"])
    assert "PyTorch channels_last" in capsys.readouterr().out


def test_a_wrong_result_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    from fastconv.cli.torch_net import TorchModel

    right = TorchModel.forward
    monkeypatch.setattr(TorchModel, "forward", lambda self, x: 1.001 * right(self, x))
    assert main(["net", "lenet5", "--peer", "torch", *QUICK]) == 1
    assert "wrong result: PyTorch NCHW: the output differs" in capsys.readouterr().err


@pytest.mark.parametrize(("package", "options"), [("rich", []), ("matplotlib", ["--plot", "x.png"])])
def test_a_missing_package(
    package: str, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imported = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(f"no {name}", name=package)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert main(["net", "lenet5", *options]) == 1
    assert f"net needs {package}: pip install 'fastconv[" in capsys.readouterr().err


def test_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["net", "vgg17"])
    assert "no network is called 'vgg17'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["net", "lenet5", "--batch", "0"])
    assert main(["net", "lenet5", "--json", str(tmp_path / "no" / "out.json")]) == 1
    assert "cannot write" in capsys.readouterr().err
