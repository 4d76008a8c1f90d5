"""The clock that tells what the kernels of a call are for."""

from collections.abc import Callable

import numpy as np
import pytest

import fastconv
from fastconv import _core
from fastconv.cli.phase_times import PHASES, phase_shares

ALGORITHMS = ("direct", "im2col", "winograd")


def ticks_of(call: Callable[[], object]) -> tuple[int, ...]:
    _core.start_phase_clock()
    try:
        call()
    finally:
        ticks = _core.stop_phase_clock()
    return ticks


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, 32, 28, 28), np.float32), rng.standard_normal((48, 32, 3, 3), np.float32)


@pytest.mark.parametrize("algo", ALGORITHMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threads", [1, 2])
def test_every_phase_is_seen_and_no_bit_changes(isa: str, arrays: tuple, algo: str, dtype: str, threads: int) -> None:
    x, w = (a.astype(dtype) for a in arrays)
    with fastconv.threads(threads):
        expected = fastconv.conv2d(x, w, padding=1, algo=algo)
        expected_dx = fastconv.conv2d_backward_input(expected, w, x.shape, padding=1, algo=algo)
        expected_dw = fastconv.conv2d_backward_weight(expected, x, w.shape, padding=1, algo=algo)
        found = []
        forward = ticks_of(lambda: found.append(fastconv.conv2d(x, w, padding=1, algo=algo)))
        by_input = ticks_of(
            lambda: found.append(fastconv.conv2d_backward_input(expected, w, x.shape, padding=1, algo=algo))
        )
        by_weight = ticks_of(
            lambda: found.append(fastconv.conv2d_backward_weight(expected, x, w.shape, padding=1, algo=algo))
        )
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(found[1], expected_dx)
    np.testing.assert_array_equal(found[2], expected_dw)
    for *phases, elapsed in (forward, by_input, by_weight):
        assert all(ticks > 0 for ticks in phases)
        assert sum(phases) <= threads * elapsed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_of_rarer_kinds_count_too(isa: str, dtype: str) -> None:
    """Inner products of one pixel; few filters' gradients, summed in copies; NHWC turned, and depthwise as it lies."""
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((1, 64, 1, 1)).astype(dtype), rng.standard_normal((32, 64, 1, 1)).astype(dtype)
    assert ticks_of(lambda: fastconv.conv2d(x, w, algo="im2col"))[1] > 0
    x, dy = rng.standard_normal((8, 4, 32, 32)).astype(dtype), rng.standard_normal((8, 4, 32, 32)).astype(dtype)
    ticks = ticks_of(lambda: fastconv.conv2d_backward_weight(dy, x, (4, 4, 3, 3), padding=1, algo="direct"))
    assert min(ticks[:3]) > 0
    x, w = rng.standard_normal((1, 28, 28, 8)).astype(dtype), rng.standard_normal((3, 3, 2, 8)).astype(dtype)
    assert min(ticks_of(lambda: fastconv.conv2d(x, w, groups=4, layout="NHWC", algo="direct"))[:3]) > 0
    w = w[:, :, :1].copy()
    options = {"groups": 8, "layout": "NHWC", "algo": "direct"}
    assert ticks_of(lambda: fastconv.conv2d(x, w, **options))[1] > 0
    assert ticks_of(lambda: fastconv.conv2d_backward_weight(x[:, 2:, 2:], x, w.shape, **options))[1] > 0


def test_nothing_is_noted_while_it_stands(arrays: tuple) -> None:
    x, w = arrays
    assert ticks_of(lambda: None)[:3] == (0, 0, 0)
    fastconv.conv2d(x, w)
    assert ticks_of(lambda: None)[:3] == (0, 0, 0)


def test_each_start_begins_at_zero(arrays: tuple) -> None:
    x, w = arrays
    many = ticks_of(lambda: [fastconv.conv2d(x, w) for _ in range(50)])
    once = min(ticks_of(lambda: fastconv.conv2d(x, w))[1] for _ in range(5))  # of a thread that kept its core
    assert 0 < once < many[1]


def test_another_instruction_set_is_not_taken_for_the_clocks(arrays: tuple) -> None:
    """The clock calls the kernels that were in use when it started: others run without it."""
    x, w = arrays
    before, others = _core.isa(), [name for name in _core.isas_supported() if name != _core.isa()]
    if not others:
        pytest.skip("one instruction set")
    _core.set_isa(others[0])
    try:
        expected = fastconv.conv2d(x, w)
        _core.set_isa(before)
        _core.start_phase_clock()
        _core.set_isa(others[0])
        np.testing.assert_array_equal(fastconv.conv2d(x, w), expected)
        assert _core.stop_phase_clock()[:3] == (0, 0, 0)
    finally:
        _core.set_isa(before)


def test_shares(arrays: tuple) -> None:
    x, w = arrays
    with fastconv.threads(1):  # on cores that others keep busy two threads would do little but wait for each other
        shares = phase_shares(lambda: fastconv.conv2d(x, w), 1)
    assert tuple(shares) == PHASES
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0
    assert shares["multiply"] > 0.05


def test_the_clock_stops_when_a_call_fails() -> None:
    calls = iter([None])
    with pytest.raises(StopIteration):
        phase_shares(lambda: next(calls), 1)
    x = np.ones((1, 1, 3, 3), np.float32)
    fastconv.conv2d(x, x)
    assert ticks_of(lambda: None)[:3] == (0, 0, 0)
