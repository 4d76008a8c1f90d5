"""Layers, threads and the one way to time them: checked first, then timed, rates in ``extra_info``."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

import fastconv
from fastconv.cli.machine import limited_threads
from fastconv.cli.measure import check
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
