"""What the figures of a run depend on: the CPU, its peak, the threads of both sides and the versions."""

import platform
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

import fastconv
from fastconv import _core
from fastconv.cli.bandwidth import copy_gigabytes
from fastconv.cli.peers import PEERS

__all__ = ["Machine", "best", "commit", "cpu_name", "describe", "limited_threads"]

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """Where a run took place.

    `peak` is in GFLOP/s, measured by an FMA loop on as many threads as the run uses, `bandwidth` in GB/s, by as many
    that copy memory. `commit` is empty outside a git
    checkout, and `peers` holds versions by name.
    """

    cpu: str
    isa: str
    threads: int
    peak: float
    bandwidth: float
    blas: str
    fastconv: str
    compiler: str
    commit: str
    numpy: str
    python: str
    peers: dict[str, str] = field(default_factory=dict)


def cpu_name() -> str:
    """Name of the CPU as Linux tells it, else what `platform` knows of it."""
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """Commit of the git checkout that fastconv runs from, ``-dirty`` if its files have changed, else empty."""
    package = Path(fastconv.__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # not a package installed inside another checkout
        return git("describe", "--always", "--dirty", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return ""


@contextmanager
def limited_threads(threads: int) -> Iterator[str]:
    """Hold fastconv and NumPy's BLAS to `threads` threads; gives a description of the BLAS and its threads."""
    with ExitStack() as stack:
        stack.enter_context(fastconv.threads(threads))
        try:
            from threadpoolctl import threadpool_info, threadpool_limits
        except ImportError:
            yield "threads not limited: threadpoolctl is not installed"
            return
        stack.enter_context(threadpool_limits(threads, user_api="blas"))
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        names = [
            " ".join(filter(None, (pool["internal_api"], pool["version"], pool.get("architecture"))))
            + f", threads: {pool['num_threads']}"
            for pool in pools
        ]
        yield "; ".join(names) or "threads not limited: threadpoolctl does not know this BLAS"


def describe(dtype: str, threads: int, blas: str, peers: Iterable[str] = ()) -> Machine:
    """Gather the facts of a run and measure the peak of the CPU and the bandwidth of its memory.

    Parameters
    ----------
    dtype : str
        ``"float32"`` or ``"float64"``.
    threads : int
        Threads of the run.
    blas : str
        Description of NumPy's BLAS, from `limited_threads`.
    peers : iterable of str
        Names of the peers that take part.
    """
    return Machine(
        cpu=cpu_name(),
        isa=_core.isa(),
        threads=threads,
        peak=_core.peak_gflops(dtype, threads),
        bandwidth=copy_gigabytes(threads),
        blas=blas,
        fastconv=fastconv.__version__,
        compiler=_core.compiler(),
        commit=commit(),
        numpy=np.__version__,
        python=platform.python_version(),
        peers={name: PEERS[name].version() for name in peers},
    )


def best(before: Machine, after: Machine) -> Machine:
    """Return the machine with the better of two measurements of its limits."""
    return replace(after, peak=max(before.peak, after.peak), bandwidth=max(before.bandwidth, after.bandwidth))
