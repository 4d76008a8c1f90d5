"""Arrays of any strides, byte order, alignment and storage are read as they are, and never written to."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine import LAYOUTS

import fastconv
from fastconv import reference

STEPS = (1, 1, 2, 3, -1, -2, 0)
DTYPES = ("<f4", "<f8", ">f4", ">f8", "<f2")


def view(shape, order, steps, dtype, misaligned, seed):
    """An array of `shape` over a larger one: axes in memory as in `order`, a step for each axis, 0 repeats it."""
    dtype = np.dtype(dtype)
    extents = [max(abs(step), 1) * (1 if step == 0 else size) + 1 for size, step in zip(shape, steps, strict=True)]
    extents = [1 if step == 0 else extent for extent, step in zip(extents, steps, strict=True)]
    memory = np.empty(int(np.prod(extents)) * dtype.itemsize + misaligned, np.uint8)
    base = memory[misaligned:].view(dtype).reshape([extents[axis] for axis in order]).transpose(np.argsort(order))
    base[...] = np.random.default_rng(seed).integers(-4, 5, base.shape)
    strided = base[tuple(slice(None, None, step or 1) for step in steps)]
    strided = strided[tuple(slice(0, size) for size in shape)]
    strided = np.broadcast_to(strided, shape)  # read-only where it repeats
    return strided, memory


@st.composite
def views(draw, shape):
    axes = len(shape)
    strided, memory = view(
        shape,
        draw(st.permutations(range(axes))),
        draw(st.tuples(*[st.sampled_from(STEPS)] * axes)),
        draw(st.sampled_from(DTYPES)),
        draw(st.sampled_from((0, 0, 1, 3))),
        draw(st.integers(0, 9)),
    )
    if draw(st.booleans()):
        strided.flags.writeable = False
    return strided, memory


def check(operator, expected, *viewed, **options):
    """Compare with the reference on float64 copies, and see that the memory behind the views stays as it was."""
    before = [memory.copy() for _, memory in viewed]
    got = getattr(fastconv, operator)(*(array for array, _ in viewed), **options)
    want = expected(*(np.array(array, np.float64) for array, _ in viewed))
    native = np.result_type(*(array.dtype for array, _ in viewed)).newbyteorder("=")
    for ours, exact in zip(*((a,) if isinstance(a, np.ndarray) else a for a in (got, want)), strict=True):
        assert ours.dtype == native or ours.dtype == np.int64
        assert ours.dtype.isnative
        np.testing.assert_array_equal(ours, exact)
    for (_, memory), copy in zip(viewed, before, strict=True):
        np.testing.assert_array_equal(memory, copy)


@given(views((2, 4, 6, 5)), views((6, 2, 3, 2)), st.sampled_from(("direct", "im2col")))
def test_conv2d(x, w, algo):
    options = {"stride": (2, 1), "padding": 1, "groups": 2}
    check("conv2d", lambda x, w: reference.conv2d(x, w, **options), x, w, algo=algo, **options)


@given(views((2, 6, 5, 4)), views((2, 2, 3, 6)), views((6,)), st.sampled_from(("direct", "im2col")))
def test_conv2d_nhwc(x, w, b, algo):
    options = {"layout": "NHWC", "padding": "same"}
    x, w = (x[0][..., :3], x[1]), (w[0], w[1])
    check("conv2d", lambda x, w, b: reference.conv2d(x, w, b, **options), x, w, b, algo=algo, **options)


@given(views((2, 3, 4, 5)), views((2, 4, 6, 6)), views((3, 4, 3, 2)), st.sampled_from(("direct", "im2col")))
def test_conv2d_backward(dy, x, w, algo):
    check("conv2d_backward", reference.conv2d_backward, dy, x, w, algo=algo)


@given(views((5, 6, 1, 1)), views((5, 3, 2, 4)), views((6, 3, 2, 4)), st.sampled_from(("direct", "im2col")))
def test_filters_as_large_as_their_image(dy, x, w, algo):
    check("conv2d", reference.conv2d, x, w, algo=algo)
    check("conv2d_backward", reference.conv2d_backward, dy, x, w, algo=algo)


@given(views((5, 1, 1, 6)), views((5, 2, 4, 3)), views((2, 4, 3, 6)), st.sampled_from(("direct", "im2col")))
def test_filters_as_large_as_their_image_nhwc(dy, x, w, algo):
    options = {"layout": "NHWC"}
    check("conv2d", partial(reference.conv2d, **options), x, w, algo=algo, **options)
    check("conv2d_backward", partial(reference.conv2d_backward, **options), dy, x, w, algo=algo, **options)


@given(views((2, 3, 4, 5)), views((3, 2, 3, 2)))
def test_conv_transpose2d(x, w):
    check("conv_transpose2d", lambda x, w: reference.conv_transpose2d(x, w, stride=2), x, w, stride=2)


@given(views((2, 4, 7)), views((3, 4, 3)))
def test_conv1d(x, w):
    check("conv1d", lambda x, w: reference.conv1d(x, w, padding=1), x, w, padding=1)


@given(views((2, 5, 6, 7)), st.sampled_from(LAYOUTS))
def test_max_pool2d(x, layout):
    options = {"kernel_size": 2, "stride": 1, "layout": layout, "return_indices": True}
    check("max_pool2d", lambda x: reference.max_pool2d(x, **options), x, **options)


@given(views((2, 5, 4, 4)), views((2, 5, 5, 5)), st.sampled_from(LAYOUTS))
def test_max_pool2d_backward(dy, x, layout):
    if layout == "NHWC":
        dy, x = ((a.transpose(0, 2, 3, 1), memory) for a, memory in (dy, x))
    options = {"kernel_size": 2, "stride": 1, "layout": layout}
    check("max_pool2d_backward", lambda dy, x: reference.max_pool2d_backward(dy, x, **options), dy, x, **options)


@given(views((2, 5, 6, 7)), views((2, 5, 3, 3)))
def test_avg_pool2d(x, dy):
    check("avg_pool2d", lambda x: reference.avg_pool2d(x, 2), x, kernel_size=2)  # quarters are exact
    check(
        "avg_pool2d_backward",
        lambda dy: reference.avg_pool2d_backward(dy, (2, 5, 6, 7), 2),
        dy, input_shape=(2, 5, 6, 7), kernel_size=2,
    )  # fmt: skip


@given(views((2, 5, 3, 4)), views((2, 5, 3, 4)), st.sampled_from(LAYOUTS))
def test_local_response_norm(x, dy, layout):
    options = {"size": 2, "alpha": 4.0, "beta": 1.0, "layout": layout}
    before = x[1].copy(), dy[1].copy()
    y = fastconv.local_response_norm(x[0], **options)
    dx = fastconv.local_response_norm_backward(dy[0], x[0], **options)
    x64, dy64 = x[0].astype(float), dy[0].astype(float)
    eps = 64 * np.finfo(x[0].dtype).eps
    np.testing.assert_allclose(y, reference.local_response_norm(x64, **options), rtol=eps)
    eps = 64 * max(eps, np.finfo(dy[0].dtype).eps)
    np.testing.assert_allclose(dx, reference.local_response_norm_backward(dy64, x64, **options), rtol=eps, atol=eps)
    np.testing.assert_array_equal(x[1], before[0])
    np.testing.assert_array_equal(dy[1], before[1])


@pytest.mark.parametrize("mode", ["r", "c"])
def test_memory_mapped_files(tmp_path, rng, isa, algo, mode):
    x, w = rng.integers(-4, 5, (2, 3, 9, 8)).astype(np.float32), rng.integers(-4, 5, (4, 3, 3, 3)).astype(np.float32)
    for name, array in (("x", x), ("w", w)):
        np.save(tmp_path / f"{name}.npy", array)
    mapped_x, mapped_w = (np.load(tmp_path / f"{name}.npy", mmap_mode=mode) for name in "xw")
    y = fastconv.conv2d(mapped_x, mapped_w, padding=1, algo=algo)
    assert type(y) is np.ndarray
    np.testing.assert_array_equal(y, reference.conv2d(x, w, padding=1))
    np.testing.assert_array_equal(fastconv.max_pool2d(mapped_x, 2), reference.max_pool2d(x, 2))


def test_one_element_axes_may_have_any_stride(rng, algo):
    """NumPy gives an axis of one element whatever stride it likes; it says nothing of the memory."""
    x, w = rng.integers(-4, 5, (1, 3, 8, 1)).astype(float), rng.integers(-4, 5, (4, 3, 3, 1)).astype(float)
    odd = np.lib.stride_tricks.as_strided(x, strides=(10**9, *x.strides[1:3], 7 * 10**8), writeable=False)
    np.testing.assert_array_equal(fastconv.conv2d(odd, w, algo=algo), reference.conv2d(x, w))


@pytest.mark.parametrize("step", [1, 2, -1, -3, 0])
@pytest.mark.parametrize("pixels", [(1, 3), (3, 7), (7, 15)])
@pytest.mark.parametrize("filters", [3, 16, 250])
def test_channels_of_a_1x1_kernel_may_lie_at_any_step(rng, isa, step, pixels, filters):
    """The last vector of pixels may read on where the next channel follows, and nowhere else."""
    channels = 20
    memory = rng.integers(-4, 5, (2, abs(step) * channels or 1, *pixels)).astype(float)
    x = memory[:, :: step or 1][:, :channels] if step else np.broadcast_to(memory, (2, channels, *pixels))
    w = rng.integers(-4, 5, (filters, channels, 1, 1)).astype(float)
    np.testing.assert_array_equal(fastconv.conv2d(x, w, algo="direct"), reference.conv2d(x, w))


def test_pixels_of_a_1x1_kernel_may_repeat(rng, algo):
    pixel = rng.integers(-4, 5, (2, 1, 1, 20)).astype(float)
    x, dy = np.broadcast_to(pixel, (2, 6, 7, 20)), np.broadcast_to(pixel[..., :9], (2, 6, 7, 9))
    w = rng.integers(-4, 5, (1, 1, 20, 9)).astype(float)
    np.testing.assert_array_equal(
        fastconv.conv2d(x, w, layout="NHWC", algo=algo), reference.conv2d(x, w, layout="NHWC")
    )
    exact = reference.conv2d_backward(dy, x, w, layout="NHWC")
    for ours, theirs in zip(fastconv.conv2d_backward(dy, x, w, layout="NHWC", algo=algo), exact, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_matrix_is_an_array(rng):
    subclass = rng.integers(-4, 5, (1, 1, 4, 5)).astype(float).view(type("Tagged", (np.ndarray,), {}))
    y = fastconv.conv2d(subclass, np.ones((1, 1, 2, 2)))
    assert type(y) is np.ndarray
    np.testing.assert_array_equal(y, reference.conv2d(np.asarray(subclass), np.ones((1, 1, 2, 2))))
