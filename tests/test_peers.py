"""Peers of the benchmark: the process that runs one, and every real one that is installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_peer import peer

from fastconv import reference
from fastconv.cli.jobs import Job
from fastconv.cli.peers import PEERS, Peer, PeerProcess, Refused, installed
from fastconv.cli.problems import parse_line

LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
TOLERANCE = {"float32": 1e-3, "float64": 1e-12}
"""RMS error relative to the result's size; large tiles of Winograd, transformed in float32, reach 2.5e-4."""


@pytest.fixture(autouse=True)
def importable_in_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])]))


@pytest.fixture
def start() -> Iterator[Callable[..., PeerProcess]]:
    started = []

    def make(who: Peer, threads: int = 1, isa: str = "") -> PeerProcess:
        started.append(PeerProcess(who, threads, isa))
        return started[-1]

    yield make
    for process in started:
        process.close()


def job(line: str = "c2 h9 k4 r3 u2 p1 n2", operation: str = "conv_forward", dtype: str = "float32") -> Job:
    problem = parse_line(f"layer: {line}")
    assert problem is not None
    return Job(operation, problem, dtype)


def expected(of: Job) -> tuple[np.ndarray, ...]:
    x, w, dy = (array.astype(np.float64) for array in of.arrays())
    p = of.problem
    pool = {"stride": (p.u, p.v), "padding": (p.p, p.q)}
    if of.operation == "conv_forward":
        return (reference.conv2d(x, w, **p.conv_kwargs),)
    if of.operation == "conv_backward":
        return reference.conv2d_backward(dy, x, w, **p.conv_kwargs)
    if of.operation == "max_pool_forward":
        return (reference.max_pool2d(x, (p.r, p.s), **pool),)
    return (reference.max_pool2d_backward(dy, x, (p.r, p.s), **pool),)


def assert_right(actual: tuple[np.ndarray, ...], of: Job) -> None:
    for result, wanted in zip(actual, expected(of), strict=True):
        assert result.shape == wanted.shape
        assert result.dtype == of.dtype
        error = np.sqrt(np.mean(np.square(result - wanted)) / np.mean(np.square(wanted)))
        assert error < TOLERANCE[of.dtype]


def state(process: PeerProcess) -> str:
    """State of the process as ps tells it: T is stopped."""
    assert process._process is not None
    return Path(f"/proc/{process._process.pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("operation", ["conv_forward", "conv_backward"])
def test_results_and_turns(start: Callable[..., PeerProcess], operation: str) -> None:
    process = start(peer())
    for line in ("c2 h9 k4 r3 u2 p1 n2", "c4 h5 k4 r1 g2"):
        assert_right(process.prepare(job(line, operation)), job(line, operation))
        assert 0 < process.turn() < 10


@LINUX
def test_it_is_stopped_between_its_turns(start: Callable[..., PeerProcess]) -> None:
    process = start(peer())
    process.prepare(job())
    for _ in range(2):
        assert state(process) == "T"
        assert process.turn() > 0


@pytest.mark.parametrize(("threads", "isa", "told"), [(3, "avx512", "3, 3, not capped"), (1, "avx2", "1, 1, narrow")])
def test_threads_and_instruction_set(
    start: Callable[..., PeerProcess], threads: int, isa: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAKE_CAP", raising=False)
    with pytest.raises(Refused, match=f"^{told}$"):
        start(peer("tells its settings"), threads, isa).prepare(job())


def test_an_error_refuses_the_layer(start: Callable[..., PeerProcess]) -> None:
    process = start(peer("fails"))
    for _ in range(2):
        with pytest.raises(Refused, match=r"^RuntimeError: no such layer$"):
            process.prepare(job())


def test_a_dead_process_refuses_and_is_started_again(start: Callable[..., PeerProcess]) -> None:
    process = start(peer("dies"))
    for _ in range(2):
        with pytest.raises(Refused, match="its process died, status 7"):
            process.prepare(job())


def test_death_and_failure_in_a_turn(start: Callable[..., PeerProcess]) -> None:
    process = start(peer("dies in its turn"))
    process.prepare(job())
    with pytest.raises(Refused, match="its process died, status 8"):
        process.turn()
    process = start(peer("fails in its turn"))
    process.prepare(job())
    with pytest.raises(Refused, match="RuntimeError: tired"):
        process.turn()


def test_its_chatter_is_not_ours(capfd: pytest.CaptureFixture[str], start: Callable[..., PeerProcess]) -> None:
    process = start(peer("chatters"))
    assert_right(process.prepare(job()), job())
    assert capfd.readouterr() == ("", "")


def test_it_ends_with_the_block() -> None:
    with PeerProcess(peer(), 1) as process:
        process.prepare(job())
        child = process._process
        assert child is not None
    assert child.returncode == -signal.SIGKILL


@LINUX
def test_it_ends_with_its_parent() -> None:
    """A parent that is killed cannot clean up, and a stopped worker cannot see that its pipe is closed."""
    code = (
        "import os\nfrom fake_peer import peer\nfrom test_peers import job, PeerProcess\n"
        "process = PeerProcess(peer(), 1); process.prepare(job()); print(process._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    # In a session of its own, as a job of a shell is: what happens to its groups is not up to this process.
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, start_new_session=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    proc = Path(f"/proc/{int(done.stdout)}/stat")
    end = time.monotonic() + 60
    while proc.exists() and proc.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end, "the worker outlives its parent"
        time.sleep(0.05)


def test_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "here", peer(name="here"))
    monkeypatch.setitem(PEERS, "absent", Peer("absent", "fake_peer", ("no-such-thing",), ("fastconv", "no_such_thing")))
    assert "here" in installed()
    assert "absent" not in installed()
    assert PEERS["here"].version() != "unknown"
    assert PEERS["absent"].version() == "unknown"


@pytest.mark.parametrize("name", PEERS)
def test_a_real_peer_is_right(name: str, start: Callable[..., PeerProcess]) -> None:
    if name not in installed():
        pytest.skip(f"{name} is not installed")
    process = start(PEERS[name], threads=2)
    for line in ("c6 h9 w12 k8 r3 s2 u2 v1 p1 q0 g2 n2", "c16 h14 k32 r3 p1", "c3 h20 k4 r5 dh2 dw1", "c4 h6 k4 r3 g4"):
        assert_right(process.prepare(job(line)), job(line))
    assert 0 < process.turn() < 10
    for of in (job(operation="conv_backward"), job(dtype="float64")):
        if name.startswith("torch"):
            assert_right(process.prepare(of), of)
        else:
            with pytest.raises(Refused):
                process.prepare(of)


@pytest.mark.parametrize("operation", ["max_pool_forward", "max_pool_backward"])
@pytest.mark.parametrize("name", [name for name in PEERS if name.startswith("torch")])
def test_pooling_in_pytorch(name: str, operation: str, start: Callable[..., PeerProcess]) -> None:
    if name not in installed():
        pytest.skip("torch is not installed")
    process = start(PEERS[name])
    for line in ("c3 h11 w8 k3 g3 r3 u2 p1 n2", "c2 h6 k2 g2 r2 u2"):
        assert_right(process.prepare(job(line, operation)), job(line, operation))
