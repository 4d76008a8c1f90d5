"""The networks as data: published sizes, the table, the grammar."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fastconv import zoo
from fastconv.cli.problems import Problem, network
from fastconv.zoo.kinds import Branches, Conv

# Parameters: LeNet-5 and AlexNet in one tower by the lecture's formulas; AlexNet in two towers, VGG and GoogLeNet as in
# Caffe's and torchvision's models of the papers; VGG's paper has 133, 133, 134, 138 and 144 million.
PARAMETERS = {
    "lenet5": 61_706,
    "alexnet": 62_378_344,
    "alexnet-grouped": 60_965_224,
    "vgg-a": 132_863_336,
    "vgg-a-lrn": 132_863_336,
    "vgg-b": 133_047_848,
    "vgg-c": 133_638_952,
    "vgg-d": 138_357_544,
    "vgg-e": 143_667_240,
    "googlenet": 6_998_552,
}
OUTPUTS = {"lenet5": (10,), "alphago": (361,)}


def totals(name: str, column: str) -> int:
    return sum(getattr(row, column) for row in zoo.layers(name))


def test_names() -> None:
    assert set(zoo.names()) == {*PARAMETERS, "alphago", "zfnet"}
    aliases = {"vgg16": "vgg-d", "VGG19": "vgg-e", "vgg11": "vgg-a", "vgg13": "vgg-b", "lenet": "lenet5"}
    assert {alias: zoo.network(alias).name for alias in aliases} == aliases


def test_no_such_network() -> None:
    with pytest.raises(ValueError, match=r"no network is called 'vgg17'; there are .*vgg-d = vgg16"):
        zoo.network("vgg17")


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_published_ones(name: str) -> None:
    assert totals(name, "parameters") == PARAMETERS[name]


@pytest.mark.parametrize("name", zoo.names())
def test_output(name: str) -> None:
    net = zoo.network(name)
    assert net.output == OUTPUTS.get(name, (1000,)) == zoo.layers(net)[-1].output


def test_multiply_adds() -> None:
    """VGG-16's 15.5 and AlexNet's 0.72 in two towers are well known; GoogLeNet's paper has 1.5 billion."""
    assert totals("vgg16", "multiply_adds") == 15_470_264_320
    assert totals("alexnet-grouped", "multiply_adds") == 724_406_816
    assert round(totals("googlenet", "multiply_adds") / 1e9, 1) == 1.6


def test_vgg16_is_the_lecture_table() -> None:
    """Its memory by layer, in thousands: 3.2M twice, 800K, 1.6M twice... and their exact sum, for which it has 24M."""
    rows = zoo.layers("vgg16")
    assert sum(row.activations for row in rows) == 15_237_608
    thousands = [round(row.activations / 1000) for row in rows]
    assert thousands[:9] == [151, 3211, 3211, 803, 1606, 1606, 401, 803, 803]
    by_name = {row.name: row for row in rows}
    assert by_name["conv1_1"].parameters == 3 * 3 * 3 * 64 + 64
    assert by_name["fc6"].parameters == 7 * 7 * 512 * 4096 + 4096
    early = sum(row.activations for row in rows[:6])
    late = sum(row.parameters for row in rows[-3:])
    assert early > 0.6 * 15_237_608
    assert late > 0.85 * 138_357_544


def test_googlenet_modules_are_the_paper_table() -> None:
    outputs = {
        row.name: row.output for row in zoo.layers("googlenet") if row.kind == "branches"
    }  # depth and size of table 1
    depths = {"3a": 256, "3b": 480, "4a": 512, "4b": 512, "4c": 512, "4d": 528, "4e": 832, "5a": 832, "5b": 1024}
    sizes = {"3": 28, "4": 14, "5": 7}
    expected = {f"inception_{m}": (depth, sizes[m[0]], sizes[m[0]]) for m, depth in depths.items()}
    assert outputs == expected


def test_alphago() -> None:
    rows = zoo.layers("alphago")
    convolutions = [row for row in rows if row.kind == "conv"]
    assert [row.parameters for row in convolutions] == [
        5 * 5 * 48 * 192 + 192,
        *[3 * 3 * 192 * 192 + 192] * 11,
        192,
    ]
    assert [row.parameters for row in rows if row.kind == "bias"] == [361]


@pytest.mark.parametrize(
    ("bench", "names"),
    [
        ("lenet", ["lenet5"]),
        ("alexnet", ["alexnet"]),
        ("zfnet", ["zfnet"]),
        ("vgg", ["vgg-a", "vgg-b", "vgg-c", "vgg-d", "vgg-e"]),
        ("googlenet", ["googlenet"]),
        ("alphago", ["alphago"]),
    ],
)
def test_the_benchmark_times_layers_of_the_networks(bench: str, names: Sequence[str]) -> None:
    """Every problem of ``python -m fastconv bench`` is a convolution of a network here."""

    def key(problem: Problem) -> Problem:
        return replace(problem, name="")

    layers = {
        key(Problem("", 1, *shape, layer.k, *layer.size, *layer.stride, *layer.padding, g=layer.g))  # type: ignore[call-arg]
        for name in names
        for layer, shape in zoo.network(name).walk()
        if isinstance(layer, Conv)
    }
    timed = {key(problem) for problem in network(bench)}
    assert timed <= layers
    if bench != "googlenet":  # which times the first module of each size
        assert timed == layers


