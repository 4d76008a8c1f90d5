"""The steps of the ladder: each equals the reference, and is a small step from the one before."""

from __future__ import annotations

from difflib import ndiff
from pathlib import Path

import numpy as np
import pytest
from cases import PARALLEL, SHAPES, TILES
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from machine import ISAS, using_isa
from tolerance import assert_close, rounding_bound

import fastconv
from fastconv import _core, ladder, reference
from fastconv.cli.problems import Problem, parse_line
from fastconv.ladder import FAMILIES, Step, roofline

SOURCES = Path(__file__).parents[1] / "src" / "ladder"
STEPS = [step for family in FAMILIES.values() for step in family.steps]
PLAIN = [d for d in TILES + SHAPES if (d.dh, d.dw, d.g) == (1, 1, 1)]
SLOW = {"conv_00_python"}  # a second for a million multiply-adds
LARGE = [d for d in PARALLEL if (d.dh, d.dw, d.g) == (1, 1, 1)]
MOST_NEW_LINES = 80


def serves(step: Step, d: Problem) -> bool:
    if step.name == "conv_11_winograd":
        return (d.r, d.s, d.u, d.v) in ((3, 3, 1, 1), (5, 5, 1, 1))
    return not step.name.startswith("pool") or (d.p < d.r and d.q < d.s)


def assert_right(step: Step, d: Problem) -> None:
    """A step gives what the reference gives in float64, exactly for a pool."""
    x, w = ladder.inputs(step, d)
    y = ladder.run(step, x, w, d)
    assert y.dtype == np.float32
    if w is None:
        np.testing.assert_array_equal(y, ladder.expected(step, x, None, d))
        return
    exact = ladder.expected(step, x.astype(np.float64), w.astype(np.float64), d)
    if d.n == 0:
        assert y.shape == exact.shape
        return
    margin = 32 if step.name == "conv_11_winograd" else 1  # its transforms round more, see docs/accuracy.md
    assert_close(y, exact, margin * rounding_bound(np.float32, (d.c + d.k) * d.r * d.s, x, w))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
@pytest.mark.parametrize("d", PLAIN, ids=lambda d: d.name)
def test_every_step_is_right(step: Step, d: Problem) -> None:
    if not serves(step, d):
        pytest.skip("not served")
    assert_right(step, d)


@pytest.mark.parametrize("step", [step for step in STEPS if step.name not in SLOW], ids=lambda step: step.name)
@pytest.mark.parametrize("d", LARGE, ids=lambda d: d.name)
def test_several_blocks(step: Step, d: Problem) -> None:
    if not serves(step, d):
        pytest.skip("not served")
    assert_right(step, d)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["conv_07_vectors", "conv_08_tile"])
def test_every_instruction_set(isa: str, name: str) -> None:
    (step,) = (step for step in STEPS if step.name == name)
    with using_isa(isa):
        for d in PLAIN + LARGE:
            assert_right(step, d)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
@given(data=st.data())
@settings(max_examples=30)
def test_any_problem(step: Step, data: st.DataObject) -> None:
    def number(least: int, most: int) -> int:
        return data.draw(st.integers(least, most))

    r, s, u, v = number(1, 5), number(1, 5), number(1, 3), number(1, 3)
    if step.name == "conv_11_winograd":
        r = s = data.draw(st.sampled_from((3, 5)))
        u = v = 1
    pool = step.name.startswith("pool")
    p, q = number(0, r - 1 if pool else 4), number(0, s - 1 if pool else 4)
    d = Problem(
        "any", n=number(0, 2), c=number(1, 5), h=number(max(1, r - 2 * p), 12), w=number(max(1, s - 2 * q), 19),
        k=number(1, 17), r=r, s=s, u=u, v=v, p=p, q=q,
    )  # fmt: skip
    assume(d.flops < 200_000)
    assert_right(step, d)


@pytest.mark.parametrize("step", [step for step in STEPS if step.name.startswith("pool")], ids=lambda step: step.name)
@pytest.mark.parametrize("line", ["c3 h7 w19 k3 r2 u2", "c2 h6 w21 k2 r3 p1"])
def test_a_pool_hands_nan_on(step: Step, line: str) -> None:
    d = parse_line(f"nan: {line}")
    assert d is not None
    x, _ = ladder.inputs(step, d)
    x.flat[::11] = np.nan
    x[0, 0, :3, :3] = -np.inf
    np.testing.assert_array_equal(ladder.run(step, x, None, d), ladder.expected(step, x, None, d))


def test_reference_is_the_operator_of_the_family() -> None:
    d = parse_line("odd: n2 c3 h7 w6 k4 r3 s2 u2 p1")
    assert d is not None
    for family, operator in (
        ("conv", lambda x, w: reference.conv2d(x, w, stride=(2, 2), padding=(1, 1))),
        ("pool", lambda x, w: reference.max_pool2d(x, (3, 2), stride=(2, 2), padding=(1, 1))),
        ("backward", lambda dy, w: reference.conv2d_backward_input(dy, w, d.x_shape, stride=2, padding=1)),
    ):
        step = FAMILIES[family][0]
        x, w = ladder.inputs(step, d)
        np.testing.assert_array_equal(ladder.expected(step, x, w, d), operator(x, w))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_each_step_is_a_small_one(family: ladder.Family) -> None:
    for before, after in zip(family.steps, family.steps[1:], strict=False):
        changes = ndiff(before.text.splitlines(), after.text.splitlines())
        new = [line for line in changes if line.startswith("+ ")]
        assert 0 < len(new) <= MOST_NEW_LINES, f"{after.name} adds {len(new)} lines to {before.name}"


