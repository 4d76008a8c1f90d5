"""The compiled module by itself: what it refuses if a caller skips the checks of the Python layer, and the peak."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import _core

FLOAT = np.dtype(np.float32)
# n, c, h, w, k, kh, kw, oh, ow, groups, then strides, dilations and paddings of height and width.
CONV = (1, 4, 8, 8, 6, 3, 3, 6, 6, 2, 1, 1, 1, 1, 0, 0, 0, 0)
# n, c, h, w, kh, kw, oh, ow, then the same.
POOL = (1, 4, 8, 8, 3, 3, 6, 6, 1, 1, 1, 1, 0, 0, 0, 0)
LARGE = 2**62


def put(sizes, changes):
    return tuple(changes.get(i, size) for i, size in enumerate(sizes))


def test_the_sizes_that_the_others_change_are_taken():
    _core.ConvProblem(FLOAT, False, *CONV)
    _core.PoolProblem(FLOAT, False, *POOL)


@pytest.mark.parametrize("index", range(14))
def test_a_size_that_is_not_positive_is_refused(index):
    with pytest.raises(ValueError, match="contradict"):
        _core.ConvProblem(FLOAT, False, *put(CONV, {index: 0}))


@pytest.mark.parametrize("index", range(14, 18))
def test_padding_below_zero_is_refused(index):
    with pytest.raises(ValueError, match="contradict"):
        _core.ConvProblem(FLOAT, True, *put(CONV, {index: -1}))


@pytest.mark.parametrize("changes", [{1: 5}, {4: 5}, {7: 7}, {8: 7}, {2: 7}, {11: 2}, {12: 2}], ids=str)
def test_a_convolution_that_contradicts_itself_is_refused(changes):
    with pytest.raises(ValueError, match="contradict"):
        _core.ConvProblem(FLOAT, False, *put(CONV, changes))


@pytest.mark.parametrize("changes", [{0: 0}, {1: 0}, {2: 0}, {6: 9}, {7: 9}, {12: -1}], ids=str)
def test_a_pool_that_contradicts_itself_is_refused(changes):
    with pytest.raises(ValueError, match="contradict"):
        _core.PoolProblem(FLOAT, False, *put(POOL, changes))


@pytest.mark.parametrize(
    "changes", [{0: LARGE}, {4: LARGE}, {10: LARGE}, {12: LARGE}, {14: LARGE}, {15: 2**63 - 1}], ids=str
)
def test_a_convolution_beyond_the_address_space_is_refused(changes):
    with pytest.raises(ValueError, match="too large to be addressed"):
        _core.ConvProblem(FLOAT, False, *put(CONV, changes))


def test_a_dilation_that_steps_over_the_input_is_refused():
    """The first window looks at the rows 1 above the input and 4 below its first, of which it has 2."""
    with pytest.raises(ValueError, match="holds no pixel"):
        _core.PoolProblem(FLOAT, False, *put(POOL, {2: 2, 4: 2, 6: 1, 10: 5, 12: 1, 13: 9}))


@pytest.mark.parametrize("size", [0, -1])
@pytest.mark.parametrize("backward", [False, True])
def test_a_normalisation_over_no_channels_is_refused(size, backward):
    x = np.ones((1, 2, 3, 3), np.float32)
    arrays = (x, x, np.empty_like(x)) if backward else (x, np.empty_like(x))
    call = _core.lrn_backward if backward else _core.lrn_forward
    with pytest.raises(ValueError, match="contradict"):
        call(*arrays, False, size, 1e-4, 0.75, 1.0, 1)


def test_an_unknown_instruction_set_is_refused():
    with pytest.raises(ValueError, match="unknown instruction set 'avx1024'"):
        _core.set_isa("avx1024")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_peak_is_that_of_a_cpu(isa, dtype, threads):
    """Between a thousandth of a multiply-add a cycle and 64 of them on each of 2 cores at 10 GHz."""
    assert 1e-2 < _core.peak_gflops(dtype, threads) < 2 * 2 * 64 * 10
