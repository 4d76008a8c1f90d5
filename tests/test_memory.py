"""Memory: no allocation that fails goes unnoticed or leaks, the workspace is what was told, and nothing grows."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import SHAPES, TILES, activations, integers, weights
from machine import LAYOUTS
from pools import POOLS

import fastconv
from fastconv import _core

HERE = Path(__file__).parent
PAGE = 4096
HUGE_PAGE = 2 << 20

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="preloads with glibc"),
    pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="a sanitizer has the allocator"),
]


# --- in the child, with tests/preload/allocations.c before malloc


def allocator():
    """The preloaded functions, watching the core."""
    library = ctypes.CDLL(None)
    library.watch.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    library.fail_at.argtypes = [ctypes.c_long]
    library.calls_taken.restype = library.blocks_alive.restype = ctypes.c_long
    library.largest_taken.restype = ctypes.c_size_t
    with open("/proc/self/maps") as maps:
        ranges = [line.split()[0].split("-") for line in maps if line.rstrip().endswith(Path(_core.__file__).name)]
    bounds = [int(end, 16) for pair in ranges for end in pair]
    library.watch(min(bounds), max(bounds))
    return library


def operations(problem, layout, dtype):
    """Every pass of a convolution, by every algorithm that serves it."""
    case = integers(problem)
    x, dy = activations(case.x, layout, dtype), activations(case.dy, layout, dtype)
    w, b = weights(case.w, layout, dtype), case.b.astype(dtype)
    serving = {
        operation: {
            record.name
            for record in fastconv.algorithms(
                x.shape, w.shape, layout=layout, operation=operation, **problem.conv_kwargs
            )
        }
        for operation in ("forward", "backward_input")
    }
    for algo in ("direct", "im2col", "winograd"):
        options = {**problem.conv_kwargs, "layout": layout, "algo": algo}
        if algo in serving["forward"]:
            yield lambda o=options: fastconv.conv2d(x, w, b, **o)
            yield lambda o=options: fastconv.Conv2d(w, b, **o)(x)
        if algo in serving["backward_input"]:
            yield lambda o=options: fastconv.conv2d_backward(dy, x, w, needs="x", **o)
        if algo != "winograd":
            yield lambda o=options: fastconv.conv2d_backward(dy, x, w, needs="wb", **o)
    yield lambda: fastconv.conv2d_backward_input(dy, np.full_like(w, np.nan), x.shape, layout=layout,
                                                 **problem.conv_kwargs)  # fmt: skip
    yield lambda: fastconv.algorithms(x.shape, w.shape, layout=layout, **problem.conv_kwargs)


def pools_and_norms(pool, layout, dtype):
    """Every operator of the other families."""
    x = activations(np.random.default_rng(0).standard_normal(pool.shape), layout, dtype)
    options = {**pool.options, "layout": layout}
    y, indices = fastconv.max_pool2d(x, pool.kernel_size, return_indices=True, **options)
    yield lambda: fastconv.max_pool2d(x, pool.kernel_size, **options)
    yield lambda: fastconv.max_pool2d_backward(y, x, pool.kernel_size, **options)
    yield lambda: fastconv.max_pool2d_backward(y, x, pool.kernel_size, indices=indices, **options)
    yield lambda: fastconv.avg_pool2d(x, pool.kernel_size, **options)
    yield lambda: fastconv.avg_pool2d_backward(y, x.shape, pool.kernel_size, **options)
    yield lambda: fastconv.local_response_norm(x, 3, layout=layout)
    yield lambda: fastconv.local_response_norm_backward(x, x, 3, layout=layout)


def everything():
    for layout in LAYOUTS:
        for dtype in (np.float32, np.float64):
            for problem in (*TILES[::2], *SHAPES):
                yield from operations(problem, layout, dtype)
            for pool in POOLS[::3]:
                yield from pools_and_norms(pool, layout, dtype)


def child_fails_every_allocation():
    """Each allocation of each call fails once; then the call must say so, and the next one must compute."""
    memory, injected = allocator(), 0
    for call in everything():
        for _ in range(2):  # what the first call keeps for others is there in the second
            call()
        alive = memory.blocks_alive()
        for n in range(1, 100):
            memory.fail_at(n)
            try:
                call()
            except MemoryError as error:
                injected += bool(str(error))
            else:
                assert memory.calls_taken() < n, f"allocation {n} failed, and nobody said so"
                break
            finally:
                memory.fail_at(0)
            assert memory.blocks_alive() <= alive, f"{memory.blocks_alive() - alive} blocks left by a failed call"
        else:
            raise AssertionError("more allocations than a call can need")
        call()
        assert memory.blocks_alive() <= alive
    print("injected", injected)


def child_takes_what_it_tells():
    """In ascending order, so that no block kept from before serves."""
    memory, problems = allocator(), []
    for layout in LAYOUTS:
        for problem in (*TILES, *SHAPES):
            case = integers(problem)
            x, w = activations(case.x, layout, np.float32), weights(case.w, layout, np.float32)
            for record in fastconv.algorithms(x.shape, w.shape, layout=layout, **problem.conv_kwargs):
                if record.name != "winograd":  # whose name stands for the faster of two variants
                    options = {**problem.conv_kwargs, "layout": layout, "algo": record.name}
                    problems.append((record.workspace, problem.name, x, w, options, int(np.prod(problem.w_shape[2:]))))
    problems.sort(key=lambda item: item[0])
    kept = compared = 0
    for workspace, name, x, w, options, problem_taps in problems:
        memory.fail_at(0)
        fastconv.conv2d(x, w, **options)
        taps = 24 * problem_taps
        unit = PAGE if workspace < HUGE_PAGE else HUGE_PAGE
        expected = -(-(workspace + PAGE) // unit) * unit
        taken = memory.largest_taken()
        assert taken <= max(expected, taps), f"{name} {options}: tells {workspace}, takes {taken}"
        if expected > kept:
            assert taken == expected, f"{name} {options}: tells {workspace}, takes {taken} of {expected}"
            compared, kept = compared + 1, expected
    print("compared", compared)


def child_stays_flat():
    """The resident set after many varied calls, against the one after a few."""
    sys.path.insert(0, str(HERE / "fuzz"))
    from calls import check, draw
    from source import Seeded

    def resident():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * PAGE

    calls = int(sys.argv[1])
    for seed in range(calls):
        check(draw(Seeded(seed % 1000)))
        if seed == calls // 4:
            before = resident()
    print("grown", resident() - before)


# --- the tests


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory):
    """The environment that puts tests/preload/allocations.c before malloc."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("preload") / "allocations.so"
    source = HERE / "preload" / "allocations.c"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    return {"LD_PRELOAD": str(library)}


def run(function, environment, *arguments):
    """The word and the number that a function of this module prints in a process of its own."""
    path = os.pathsep.join([str(HERE), *sys.path])
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", f"import test_memory; test_memory.{function}()", *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    word, value = done.stdout.split()
    return word, int(value)


def test_a_failed_allocation_is_a_memory_error(preloaded):
    assert run("child_fails_every_allocation", {**preloaded, "OMP_NUM_THREADS": "2"}) >= ("injected", 500)


def test_the_workspace_is_what_algorithms_tells(preloaded):
    assert run("child_takes_what_it_tells", {**preloaded, "OMP_NUM_THREADS": "1"}) >= ("compared", 10)


def test_memory_stays_flat():
    """The margin is what the allocator's arenas and the pool of scratch blocks may differ by."""
    _, grown = run("child_stays_flat", {"MALLOC_ARENA_MAX": "2"}, "10000")
    assert grown < 32 << 20
