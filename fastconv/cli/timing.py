"""Interleaved timing: candidates take turns within one run, and the best call of each counts.

Taking turns lets a change of clock rate or a busy neighbour hit all candidates alike; the minimum is the time least
disturbed by them. A turn is several calls long, so that short candidates are timed warm, with their threads awake.
"""

import gc
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter, process_time, sleep
from typing import TypeVar

__all__ = ["Turn", "best_times", "turn", "wait_until_idle"]

Turn = Callable[[], float]
"""Calls of one candidate in a row; returns the time of the best, in seconds."""

_Item = TypeVar("_Item")

_TURN_SECONDS = 0.02
_CALLS_IN_A_TURN = (2, 5000)  # at least, at most
_PAUSE_SECONDS = (0.005, 0.5)  # one look at the CPU time, and the longest wait
_IDLE_SHARE = 0.2


def best_times(groups: Sequence[Mapping[str, Turn]], *, rounds: int, seconds: float) -> dict[str, float]:
    """Let candidates take turns and return the best time of each.

    Parameters
    ----------
    groups : sequence of mappings of str to Turn
        Candidates by name, as a rule `turn` of a function. Those of one group share a pool of threads;
        `wait_until_idle` parts the groups.
    rounds : int
        Most turns that each candidate takes; at least one.
    seconds : float
        Time budget of all candidates together. No round starts after it is spent, but the first round always runs.

    Returns
    -------
    dict of str to float
        Shortest time of one call of each candidate, in seconds.

    Raises
    ------
    ValueError
        If `rounds` is below 1 or `seconds` is not positive.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    if not seconds > 0:
        raise ValueError(f"seconds must be positive, got {seconds}")
    best: dict[str, float] = {}
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = perf_counter() + seconds
        for done in range(rounds):
            for group in groups:
                wait_until_idle()
                for name, take_turn in _rotated(list(group.items()), done):
                    best[name] = min(best.get(name, float("inf")), take_turn())
            if perf_counter() > end:
                break
    finally:
        if collecting:
            gc.enable()
    return best


def _rotated(items: list[_Item], by: int) -> list[_Item]:
    """Let another one begin: the first turn after a pause may find its threads on one core."""
    start = by % len(items) if items else 0
    return items[start:] + items[:start]


def wait_until_idle() -> None:
    """Sleep until the threads of this process have stopped to spin, for half a second at most.

    A pool's idle threads wait for more work on a core that another pool needs: those of OpenBLAS for 2**28 cycles,
    about 0.1 s, those of libgomp for some milliseconds.
    """
    look, longest = _PAUSE_SECONDS
    end = perf_counter() + longest
    while perf_counter() < end:
        start = process_time()
        sleep(look)
        if process_time() - start < _IDLE_SHARE * look:
            break


def turn(call: Callable[[], object]) -> float:
    """Call a function of no argument for about 20 ms, and return the time of the best call but the first."""
    first = _timed(call)  # wakes the threads and fills the caches
    least, most = _CALLS_IN_A_TURN
    calls = min(max(int(_TURN_SECONDS / first), least), most)
    return min(_timed(call) for _ in range(calls))


def _timed(call: Callable[[], object]) -> float:
    start = perf_counter()
    result = call()
    time = perf_counter() - start
    del result  # freed outside the timed span
    return time
