"""What the package does to its process: nothing at import, and no more than its threads later."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastconv
from fastconv import _core


def python(script, *, timeout=60, **environment):
    """What a script prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of a process")
def test_import_changes_nothing():
    """Threads, CPUs, signal handlers, and how small numbers are rounded; kernels keep the last too."""
    python(
        """
        import os, signal
        import numpy as np

        def state():
            tiny = np.float32(1e-40) * np.ones(64, np.float32), np.float64(5e-324) * np.ones(64)
            handlers = [signal.getsignal(number) for number in signal.valid_signals()]
            return (len(os.listdir("/proc/self/task")), os.sched_getaffinity(0), handlers,
                    [a.tobytes() for a in tiny], np.geterr(), dict(os.environ))

        before = state()
        import fastconv
        assert state() == before, "at import"
        with fastconv.threads(3):
            y = fastconv.conv2d(np.full((4, 32, 40, 40), 1e-42, np.float32), np.ones((32, 32, 1, 1), np.float32))
        assert (y > 0).all(), "denormal numbers were flushed"
        assert state()[1:] == before[1:], "by a parallel call"
        """
    )


def milliseconds_spun(**environment):
    """The least time that threads without work took from the CPUs after any of ten parallel calls."""
    script = """
        import time
        import numpy as np
        import fastconv
        x, w = np.ones((2, 32, 28, 28), np.float32), np.ones((32, 32, 3, 3), np.float32)
        spun = []
        for _ in range(10):
            with fastconv.threads(2):
                fastconv.conv2d(x, w)
            before = time.process_time()
            time.sleep(0.05)
            spun.append(time.process_time() - before)
        print(1000 * min(spun))
        """
    return float(python(script, **environment))


@pytest.mark.skipif(
    fastconv.get_num_threads() < 2 or "gcc" not in fastconv.show_config("dicts")["compiler"],
    reason="threads of other OpenMPs, and those that share a single CPU, wait in other ways",
)
def test_idle_threads_sleep_soon():
    """They would take the cores from NumPy's BLAS, and those of BLAS from them; unless the user wants it so."""
    if {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        pytest.skip("the user has said how threads wait")
    assert milliseconds_spun() < 2
    assert milliseconds_spun(OMP_WAIT_POLICY="active") > 5
    assert milliseconds_spun(GOMP_SPINCOUNT="infinite") > 5


def test_ctrl_c_leaves_the_process_usable():
    """The signal comes while kernels run; the call ends, KeyboardInterrupt is raised, and the next call computes."""
    script = """
        import signal
        import numpy as np
        import fastconv

        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
        x, w = np.ones((4, 64, 56, 56), np.float32), np.ones((64, 64, 3, 3), np.float32)
        once = fastconv.conv2d(x, w)
        out = np.empty_like(once)
        print("ready", flush=True)
        try:
            while True:
                fastconv.conv2d(x, w, out=out)
        except KeyboardInterrupt:
            pass
        with fastconv.threads(3):
            assert (fastconv.conv2d(x, w) == once).all()
        print("usable")
        """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (said, process.returncode) == ("usable\n", 0)


def test_the_gil_is_released():
    """Another Python thread counts on while one long call runs."""
    x, w = np.ones((8, 64, 112, 112), np.float32), np.ones((64, 64, 3, 3), np.float32)
    done, counted = threading.Event(), []

    def count():
        while not done.is_set():
            counted.append(time.perf_counter())
            time.sleep(0.001)

    counter = threading.Thread(target=count)
    counter.start()
    begin = time.perf_counter()
    fastconv.conv2d(x, w, algo="im2col")
    end = time.perf_counter()
    done.set()
    counter.join()
    assert sum(begin < moment < end for moment in counted) >= 3


def test_one_layer_serves_many_threads():
    """Threads that come at once to a layer that has not packed yet."""
    rng = np.random.default_rng(0)
    w, b = rng.standard_normal((48, 16, 3, 3), np.float32), rng.standard_normal(48, np.float32)
    images = [rng.standard_normal((2, 16, size, size), np.float32) for size in (3, 9, 17, 33, 40)] * 3
    once = [fastconv.Conv2d(w, b, padding=1)(x) for x in images]
    for _ in range(10):
        conv = fastconv.Conv2d(w, b, padding=1)
        with ThreadPoolExecutor(8) as pool:
            for y, expected in zip(pool.map(conv, images), once, strict=True):
                np.testing.assert_array_equal(y, expected)


def test_calls_inside_a_foreign_parallel_region(tmp_path):
    """Threads of someone else's OpenMP region call at once; they get no further threads, and the same bits."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not _core.openmp():
        pytest.skip("no C compiler, or a serial build")
    source, library = tmp_path / "region.c", tmp_path / "region.so"
    source.write_text(
        "void region(int threads, void (*call)(void)) {\n#pragma omp parallel num_threads(threads)\n    call();\n}\n"
    )
    subprocess.run([compiler, "-fopenmp", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    x, w = np.ones((4, 32, 40, 40), np.float32), np.ones((48, 32, 3, 3), np.float32)
    once, results = fastconv.conv2d(x, w), []

    @ctypes.CFUNCTYPE(None)
    def call():
        with fastconv.threads(3):
            results.append(fastconv.conv2d(x, w))

    ctypes.CDLL(str(library)).region(4, call)
    assert len(results) == 4
    for y in results:
        np.testing.assert_array_equal(y, once)


@pytest.mark.skipif(not _core.openmp(), reason="a serial build")
def test_threadpoolctl_limits_are_obeyed_at_each_call():
    pytest.importorskip("threadpoolctl")
    assert python(
        """
        import os
        import numpy as np
        import threadpoolctl
        import fastconv

        x, w = np.ones((4, 32, 40, 40), np.float32), np.ones((48, 32, 3, 3), np.float32)
        before, tasks = fastconv.get_num_threads(), len(os.listdir("/proc/self/task"))
        with threadpoolctl.threadpool_limits(1):
            print(fastconv.get_num_threads())
            fastconv.conv2d(x, w)
            assert len(os.listdir("/proc/self/task")) == tasks
            with threadpoolctl.threadpool_limits(2, "openmp"):
                print(fastconv.get_num_threads())
        assert fastconv.get_num_threads() == before == 3
        """,
        OMP_NUM_THREADS="3",
        FASTCONV_NUM_THREADS="",
    ).split() == ["1", "2"]


@pytest.mark.parametrize(("quota", "most"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("", 64)])
def test_the_default_keeps_to_the_cgroup(tmp_path, monkeypatch, quota, most):
    thread_settings = sys.modules["fastconv.threads"]
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    monkeypatch.setattr(thread_settings, "_CPU_QUOTA", file)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert thread_settings._available_cpus() == most
