"""A child forked after a parallel call computes: OpenMP's threads did not come with it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")

PRELUDE = """
import multiprocessing, os, sys, warnings
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

def forked():
    child = os.fork()
    if child == 0:
        os._exit(0 if compute() == before else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

before = compute()
"""


def run(script):
    """A hang of the child is a timeout here."""
    done = subprocess.run([sys.executable, "-c", PRELUDE + textwrap.dedent(script)], timeout=120)
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
