"""A peer in a process of its own, stopped between its turns so that its threads never spin on a core of another's."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from typing import Any

from fastconv.cli.jobs import Array, Job
from fastconv.cli.peers.interface import Peer, Refused

__all__ = ["PeerProcess"]


class PeerProcess:
    """Runs a peer's calls on request; a context manager, which ends the process.

    Parameters
    ----------
    peer : Peer
        Who is to run.
    threads : int
        Threads that it may use.
    isa : str, optional
        Instruction set of fastconv's that it is held to, if it can be.
    """

    def __init__(self, peer: Peer, threads: int, isa: str = "") -> None:
        self.peer = peer
        self._threads = threads
        self._environment = {"OMP_NUM_THREADS": str(threads), **peer.caps.get(isa, {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Any = None

    def __enter__(self) -> "PeerProcess":
        """Return itself; the process starts with the first job."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()

    def prepare(self, job: Job) -> tuple[Array, ...]:
        """Set a layer up and return its results; the process starts with the first.

        Raises
        ------
        Refused
            If the peer does not serve the job, fails or dies at it.
        """
        if self._process is None:
            self._start()
        results: tuple[Array, ...] = self._ask(job)
        return results

    def turn(self) -> float:
        """Time of the best of a turn of calls of the layer that was set up last, in seconds."""
        seconds: float = self._ask(None)
        return seconds

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._connection.close()
            self._process.kill()  # acts on a stopped process too, and nothing is lost
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._connection, other = Pipe()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fastconv.cli.peers.worker", str(other.fileno())],
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **self._environment},
            )
        self._connection.send((self.peer.adapter, self.peer.variant, self._threads))

    @contextmanager
    def _awake(self) -> Iterator[None]:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            _stop(self._process)

    def _ask(self, request: Job | None) -> Any:
        try:
            with self._awake():
                self._connection.send(request)
                kind, answer = self._connection.recv()
        except (EOFError, OSError):
            status = None if self._process is None else self._process.wait()
            self.close()
            raise Refused(f"its process died, status {status}") from None
        if kind == "refused":
            raise Refused(answer)
        return answer


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a process, and wait until it is stopped or dead."""
    process.send_signal(signal.SIGSTOP)
    if process.returncode is None:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            process.returncode = os.waitstatus_to_exitcode(status)
