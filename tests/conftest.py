"""Fixtures that walk every instruction set, thread count, algorithm, dtype and layout."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from machine import ALGORITHMS, DTYPES, ISAS, LAYOUTS, THREADS, using_isa

import fastconv

settings.register_profile("suite", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this CPU runs."""
    with using_isa(request.param):
        yield request.param


@pytest.fixture(params=THREADS, ids="{}t".format)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Each thread count."""
    with fastconv.threads(request.param):
        yield request.param


@pytest.fixture(params=ALGORITHMS)
def algo(request: pytest.FixtureRequest) -> str:
    """Each algorithm by name."""
    return str(request.param)


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    """Each dtype that the kernels compute in."""
    return request.param


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    """Each layout."""
    return str(request.param)


@pytest.fixture
def exact_auto() -> Iterator[None]:
    """Keep "auto" to plain sums: Winograd's filter transform divides, so it rounds even integers in float32."""
    with fastconv.allow_winograd(False):
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20150629)
