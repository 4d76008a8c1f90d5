"""The same bits for any number of threads, from run to run, and wherever the arrays lie in memory."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import PARALLEL, activations, reals, weights
from machine import THREADS
from pools import PARALLEL_POOLS

import fastconv


def misplaced(a, offset):
    """A copy of `a` that begins `offset` elements after an address that is a multiple of 64."""
    room = np.empty(a.size + offset + 64 // a.itemsize, a.dtype)
    start = -room.ctypes.data % 64 // a.itemsize + offset
    copy = room[start : start + a.size].reshape(a.shape)
    copy[...] = a
    return copy


def convolution(problem, algo, dtype, layout):
    """The results of all four operators on a problem, as a function of where its operands lie."""
    case = reals(problem)
    x, dy = activations(case.x, layout, dtype), activations(case.dy, layout, dtype)
    w, b = weights(case.w, layout, dtype), case.b.astype(dtype)
    options = {**problem.conv_kwargs, "algo": algo, "layout": layout}

    def compute(offset=0):
        x_, dy_, w_, b_ = (misplaced(a, offset + i) for i, a in enumerate((x, dy, w, b)))
        out = misplaced(dy, offset + 3)
        y = fastconv.conv2d(x_, w_, b_, activation="relu", out=out, **options)
        return (y, *fastconv.conv2d_backward(dy_, x_, w_, **options))

    return compute


def pooling(pool, dtype, layout):
    rng = np.random.default_rng(5)
    x = activations(rng.standard_normal(pool.shape), layout, dtype)
    y = fastconv.max_pool2d(x, pool.kernel_size, layout=layout, **pool.options)
    dy = rng.standard_normal(y.shape).astype(dtype)
    options = {**pool.options, "layout": layout}

    def compute(offset=0):
        x_, dy_ = misplaced(x, offset), misplaced(dy, offset + 1)
        return (
            *fastconv.max_pool2d(x_, pool.kernel_size, return_indices=True, **options),
            fastconv.max_pool2d_backward(dy_, x_, pool.kernel_size, **options),
            fastconv.avg_pool2d(x_, pool.kernel_size, **options),
            fastconv.avg_pool2d_backward(dy_, x.shape, pool.kernel_size, **options),
            fastconv.local_response_norm(x_, 5, layout=layout),
            fastconv.local_response_norm_backward(x_[::-1], x_, 5, layout=layout),
        )

    return compute


def assert_always_the_same(compute):
    with fastconv.threads(1):
        once = compute()
    for count in THREADS:
        with fastconv.threads(count):
            for offset in (0, 0, 1, 5):
                for first, again in zip(once, compute(offset), strict=True):
                    np.testing.assert_array_equal(first, again, err_msg=f"{count} threads, offset {offset}")


@pytest.mark.parametrize("problem", PARALLEL, ids=lambda p: p.name)
def test_convolutions(problem, isa, algo, dtype, layout):
    assert_always_the_same(convolution(problem, algo, dtype, layout))


@pytest.mark.parametrize("pool", PARALLEL_POOLS, ids=str)
def test_pools_and_normalisation(pool, isa, dtype, layout):
    assert_always_the_same(pooling(pool, dtype, layout))


def test_calls_from_many_python_threads(isa):
    """Each with a parallel region of its own."""
    computes = [convolution(problem, "auto", np.float32, "NCHW") for problem in PARALLEL]
    once = [compute() for compute in computes]
    with ThreadPoolExecutor(4) as pool:
        for results, expected in zip(pool.map(lambda f: f(), computes * 4), once * 4, strict=True):
            for y, y_once in zip(results, expected, strict=True):
                np.testing.assert_array_equal(y, y_once)


def test_the_innermost_setting_counts():
    before = fastconv.get_num_threads()
    with fastconv.threads(3):
        assert fastconv.get_num_threads() == 3
        with fastconv.threads(1):
            assert fastconv.get_num_threads() == 1
        assert fastconv.get_num_threads() == 3
    assert fastconv.get_num_threads() == before


def test_a_block_ends_with_an_error():
    before = fastconv.get_num_threads()
    with pytest.raises(KeyError), fastconv.threads(before + 1):
        raise KeyError
    assert fastconv.get_num_threads() == before


def test_set_num_threads_is_for_every_python_thread():
    before = fastconv.get_num_threads()
    seen = []
    try:
        fastconv.set_num_threads(5)
        reader = threading.Thread(target=lambda: seen.append(fastconv.get_num_threads()))
        reader.start()
        reader.join()
    finally:
        fastconv.set_num_threads(before)
    assert seen == [5]
    assert fastconv.get_num_threads() == before


def test_a_block_is_for_one_python_thread():
    seen = []
    with fastconv.threads(7):
        reader = threading.Thread(target=lambda: seen.append(fastconv.get_num_threads()))
        reader.start()
        reader.join()
    assert seen[0] != 7


@pytest.mark.parametrize("setter", [fastconv.set_num_threads, fastconv.threads])
@pytest.mark.parametrize(
    ("n", "error"),
    [(0, ValueError), (-1, ValueError), (2**40, ValueError), (1.5, TypeError), ("2", TypeError), (None, TypeError)],
)
def test_bad_counts(setter, n, error):
    before = fastconv.get_num_threads()
    with pytest.raises(error, match=str(n)):
        setter(n)
    assert fastconv.get_num_threads() == before
