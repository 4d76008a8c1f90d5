"""The fuzzer in its short form: seeds that once failed, a few of each run's own, and hypothesis' choices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

FUZZ = Path(__file__).parent / "fuzz"
sys.path.insert(0, str(FUZZ))

from by_coverage import read_inputs  # noqa: E402
from calls import check, draw  # noqa: E402
from source import Bytes, Seeded  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass")  # one of the hostile arguments
KEPT = [int(line) for line in (FUZZ / "seeds.txt").read_text().split()]


class Drawn:
    """Choices of hypothesis, which shrinks them."""

    def __init__(self, data):
        self.data = data

    def integer(self, least, most):
        return self.data.draw(st.integers(least, most))


@pytest.mark.parametrize("seed", KEPT)
def test_kept_seeds(seed):
    check(draw(Seeded(seed)))


@pytest.mark.parametrize("data", read_inputs(), ids=lambda data: data[:12].hex())
def test_kept_inputs(data):
    check(draw(Bytes(data)))


@settings(max_examples=300)
@given(st.data())
def test_any_call(data):
    check(draw(Drawn(data)))


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_the_command():
    """Also shows that most calls of the fuzzer get past the checks."""
    done = subprocess.run([sys.executable, str(FUZZ), "--calls", "500"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split(": ")[1].split()[0]) > 150