@pytest.mark.parametrize("rich", [True, False])
def test_summary(rich: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without_rich(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("rich"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    if rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setattr(builtins, "__import__", without_rich)
    zoo.summary("vgg16")
    lines = capsys.readouterr().out.splitlines()
    assert "vgg-d, one image of 3x224x224" in lines[0]
    (fc6,) = [line for line in lines if "fc6" in line]
    assert "102,764,544" in fc6
    assert "█" * 12 in fc6
    (total,) = [line for line in lines if "total" in line]
    for text in ("15,237,608", "61.0 MB", "138,357,544", "553.4 MB", "15,470,264,320"):
        assert text in total


def test_grammar() -> None:
    first, second = zoo.parse("""
# two networks and a module
module mix:
    conv_a k$1 r1 linear
    pool r3 u1 p1, conv_b k$2 r1 s3 p0 q1 v1 nobias

one uno: c2 h8 w6
    mix_1 4 3, mean2 r2 ceil, norm3 size3 alpha1e-2 beta0.5 k2   # a comment
    fc4 k5 linear, softmax
two: c1 h4
    conv1 k2 r3 u2 p1 g1, bias2, pool r2
""")
    assert (first.name, first.aliases, first.input) == ("one", ("uno",), (2, 8, 6))
    assert [(layer.name, shape) for layer, shape in first.walk()] == [
        ("mix_1.conv_a", (2, 8, 6)),
        ("mix_1.pool", (2, 8, 6)),
        ("mix_1.conv_b", (2, 8, 6)),
        ("mix_1", (2, 8, 6)),
        ("mean2", (7, 8, 6)),
        ("norm3", (7, 4, 3)),
        ("fc4", (7, 4, 3)),
        ("softmax", (5,)),
    ]
    mix = first.layers[0]
    assert isinstance(mix, Branches)
    (conv_a,), (_, conv_b) = mix.chains
    assert isinstance(conv_a, Conv)
    assert conv_a.linear
    assert isinstance(conv_b, Conv)
    assert (conv_b.size, conv_b.stride, conv_b.padding) == ((1, 3), (1, 1), (0, 1))
    assert conv_b.parameters((2, 8, 6)) == {"weight": (3, 2, 1, 3)}
    assert first.layers[2] == zoo.parse("a: c1 h1\n norm3 size3 beta0.5 alpha0.01 k2")[0].layers[0]
    assert second.output == (2, 1, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  conv1 k1 r1", "line 1: 'conv1 k1 r1' belongs to no network"),
        ("tiny c1 h8", "line 1: a network begins with its names and a colon"),
        ("tiny: c1", "tiny: the input is c, h and perhaps w, not 'c1'"),
        ("tiny: c1 h8", "tiny has no layers"),
        ("tiny: c1 h8\n  conv1 k1", "conv1: r is missing"),
        ("tiny: c1 h8\n  conv1 k1 r1 z3", "conv1: 'z3' is not a token of its kind"),
        ("tiny: c1 h8\n  conv1 k1 r1 r2", "conv1: 'r2' is twice"),
        ("tiny: c1 h8\n  conv1 k1 r1.5", "conv1: 'r1.5' has the wrong value"),
        ("tiny: c1 h8\n  conv1 k1 r1 linear2", "conv1: 'linear2' has the wrong value"),
        ("tiny: c1 h8\n  conv1 k1 r", "conv1: 'r' has the wrong value"),
        ("tiny: c1 h8\n  conv1 k-1 r1", "conv1: 'k-1' is not letters and a number"),
        ("tiny: c1 h8\n  conv1 k1 r0", "conv1: r must be at least 1, got 0"),
        ("tiny: c1 h8\n  conv1 k3 r1 g2", "conv1: k3 filters do not divide into g2 groups"),
        ("tiny: c3 h8\n  conv1 k2 r1 g2", "conv1: 3 channels do not divide into g2 groups"),
        ("tiny: c1 h8\n  conv1 k1 r9", "conv1: a kernel that spans 9 does not fit the padded height of 8"),
        ("tiny: c1 h8\n  pool1 r2 p2", "pool1: padding .2, 2. of the height must be smaller"),
        ("tiny: c1 h8\n  deep1 k1", "deep1: no layer and no module is called 'deep'"),
        ("tiny: c1 h8\n  conv1 k1 r1, conv1 k1 r1", "tiny: two layers are called conv1"),
        ("tiny: c1 h8\n  conv1 k1 r1,, fc2 k1", "a layer begins with a name, not ''"),
        ("tiny: c1 h8\n  fc1 k1, conv2 k1 r1", r"conv2 takes an image \(C, H, W\), but its input has shape \(1,\)"),
        ("module conv:\n  conv1 k1 r1", "a module has one new name of letters, not 'conv'"),
        ("module m:\n  conv k$1 r1\nt: c1 h8\n  m1 1 2", "m1: its module takes 1 numbers, not 2"),
        (
            "module m:\n  conv_a k1 r1\n  conv_b k1 r2\nt: c1 h8\n  m1",
            "m1: its branches give images of different",
        ),
    ],
)
def test_grammar_errors(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        zoo.parse(text)