def test_numbers_and_names() -> None:
    for family in FAMILIES.values():
        assert [step.number for step in family.steps] == list(range(len(family.steps)))
        assert all(step.name.startswith(f"{family.name}_") for step in family.steps)
        assert all(step.text.count(f"tep {step.number}") == 1 for step in family.steps)
    assert len({step.source for step in STEPS}) == len(STEPS)


def test_every_source_is_a_step_or_known() -> None:
    shared = {"ladder.h", "ladder.pyx", "isa.h", "steps.c", "steps.h", "width.c"}
    compiled = {step.source for step in STEPS if not step.source.endswith(".py")}
    assert {path.name for path in SOURCES.iterdir() if path.is_file()} == shared | compiled


def test_the_text_has_every_step() -> None:
    text = (Path(__file__).parents[1] / "docs" / "ladder.md").read_text(encoding="utf-8")
    assert [step.source for step in STEPS if f"`{step.source}`" not in text] == []


def test_dilation_and_groups_are_refused() -> None:
    for line in ("c4 h9 k4 r3 dh2", "c4 h9 k4 r3 g2"):
        d = parse_line(f"no: {line}")
        assert d is not None
        step = FAMILIES["conv"][3]
        with pytest.raises(ValueError, match="no dilation and no groups"):
            ladder.run(step, np.zeros(d.x_shape, np.float32), np.zeros(d.w_shape, np.float32), d)


def test_operands_are_checked() -> None:
    d = parse_line("small: c2 h4 k3 r3")
    assert d is not None
    conv, pool = FAMILIES["conv"][5], FAMILIES["pool"][0]
    x, w = ladder.inputs(conv, d)
    assert w is not None
    for operands, message in (
        ((x[:, :1], w), r"x must have shape \(1, 2, 4, 4\), got \(1, 1, 4, 4\)"),
        ((x, w[:2]), r"w must have shape"),
        ((x.astype(np.float64), w), "x must be float32"),
        ((x.transpose(0, 1, 3, 2), w), "C-contiguous"),
        ((x, None), "w must be given for conv_05_blocks"),
    ):
        with pytest.raises(ValueError, match=message):
            ladder.run(conv, *operands, d)
    with pytest.raises(ValueError, match="w must not be given"):
        ladder.run(pool, x, w, d)
    padded = parse_line("padded: c2 h4 k2 r2 p2")
    assert padded is not None
    with pytest.raises(ValueError, match="padding must be smaller than its window"):
        ladder.run(pool, x, None, padded)


def test_an_exception_in_the_product_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that leave the product to NumPy hand on what it raises."""
    d = parse_line("small: n2 c2 h4 k3 r3")
    assert d is not None

    def fail(*args: object, **kwargs: object) -> None:
        raise MemoryError("no memory for a product")

    monkeypatch.setattr(np, "matmul", fail)
    for family, number in (("conv", 4), ("backward", 1)):
        step = FAMILIES[family][number]
        x, w = ladder.inputs(step, d)
        with pytest.raises(MemoryError, match="no memory for a product"):
            ladder.run(step, x, w, d)


def test_no_step_of_that_number() -> None:
    for number in (-1, 12):
        with pytest.raises(LookupError, match="conv has steps 0 to 11"):
            FAMILIES["conv"][number]


def test_measure_checks_before_it_times(monkeypatch: pytest.MonkeyPatch) -> None:
    d = parse_line("small: c2 h6 k3 r3")
    assert d is not None
    step = FAMILIES["conv"][10]
    timing = ladder.measure(step, d, threads=2, seconds=0.01)
    assert timing.seconds is not None
    assert 0 < timing.seconds < 10
    assert timing.threads == 2
    assert ladder.measure(FAMILIES["conv"][9], d, threads=2, seconds=0.01).threads == 1
    serve = fastconv.conv2d
    monkeypatch.setattr(fastconv, "conv2d", lambda *args, **kwargs: serve(*args, **kwargs) + np.float32(0.01))
    with pytest.raises(ArithmeticError, match="conv_10_threads"):
        ladder.measure(step, d, threads=2)


def test_measure_tells_what_is_refused() -> None:
    d = parse_line("strided: c2 h7 k3 r3 u2")
    assert d is not None
    timing = ladder.measure(FAMILIES["conv"][11], d, threads=1)
    assert timing.seconds is None
    assert "winograd" in timing.refused


def test_roofline() -> None:
    d = parse_line(FAMILIES["conv"].problem)
    assert d is not None
    rows, columns = 14, 32
    places = {step.number: roofline.place(step, d, 1) for step in FAMILIES["conv"].steps}
    arrays = 4 * (64 * 28 * 28 * 2 + 64 * 64 * 9)
    matrix = 4 * 64 * 9 * 28 * 28
    assert roofline.footprint(FAMILIES["conv"][3], d) == arrays
    assert roofline.footprint(FAMILIES["conv"][4], d) == arrays + matrix
    assert places[3].far == pytest.approx(d.flops / arrays)
    assert places[4].far == pytest.approx(d.flops / (arrays + 2 * matrix))
    assert places[4].near is None
    assert places[3].near == pytest.approx(2 / 12)
    if _core.isa() == "avx512":
        assert places[8].near == pytest.approx(2 / (4 / rows + 4 / columns))
    for place in places.values():
        assert 0 < place.roof <= roofline.peak(1)
        assert place.by in ("peak", "L1", "beyond L1")
    pool = FAMILIES["pool"]
    d = parse_line(pool.problem)
    assert d is not None
    assert roofline.place(pool[2], d, 1).far == pytest.approx(0.2)  # 4 comparisons for 5 floats


def test_bandwidth_of_a_small_array_on_many_threads() -> None:
    assert roofline.bandwidth(100, 3) > 0
