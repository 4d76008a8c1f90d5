"""Conv2d: what it computes, copies of it, and calls from many threads."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import PROBLEMS, SHAPES, activations, integers, weights
from machine import ISAS, using_isa

import fastconv
from fastconv import Conv2d, reference


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_integers_are_exact(problem, isa, threads, algo, dtype, layout):
    case = integers(problem)
    conv = Conv2d(weights(case.w, layout, dtype), case.b.astype(dtype), layout=layout, algo=algo, **problem.conv_kwargs)
    x, exact = activations(case.x, layout, dtype), activations(case.y, layout)
    y = conv(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, exact)
    out = np.full_like(y, np.nan)
    assert conv(x, out) is out
    np.testing.assert_array_equal(out, exact)


@pytest.fixture
def layer(rng):
    w, b = rng.standard_normal((17, 5, 3, 3), np.float32), rng.standard_normal(17, np.float32)
    # "auto" does not count the packing of weights that are held, and so may take another algorithm than conv2d.
    return Conv2d(w, b, stride=(2, 1), padding="same", activation="relu", algo="im2col")


@pytest.fixture
def images(rng):
    return rng.standard_normal((2, 5, 14, 13), np.float32)


def expected(layer, images):
    return fastconv.conv2d(
        images, layer.w, layer.b, stride=layer.stride, padding=layer.padding, dilation=layer.dilation,
        groups=layer.groups, layout=layer.layout, activation=layer.activation, algo=layer.algo,
    )  # fmt: skip


def test_it_is_conv2d_bit_for_bit(layer, images):
    np.testing.assert_array_equal(layer(images), expected(layer, images))


def test_one_layer_serves_inputs_of_many_sizes(rng, layer):
    for shape in ((1, 5, 3, 3), (3, 5, 20, 9), (0, 5, 8, 8), (1, 5, 1, 1), (2, 5, 7, 40)):
        images = rng.standard_normal(shape, np.float32)
        np.testing.assert_array_equal(layer(images), expected(layer, images))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("algo", ["direct", "im2col"])
@pytest.mark.parametrize(("n", "k"), [(1, 3), (12, 40), (40, 40)])
def test_inputs_as_large_as_the_filters_and_larger(rng, n, k, algo, layout):
    w = rng.integers(-4, 5, (k, 7, 3, 3))
    layer = Conv2d(weights(w, layout, np.float32), layout=layout, algo=algo)
    for size in (3, 5, 3, 8):
        x = rng.integers(-4, 5, (n, 7, size, size))
        y = layer(activations(x, layout, np.float32))
        np.testing.assert_array_equal(y, activations(reference.conv2d(x, w), layout))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies_compute_the_same(layer, images, duplicate):
    twin = duplicate(layer)
    assert repr(twin) == repr(layer)
    np.testing.assert_array_equal(twin(images), layer(images))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_serves_a_process_with_another_instruction_set(layer, images, tmp_path, protocol):
    (tmp_path / "layer").write_bytes(pickle.dumps((layer, images), protocol))
    script = (
        "import pickle, sys; layer, images = pickle.load(open(sys.argv[1], 'rb'));"
        "open(sys.argv[2], 'wb').write(layer(images).tobytes())"
    )
    subprocess.run(
        [sys.executable, "-c", script, tmp_path / "layer", tmp_path / "result"],
        env={**os.environ, "FASTCONV_ISA": ISAS[0]},
        check=True,
        timeout=60,
    )
    y = np.frombuffer((tmp_path / "result").read_bytes(), np.float32)
    np.testing.assert_allclose(y, layer(images).ravel(), atol=1e-4)


def test_it_outlives_a_change_of_instruction_set(layer, images):
    for name in ISAS:
        with using_isa(name):
            np.testing.assert_array_equal(layer(images), expected(layer, images))


def test_weights_are_copied(rng, images):
    w, b = rng.standard_normal((4, 5, 3, 3), np.float32), rng.standard_normal(4, np.float32)
    layer = Conv2d(w, b)
    before = layer(images)
    w[...] = b[...] = np.nan
    np.testing.assert_array_equal(layer(images), before)


def test_it_is_immutable(layer):
    with pytest.raises(AttributeError):
        layer.stride = (1, 1)
    with pytest.raises(ValueError, match="read-only"):
        layer.w[...] = 0


def test_inputs_of_another_dtype_promote(layer, images):
    y = layer(images.astype(np.float64))
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, expected(layer, images.astype(np.float64)))
    assert layer(images.astype(np.float16)).dtype == np.float32


def test_many_threads_may_call_it_at_once(isa, rng, layer):
    inputs = [rng.standard_normal((1, 5, 10 + i, 17), np.float32) for i in range(24)]
    serial = [layer(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for y, before in zip(pool.map(layer, inputs), serial, strict=True):
                np.testing.assert_array_equal(y, before)


@pytest.mark.parametrize("problem", SHAPES[:6], ids=lambda p: p.name)
def test_any_view_is_taken(problem, layout):
    case = integers(problem)
    conv = Conv2d(np.asfortranarray(weights(case.w, layout)), case.b[::-1][::-1], layout=layout, **problem.conv_kwargs)
    x = activations(case.x, layout)[..., ::-1].copy()[..., ::-1]
    np.testing.assert_array_equal(conv(x), activations(case.y, layout))


def test_repr_names_every_argument(layer):
    for part in ("float32(17, 5, 3, 3)", "float32(17,)", "stride=(2, 1)", "padding='same'", "activation='relu'"):
        assert part in repr(layer)
