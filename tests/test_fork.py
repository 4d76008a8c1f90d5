"""A child process computes, however it was started: OpenMP's threads do not come with a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")

PRELUDE = """
import multiprocessing, os, sys, threading, time, warnings
import numpy as np
import fastconv

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork among threads: what is tested
fastconv.set_num_threads(4)
x = np.ones((4, 32, 40, 40), np.float32)
w = np.ones((48, 32, 3, 3), np.float32)

def compute(_=None):
    y = fastconv.conv2d(x, w)
    dx, dw, db = fastconv.conv2d_backward(y, x, w)
    z = fastconv.max_pool2d(y, 3)
    return [float(a.sum()) for a in (y, dx, dw, db, z)]

def tasks():
    # of this process, OpenMP's among them
    return len(os.listdir("/proc/self/task"))

def forked():
    child = os.fork()
    if child == 0:
        os._exit(0 if compute() == before else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

before = compute()
"""


def run(script, prelude=PRELUDE):
    """A hang of the child is a timeout here."""
    done = subprocess.run([sys.executable, "-c", prelude + textwrap.dedent(script)], timeout=120)
    assert done.returncode == 0


def test_a_forked_child_computes():
    run("sys.exit(forked())")


def test_the_parent_computes_on():
    run(
        """
        assert forked() == 0
        assert compute() == before
        sys.exit(forked())
        """
    )


def test_a_child_of_a_child_computes():
    run(
        """
        child = os.fork()
        if child == 0:
            os._exit(forked() if compute() == before else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )


def test_a_pool_of_forked_workers_computes():
    run(
        """
        with multiprocessing.get_context("fork").Pool(3) as pool:
            assert pool.map(compute, range(6)) == [before] * 6
        assert compute() == before
        """
    )


def test_a_child_forked_from_a_thread_computes():
    run(
        """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(compute).result() == before
            assert pool.submit(forked).result() == 0
        """
    )


def test_a_forked_child_may_end_by_the_exit_of_c():
    """Which runs what libraries do at the end, as os._exit does not: none waits for a thread that stayed behind."""
    run(
        """
        import ctypes
        child = os.fork()
        if child == 0:
            ctypes.CDLL(None).exit(0 if compute() == before else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )


@pytest.mark.skipif(sys.platform != "linux" or "LD_PRELOAD" in os.environ, reason="limits memory as Linux does")
def test_a_forked_child_that_gets_no_thread_computes():
    """Stacks of 1 GiB, which it has no address space for, nor those of threads of the parent, which had none."""
    run(
        """
        import ctypes, resource
        if len(sys.argv) == 1:  # the limit is for threads of the next program
            _, hard = resource.getrlimit(resource.RLIMIT_STACK)
            resource.setrlimit(resource.RLIMIT_STACK, (1 << 30, hard))
            os.environ["OPENBLAS_NUM_THREADS"] = "1"
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:], "again"])
        child = os.fork()
        if child == 0:
            with open("/proc/self/statm") as statm:
                size = int(statm.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + (256 << 20), resource.RLIM_INFINITY))
            fastconv.set_num_threads(4)
            same = compute() == before
            ctypes.CDLL(None).exit(0 if same and tasks() == 1 else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        PRELUDE.replace("set_num_threads(4)", "set_num_threads(1)"),
    )


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads as Linux lists them")
def test_a_forked_child_computes_in_parallel():
    """With as many threads as the parent, and one that opens regions for the thread that forked."""
    run(
        """
        child = os.fork()
        if child == 0:
            assert tasks() == 1
            assert compute() == before
            assert tasks() == (5 if fastconv.show_config(mode="dicts")["openmp"] else 1), tasks()
            os._exit(0)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )


def test_a_new_thread_of_a_forked_child_computes():
    """Its pool is its own, and the thread that forked keeps to its own way at the same time."""
    run(
        """
        child = os.fork()
        if child == 0:
            results = []
            others = [threading.Thread(target=lambda: results.append(compute())) for _ in range(3)]
            for other in others:
                other.start()
            results.append(compute())
            for other in others:
                other.join()
            os._exit(0 if results == [before] * 4 else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )


SCRIPT = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
import numpy as np
import fastconv

x = np.ones((4, 32, 40, 40), np.float32)
w = np.ones((48, 32, 3, 3), np.float32)

def compute(_=None):
    y = fastconv.conv2d(x, w)
    return [float(a.sum()) for a in (y, *fastconv.conv2d_backward(y, x, w), fastconv.max_pool2d(y, 3))]

if __name__ == "__main__":
    fastconv.set_num_threads(4)
    before = compute()
"""


def run_as_file(tmp_path, script):
    """Workers that are not forked import the main module from its file."""
    file = tmp_path / "main.py"
    file.write_text(SCRIPT + textwrap.indent(textwrap.dedent(script), "    "))
    path = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, file], env={**os.environ, "PYTHONPATH": path}, timeout=120)
    assert done.returncode == 0


@pytest.mark.parametrize("start", ["spawn", "forkserver", "fork"])
def test_multiprocessing_and_concurrent_futures(tmp_path, start):
    run_as_file(
        tmp_path,
        f"""
        context = multiprocessing.get_context({start!r})
        with context.Pool(2) as pool:
            assert pool.map(compute, range(4)) == [before] * 4
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(compute, range(4))) == [before] * 4
        assert compute() == before
        """,
    )


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib(tmp_path, backend):
    pytest.importorskip("joblib")
    run_as_file(
        tmp_path,
        f"""
        import joblib
        calls = [joblib.delayed(compute)() for _ in range(4)]
        assert joblib.Parallel(2, backend={backend!r})(calls) == [before] * 4
        assert compute() == before
        """,
    )
