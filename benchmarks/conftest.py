"""Layers, threads and the one way to time them: checked first, then timed, rates in ``extra_info``."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import CLOCK, ROUNDS
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

import fastconv
from fastconv import _core
from fastconv.cli.jobs import Job
from fastconv.cli.machine import limited_threads
from fastconv.cli.measure import check, peer_error
from fastconv.cli.peers import PEERS, PeerProcess, Refused
from fastconv.cli.problems import Problem, network, network_names, read
from fastconv.cli.timing import wait_until_idle

Array = NDArray[Any]
Timed = Callable[..., None]

_PROBLEMS = {
    "layer": [problem for name in network_names() for problem in network(name)],
    "pool": read(Path(__file__).parent / "pools.txt"),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, problems in _PROBLEMS.items():
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, problems, ids=[problem.name for problem in problems], scope="module")


@pytest.fixture(scope="session", autouse=True)
def same_threads() -> Iterator[None]:
    """Give NumPy's BLAS as many threads as fastconv takes."""
    with limited_threads(fastconv.get_num_threads()):
        yield


@pytest.fixture(scope="session")
def processes() -> Iterator[dict[str, PeerProcess]]:
    """Give the peers' processes by name; each starts with its first job."""
    running = {name: PeerProcess(peer, fastconv.get_num_threads(), _core.isa()) for name, peer in PEERS.items()}
    yield running
    for process in running.values():
        process.close()


@pytest.fixture
def timed(benchmark: BenchmarkFixture) -> Timed:
    """Return a function that compares the results of `call` with NumPy's, then times it.

    `operation` and the problem's name make the group of the report; `rate` is the unit of ``extra_info``, a billion of
    `work` a second at the fastest call.
    """

    def run(
        operation: str, problem: Problem, call: Callable[[], Any], expected: tuple[Array, ...], rate: str, work: int
    ) -> None:
        result = call()
        arrays = result if isinstance(result, tuple) else (result,)
        for actual, wanted in zip(arrays, expected, strict=True):
            check(problem.name, actual, wanted)
        benchmark.group = f"{problem.name} {operation}"
        wait_until_idle()
        benchmark(call)
        if benchmark.stats is not None:
            benchmark.extra_info[rate] = work / benchmark.stats.stats.min / 1e9
            benchmark.extra_info["problem"] = str(problem)

    return run


@pytest.fixture
def timed_peer(benchmark: BenchmarkFixture, processes: dict[str, PeerProcess]) -> Timed:
    """Return a function that does the same with a job of a peer, and skips what the peer does not serve."""

    def run(operation: str, name: str, job: Job, expected: tuple[Array, ...], rate: str, work: int) -> None:
        process = processes[name]
        try:
            error = peer_error(name, process.prepare(job), expected, "NumPy")
        except Refused as reason:
            pytest.skip(str(reason))
        benchmark.group = f"{job.problem.name} {operation}"
        wait_until_idle()
        benchmark.pedantic(CLOCK.turn, (process,), rounds=ROUNDS)
        if benchmark.stats is not None:
            benchmark.extra_info[rate] = work / benchmark.stats.stats.min / 1e9
            benchmark.extra_info["problem"] = str(job.problem)
            benchmark.extra_info["rms_error"] = error

    return run
