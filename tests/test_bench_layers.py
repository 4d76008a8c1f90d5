"""Which layers the benchmark's options select, and the comparison of two runs."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fastconv.__main__ import main
from fastconv.cli import machine
from fastconv.cli.bench_options import layers
from fastconv.cli.compare import speed_ups
from fastconv.cli.problems import network, network_names


def names(*patterns: str, net: list[str] | None = None, batch: int = 1) -> list[str]:
    return [problem.name for _, problem in layers(net, patterns or None, batch, quick=False)]


def test_networks() -> None:
    everything = [problem.name for name in network_names() for problem in network(name)]
    assert names() == everything
    assert names(net=["vgg", "vgg"]) == [problem.name for problem in network("vgg")]
    assert {name for name, _ in layers(None, None, 1, quick=True)} == {"alphago", "lenet"}


def test_patterns_select_each_layer_once() -> None:
    assert names("vgg3_2") == ["vgg3_2"]
    assert names("vgg5_1", "vgg?_2", "vgg5*") == ["vgg5_1", "vgg1_2", "vgg2_2", "vgg3_2", "vgg4_2"]
    assert names("*_1", net=["alexnet", "zfnet"]) == ["alexnet_1", "zfnet_1"]


def test_a_layer_by_its_sizes() -> None:
    [(name, problem)] = layers(["vgg"], ["c64h56k32r3s1p1q0dh2"], 4, quick=False)
    assert (name, problem.name) == ("", "c64h56k32r3s1p1q0dh2")
    assert (problem.n, problem.c, problem.h, problem.w, problem.k) == (4, 64, 56, 56, 32)
    assert (problem.r, problem.s, problem.p, problem.q, problem.dh, problem.dw) == (3, 1, 1, 0, 2, 2)
    [(_, problem)] = layers(None, ["n2c64h56k64r3"], 4, quick=False)
    assert problem.n == 2


def test_the_batch_is_everyones() -> None:
    assert {problem.n for _, problem in layers(["lenet"], None, 3, quick=False)} == {3}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("resnet*", "no layer is called 'resnet*'"),
        ("vgg3", "unknown token 'vgg3'"),
        ("c64h56k64", "lacks r"),
        ("c64 h56", "no layer is called"),
        ("", "no layer is called ''"),
    ],
)
def test_no_such_layer(pattern: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--quick", "--layers", pattern]) == 1
    assert message in capsys.readouterr().err


@pytest.fixture
def earlier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    options = ["--quick", "--net", "lenet", "--repeat", "1", "--algo", "auto", "--algo", "im2col", "--no-numpy"]
    assert main(["bench", *options, "--json", str(tmp_path / "a.json")]) == 0
    capsys.readouterr()
    result: dict[str, Any] = json.loads((tmp_path / "a.json").read_text())
    return result


def test_two_runs(earlier: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    later = copy.deepcopy(earlier)
    for layer, factor in zip(later["layers"], (2, 4, 0.5), strict=True):
        layer["fastconv_seconds"] = {"auto": layer["fastconv_seconds"]["auto"] / factor, "direct": 1}
    later["machine"]["compiler"] = "another compiler"
    (tmp_path / "b.json").write_text(json.dumps(later))
    assert main(["bench", "--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    printed = capsys.readouterr().out
    assert "auto, B against A, 3 layers: geomean 1.59x, least 0.50x (lenet_c5)" in printed
    assert "→ another compiler" in printed
    assert "im2col" not in printed
    row = next(line for line in printed.splitlines() if "lenet_c3" in line)
    assert row.split()[-1] == "4.00"


def test_two_runs_that_have_nothing_in_common(earlier: dict[str, Any]) -> None:
    later = copy.deepcopy(earlier)
    for layer in later["layers"]:
        layer["problem"] = layer["problem"].replace(" n1 ", " n2 ")
    with pytest.raises(ValueError, match="no layer in common"):
        speed_ups(earlier, later)
    with pytest.raises(ValueError, match="not the JSON of a run of bench: no 'layers'"):
        speed_ups(earlier, {})


def test_a_run_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text("{")
    assert main(["bench", "--compare", str(tmp_path / "none.json"), str(tmp_path / "a.json")]) == 1
    assert "cannot open" in capsys.readouterr().err
    assert main(["bench", "--compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 1
    assert "a.json: not JSON" in capsys.readouterr().err


def test_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the checkout that the package is tracked in; a package merely copied into one has none."""

    class Package:
        __file__ = str(tmp_path / "package" / "__init__.py")

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    monkeypatch.setattr(machine, "fastconv", Package)
    assert machine.commit() == ""
    git("init")
    assert machine.commit() == ""
    git("add", ".")
    git("commit", "-m", "first")
    clean = machine.commit()
    assert len(clean) >= 7
    int(clean, 16)
    (tmp_path / "package" / "__init__.py").write_text("changed = True\n")
    assert machine.commit() == f"{clean}-dirty"
