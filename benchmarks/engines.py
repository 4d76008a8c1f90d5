"""Other engines as implementations of a benchmark, timed where they run: in their own processes."""

from time import perf_counter
from typing import Any

import pytest

from fastconv.cli.peers import PEERS, PeerProcess, installed

__all__ = ["CLOCK", "ROUNDS", "WorkerClock", "parameters"]

ROUNDS = 5
"""Turns of a peer; a turn is about 20 ms of calls, and its best call counts."""


class WorkerClock:
    """A clock for pytest-benchmark on which a turn of a peer takes as long as the worker says that its call took."""

    def __init__(self) -> None:
        self._elsewhere = 0.0

    def __call__(self) -> float:
        """Seconds, without those spent on waiting for turns."""
        return perf_counter() - self._elsewhere

    def turn(self, process: PeerProcess) -> None:
        """Let a peer take its turn, and count the time of its best call."""
        start = perf_counter()
        seconds = process.turn()
        self._elsewhere += perf_counter() - start - seconds


CLOCK = WorkerClock()


def parameters(*names: str) -> list[Any]:
    """Return peers as values for ``pytest.mark.parametrize``, all by default; those not installed are skipped."""
    here = installed()
    return [
        pytest.param(
            name,
            marks=[
                pytest.mark.benchmark(timer=CLOCK),
                pytest.mark.skipif(name not in here, reason=f"{name} is not installed"),
            ],
        )
        for name in names or PEERS
    ]
