"""The line grammar of problems, and the layers that come with the package."""

from pathlib import Path

import pytest

from fastconv.cli.problems import Problem, network, network_names, parse, parse_line, read


def only(line: str) -> Problem:
    problem = parse_line(line)
    assert problem is not None
    return problem


def test_every_token() -> None:
    problem = only("name: n2 c6 h20 w21 k8 r3 s5 u2 v3 p1 q4 dh2 dw3 g2")
    assert problem == Problem("name", 2, 6, 20, 21, 8, 3, 5, 2, 3, 1, 4, 2, 3, 2)
    assert problem.x_shape == (2, 6, 20, 21)
    assert problem.w_shape == (8, 3, 3, 5)
    assert problem.y_shape == (2, 8, 9, 6)  # (20 + 2 - 5) / 2 + 1 = 9.5 and (21 + 8 - 13) / 3 + 1 = 6.33
    assert problem.flops == 2 * (2 * 8 * 9 * 6) * (3 * 3 * 5)
    assert problem.conv_kwargs == {"stride": (2, 3), "padding": (1, 4), "dilation": (2, 3), "groups": 2}


def test_defaults() -> None:
    assert only("a: c1 h9 k2 r3") == Problem("a", 1, 1, 9, 9, 2, 3, 3, 1, 1, 0, 0, 1, 1, 1)
    assert only("a: c1 h9 k2 r3 u2 p1 dh3") == Problem("a", 1, 1, 9, 9, 2, 3, 3, 2, 2, 1, 1, 3, 3, 1)


def test_order_of_tokens_is_free() -> None:
    assert only("a: r3 k2 w8 h9 c1") == only("a: c1 h9 w8 k2 r3")


def test_a_line_comes_back() -> None:
    problem = only("a.b-c+1: n0 c4 h9 w7 k2 r3 s1 u2 p3 q0 dw2 g2")
    assert only(str(problem)) == problem


def test_comments_and_blank_lines() -> None:
    text = "# heading\n\n  a: c1 h5 k1 r3  # first\n\t\nb: c2 h5 k1 r3#second\n"
    assert [problem.name for problem in parse(text)] == ["a", "b"]
    assert parse_line("   # nothing") is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("c1 h9 k2 r3", "expected 'name: tokens'"),
        (": c1 h9 k2 r3", "a name is letters"),
        ("two words: c1 h9 k2 r3", "'two words'"),
        ("a: c1 h9 k2", "'a' lacks r"),
        ("a:", "'a' lacks c h k r"),
        ("a: c1 h9 k2 r3 z4", "unknown token 'z4'"),
        ("a: c1 h9 k2 r3 d2", "unknown token 'd2'"),
        ("a: c1 h9 k2 r3 p-1", "unknown token 'p-1'"),
        ("a: c1 h9 k2 r3 p", "unknown token 'p'"),
        ("a: c1 h9 k2 r3 p1.5", "unknown token 'p1.5'"),
        ("a: c1 h9 k2 r3 p\u0661", "unknown token"),
        ("a: c1 h9 k2 r3 c2", "c is given twice, the second time as 'c2'"),
        ("a: c0 h9 k2 r3", "c must be at least 1, got c0"),
        ("a: c1 h9 k2 r3 u0", "u must be at least 1, got u0"),
        ("a: c1 h9 k2 r3 dw0", "dw must be at least 1, got dw0"),
        ("a: c4 h9 k6 r3 g3", "g3 does not divide c4"),
        ("a: c6 h9 k4 r3 g3", "g3 does not divide k4"),
        ("a: c1 h4 k2 r5", "spans 5"),
        ("a: c1 h9 w4 k2 r3 dh3 p1", r"spans 7 does not fit the padded width of 4 \+ 1 \+ 1 = 6"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse(f"# heading\n{line}\n", source="file.txt")
    assert str(caught.value).startswith("file.txt:2: ")


def test_a_name_comes_once() -> None:
    with pytest.raises(ValueError, match=r"<string>:3: 'a' is already the name of line 1"):
        parse("a: c1 h5 k1 r3\nb: c1 h5 k1 r3\na: c2 h5 k1 r3\n")


def test_read_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "some.txt"
    path.write_text("a: c1 h5 k1 r3\n")
    assert read(path) == [only("a: c1 h5 k1 r3")]
    path.write_text("a: c1\n")
    with pytest.raises(ValueError, match=r"some\.txt:1: 'a' lacks h k r"):
        read(path)


def test_networks() -> None:
    assert network_names() == ["alexnet", "alphago", "googlenet", "lenet", "vgg", "zfnet"]
    names = [problem.name for name in network_names() for problem in network(name)]
    assert len(names) == len(set(names))
    with pytest.raises(ValueError, match="no network 'resnet'; there are alexnet, "):
        network("resnet")


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("lenet", [(6, 28), (16, 10), (120, 1)]),
        ("alexnet", [(96, 55), (256, 27), (384, 13), (384, 13), (256, 13)]),
        ("zfnet", [(96, 110), (256, 26), (512, 13), (1024, 13), (512, 13)]),
        ("alphago", [(192, 19), (192, 19), (1, 19)]),
    ],
)
def test_output_shapes_of_the_papers(name: str, outputs: list[tuple[int, int]]) -> None:
    assert [problem.y_shape for problem in network(name)] == [(1, k, size, size) for k, size in outputs]


def test_vgg_keeps_sizes_and_googlenet_halves_once() -> None:
    assert all(problem.y_shape[2:] == problem.x_shape[2:] for problem in network("vgg"))
    stem, *rest = network("googlenet")
    assert stem.y_shape == (1, 64, 112, 112)
    assert all(problem.y_shape[2:] == problem.x_shape[2:] for problem in rest)


@pytest.mark.parametrize(("module", "channels"), [("3a", 256), ("4a", 512), ("5a", 832)])
def test_inception_modules_fit_together(module: str, channels: int) -> None:
    layers = {p.name.removeprefix(f"googlenet_{module}_"): p for p in network("googlenet") if f"_{module}_" in p.name}
    assert layers["3x3"].c == layers["3x3r"].k
    assert layers["5x5"].c == layers["5x5r"].k
    assert sum(layers[branch].k for branch in ("1x1", "3x3", "5x5", "pool")) == channels


def test_vgg_flops_are_those_of_the_paper() -> None:
    """VGG D, 16 layers: 15.3 G multiply-adds in convolutions."""
    layers = {problem.name: problem.flops for problem in network("vgg")}
    counts = {"1_1": 1, "1_2": 1, "2_1": 1, "2_2": 1, "3_1": 1, "3_2": 2, "4_1": 1, "4_2": 2, "5_1": 3}
    total = sum(count * layers[f"vgg{name}"] for name, count in counts.items())
    assert total / 2 == 15_346_630_656
