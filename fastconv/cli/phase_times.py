"""What the threads of a call do: pack or transform, multiply, store, or none of these."""

from collections.abc import Callable
from time import perf_counter

from fastconv import _core

__all__ = ["PHASES", "phase_shares"]

PHASES = ("pack or transform", "multiply", "store", "wait and call")
"""What kernels do by phase, and last what is left: threads that wait, drivers between kernels, Python."""

_SAMPLES, _SAMPLE_SECONDS, _MOST_CALLS = 5, 0.01, 1000


def phase_shares(call: Callable[[], object], threads: int) -> dict[str, float]:
    """Return how the time of `threads` threads goes, by phase, in the fastest of some rounds of calls.

    A clock is read around every kernel, and within the micro-kernel where its epilogue begins; that makes the calls
    some per cent slower. Of one convolution at a time: threads of other callers would be counted too.

    Parameters
    ----------
    call : callable
        A convolution, of no argument.
    threads : int
        Threads that it may take.

    Returns
    -------
    dict of str to float
        Shares of each of `PHASES`; their sum is 1.
    """
    start = perf_counter()
    call()  # packs what is held, wakes the threads
    calls = min(max(int(_SAMPLE_SECONDS / (perf_counter() - start)), 1), _MOST_CALLS)
    samples = []
    for _ in range(_SAMPLES):
        _core.start_phase_clock()
        try:
            for _ in range(calls):
                call()
        finally:
            *phases, elapsed = _core.stop_phase_clock()
        samples.append((elapsed, phases))
    elapsed, phases = min(samples)
    shares = [ticks / (threads * elapsed) for ticks in phases]
    return dict(zip(PHASES, [*shares, 1 - sum(shares)], strict=True))
