"""Kernels touch nothing before or after an array: the pages there are locked, and a touch ends the process."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import SHAPES, TILES, activations, integers, weights
from machine import ALGORITHMS, DTYPES, ISAS, LAYOUTS, using_isa
from pools import POOLS
from variants import backward_input, backward_weight, forward

import fastconv

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="locks pages by mprotect")


class Fenced:
    """Copies of arrays with a locked page right before them (`at_end` False) or right after."""

    def __init__(self, at_end):
        self.at_end = at_end
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.maps = []  # alive as long as the arrays in them

    def __call__(self, a):
        page = mmap.PAGESIZE
        pages = -(-a.nbytes // page)
        room = mmap.mmap(-1, (pages + 2) * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(room))
        for fence in (start, start + (pages + 1) * page):
            if self.libc.mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(page), 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        offset = (pages + 1) * page - a.nbytes if self.at_end else page
        copy = np.frombuffer(room, a.dtype, a.size, offset).reshape(a.shape)
        copy[...] = a
        self.maps.append(room)
        return copy


def walk(isa, at_end):
    """Every operator that takes arrays, over all problems."""
    fenced = Fenced(at_end)
    with using_isa(isa):
        for dtype in DTYPES:
            for layout in LAYOUTS:
                for problem in (*TILES, *SHAPES):
                    convolve(problem, dtype, layout, fenced)
                for pool in POOLS:
                    downsample(pool, dtype, layout, fenced)


def convolve(problem, dtype, layout, fenced):
    case = integers(problem)
    x, dy = fenced(activations(case.x, layout, dtype)), fenced(activations(case.dy, layout, dtype))
    w, b = fenced(weights(case.w, layout, dtype)), fenced(case.b.astype(dtype))
    out = fenced(np.zeros(dy.shape, dtype))
    for algo in ALGORITHMS:
        options = {**problem.conv_kwargs, "algo": algo, "layout": layout}
        fastconv.conv2d(x, w, b, out=out, **options)
        fastconv.Conv2d(w, b, **options)(x, out)
        fastconv.conv2d_backward(dy, x, w, **options)
        # The first channel is the last in memory.
        fastconv.conv2d(x[:, ::-1] if layout == "NCHW" else x[..., ::-1], w, **options)
    transform(problem, x, w, b, dy, layout)


def transform(problem, x, w, b, dy, layout):
    """Every variant of Winograd that serves a pass."""
    options = {**problem.conv_kwargs, "layout": layout}

    def variants(operation):
        records = fastconv.algorithms(x.shape, w.shape, dtype=x.dtype, operation=operation, **options)
        return [record.variant for record in records if record.name == "winograd"]

    for variant in variants("forward"):
        forward(x, w, b, algo=variant, **options)
    for variant in variants("backward_input"):
        backward_input(dy, w, x.shape, algo=variant, **options)
    for variant in variants("backward_weight"):
        backward_weight(dy, x, w.shape, algo=variant, **options)


def downsample(pool, dtype, layout, fenced):
    x = fenced(activations(np.random.default_rng(0).standard_normal(pool.shape), layout, dtype))
    y, indices = fastconv.max_pool2d(x, pool.kernel_size, return_indices=True, layout=layout, **pool.options)
    y, indices = fenced(y), fenced(indices)
    options = {**pool.options, "layout": layout}
    fastconv.max_pool2d(x, pool.kernel_size, out=y, **options)
    fastconv.max_pool2d_backward(y, x, pool.kernel_size, **options)
    fastconv.max_pool2d_backward(y, x, pool.kernel_size, indices=indices, **options)
    fastconv.avg_pool2d(x, pool.kernel_size, **options)
    fastconv.avg_pool2d_backward(y, x.shape, pool.kernel_size, **options)
    fastconv.local_response_norm_backward(x, x, 3, layout=layout)
    fastconv.local_response_norm(x, 3, layout=layout)


def run(script):
    """Run Python with this module importable."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-X", "faulthandler", "-c", "import test_bounds, numpy as np; " + script]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("at_end", [True, False], ids=["after", "before"])
def test_nothing_outside_is_touched(isa, at_end):
    done = run(f"test_bounds.walk({isa!r}, {at_end})")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("elements", "survives"), [(3, True), (4, False)])
def test_the_fence_holds(elements, survives):
    """A sum over one element too many does end a process."""
    done = run(f"np.lib.stride_tricks.as_strided(test_bounds.Fenced(True)(np.ones(3)), ({elements},), (8,)).sum()")
    assert (done.returncode == 0) == survives
