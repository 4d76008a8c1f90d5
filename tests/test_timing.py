"""Interleaved timing, against a clock that only the timed functions move."""

import gc
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from fastconv.cli import timing


class Clock:
    """Time in seconds; `busy` makes functions that take as long as the next of `times`, the last one for ever.

    Other threads spin, which shows in the CPU time, until the time of `spinning`.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.cpu = 0.0
        self.spinning = 0.0
        self.calls: list[str] = []

    def sleep(self, seconds: float) -> None:
        self.cpu += min(max(self.spinning - self.now, 0), seconds)
        self.now += seconds
        self.calls.append("pause")

    def busy(self, name: str, *times: float) -> Callable[[], object]:
        remaining: Iterator[float] = iter(times)

        def call() -> None:
            self.now += next(remaining, times[-1])
            self.calls.append(name)

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(timing, "process_time", lambda: clock.cpu)
    monkeypatch.setattr(timing, "sleep", clock.sleep)
    return clock


def turns(**calls: Callable[[], object]) -> dict[str, timing.Turn]:
    return {name: partial(timing.turn, call) for name, call in calls.items()}


def test_the_best_call_counts_but_not_the_first_of_a_turn(clock: Clock) -> None:
    group = turns(a=clock.busy("a", 1, 5, 4, 2, 3, 6), b=clock.busy("b", 7))
    assert timing.best_times([group], rounds=2, seconds=1000) == pytest.approx({"a": 3, "b": 7})


def test_candidates_take_turns_to_begin_and_groups_are_parted_by_a_pause(clock: Clock) -> None:
    groups = [turns(a=clock.busy("a", 1), b=clock.busy("b", 1)), turns(c=clock.busy("c", 1))]
    timing.best_times(groups, rounds=3, seconds=1000)
    one, other = ["pause", *"aaabbb", "pause", *"ccc"], ["pause", *"bbbaaa", "pause", *"ccc"]
    assert clock.calls == one + other + one


@pytest.mark.parametrize(("spinning", "waited"), [(0, 0.005), (0.1, 0.105), (10, 0.5)])
def test_the_pause_lasts_until_no_thread_spins(clock: Clock, spinning: float, waited: float) -> None:
    clock.spinning = spinning
    timing.wait_until_idle()
    assert clock.now == pytest.approx(waited, abs=0.0051)


def test_a_turn_of_short_calls_is_long_enough(clock: Clock) -> None:
    timing.best_times([turns(a=clock.busy("a", 0.001)), turns(b=clock.busy("b", 1e-9))], rounds=1, seconds=1)
    assert clock.calls.count("a") in (20, 21)
    assert clock.calls.count("b") == 5001


def test_the_budget_ends_the_rounds_but_one_always_runs(clock: Clock) -> None:
    timing.best_times([turns(a=clock.busy("a", 2))], rounds=100, seconds=1)
    assert clock.calls.count("a") == 3
    timing.best_times([turns(b=clock.busy("b", 2))], rounds=100, seconds=10)
    assert clock.calls.count("b") == 6


def test_garbage_collection_waits_and_comes_back() -> None:
    seen = []
    timing.best_times([turns(a=lambda: seen.append(gc.isenabled()))], rounds=1, seconds=0.01)
    assert not any(seen)
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("rounds", "seconds", "message"),
    [
        (0, 1.0, "rounds must be at least 1, got 0"),
        (1, 0.0, "seconds must be positive, got 0.0"),
        (1, float("nan"), "nan"),
    ],
)
def test_wrong_arguments(rounds: int, seconds: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        timing.best_times([{}], rounds=rounds, seconds=seconds)
