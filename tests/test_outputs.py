"""Memory of large outputs: kept for later ones when their arrays are gone, within a bound."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import _core

FLOAT32 = np.dtype(np.float32)
MIB = (1 << 20) // FLOAT32.itemsize  # elements
BOUND = 256 * MIB


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def fresh(mib: int) -> np.ndarray:
    return _core.empty((mib * MIB,), FLOAT32)


@pytest.fixture(autouse=True)
def nothing_kept():
    """A block as large as the bound drives out all others; it is too large for the tests, whose first drives it out."""
    block = _core.empty((BOUND - MIB,), FLOAT32)
    del block


def test_a_large_output_takes_the_memory_of_one_that_is_gone():
    first = fresh(40)
    was = address(first)
    del first
    again = fresh(40)
    assert address(again) == was
    other = fresh(40)
    assert address(other) != was


@pytest.mark.parametrize("kib", range(4 << 10, 9 << 10, 509))
def test_rounding_to_pages_does_not_hide_a_block(kib):
    first = _core.empty((kib * MIB >> 10,), FLOAT32)
    was = address(first)
    second = _core.empty((kib * MIB >> 10,), FLOAT32)
    del first
    assert address(_core.empty((kib * MIB >> 10,), FLOAT32)) == was
    del second


def test_operators_share_that_memory():
    x = np.ones((8, 64, 64, 64), np.float32)
    dx = fastconv.max_pool2d_backward(np.ones((8, 64, 32, 32), np.float32), x, 2)
    was = address(dx)
    view = dx[0, :1]
    del dx
    y = fastconv.conv2d(x, np.ones((64, 64, 1, 1), np.float32))
    assert address(y) != was  # a view of it lives
    assert view.sum() == 32 * 32
    del view
    z = fastconv.conv2d(x, np.full((64, 64, 1, 1), 2, np.float32))
    assert address(z) == was
    assert (y == 64).all()
    assert (z == 128).all()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux how much memory the process has")
def test_what_is_kept_has_a_bound():
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

    before = resident()
    arrays = [fresh(90) for _ in range(4)]
    for array in arrays:
        array[:] = 1
    assert resident() > before + 340
    was = [address(array) for array in arrays]
    del array
    arrays.clear()
    assert resident() < before + 270  # the bound, and what the allocator of the system holds
    again = [fresh(90) for _ in range(2)]
    assert {address(array) for array in again} < set(was)


def test_a_block_larger_than_the_bound_is_not_kept():
    small = fresh(40)
    was = address(small)
    del small
    large = fresh(300)
    del large
    assert address(fresh(40)) == was  # it drove nothing out


def test_a_block_much_larger_than_asked_for_is_not_taken():
    large = fresh(100)
    was = address(large)
    del large
    assert address(fresh(60)) != was
    assert address(fresh(90)) == was


@pytest.mark.parametrize("mib", [4, 37])
def test_its_arrays_resize_copy_and_pickle(mib):
    array = fresh(mib)
    array[:] = np.arange(array.size)
    assert array.flags.owndata
    assert np.array_equal(pickle.loads(pickle.dumps(array)), array)
    array.resize((array.size * 2,), refcheck=False)
    assert np.array_equal(array[: mib * MIB], np.arange(mib * MIB, dtype=np.float32))
    assert not array[mib * MIB :].any()  # NumPy clears what it adds
    array.resize((3,), refcheck=False)
    assert array.tolist() == [0, 1, 2]


@pytest.mark.parametrize("shape", [(1 << 62, 1 << 62), (1 << 70, 2)])
def test_sizes_that_cannot_be_addressed(shape):
    with pytest.raises(ValueError, match="too"):
        _core.empty(shape, FLOAT32)


def test_more_than_there_is():
    with pytest.raises(MemoryError):
        _core.empty((1 << 44,), FLOAT32)
