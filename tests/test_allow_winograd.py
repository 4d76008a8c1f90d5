"""allow_winograd: what it lets algo="auto" take, as a call, a block and an environment variable."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from variants import forward

import fastconv
from fastconv import allow_winograd

SHAPES = (1, 64, 56, 56), (64, 64, 3, 3)


def winograd_leads(**options):
    return fastconv.algorithms(*SHAPES, padding=1, **options)[0].name == "winograd"


@pytest.fixture(autouse=True)
def default():
    with allow_winograd(True):
        yield


@pytest.mark.parametrize("level", [True, "fast"])
def test_it_leads_where_it_is_allowed(level):
    with allow_winograd(level):
        assert winograd_leads()
        assert winograd_leads(operation="backward_input")
        assert not winograd_leads(dtype=np.float64)


def test_auto_computes_without_where_it_is_not(isa, rng):
    x, w = (rng.standard_normal(shape, np.float32) for shape in SHAPES)
    plain = forward(x, w, padding=1, algo="exact")
    with allow_winograd(False):
        assert not winograd_leads()
        np.testing.assert_array_equal(fastconv.conv2d(x, w, padding=1), plain)
        np.testing.assert_array_equal(fastconv.Conv2d(w, padding=1)(x), plain)
        by_name = fastconv.conv2d(x, w, padding=1, algo="winograd")
    assert (by_name != plain).any()
    np.testing.assert_array_equal(fastconv.conv2d(x, w, padding=1, algo="winograd"), by_name)
    first = fastconv.algorithms(*SHAPES, padding=1)[0]
    np.testing.assert_array_equal(fastconv.conv2d(x, w, padding=1), forward(x, w, padding=1, algo=first.variant))


def test_a_held_layer_follows_the_level_of_its_call(rng):
    x, w = (rng.standard_normal(shape, np.float32) for shape in SHAPES)
    with allow_winograd(False):
        conv = fastconv.Conv2d(w, padding=1)
    np.testing.assert_array_equal(conv(x), fastconv.conv2d(x, w, padding=1))
    assert (conv(x) != forward(x, w, padding=1, algo="exact")).any()


def test_a_plain_call_lasts():
    allow_winograd(False)
    assert not winograd_leads()
    allow_winograd(True)
    assert winograd_leads()


def test_blocks_nest():
    with allow_winograd(False):
        with allow_winograd("fast"):
            assert winograd_leads()
            with allow_winograd(False):
                assert not winograd_leads()
            assert winograd_leads()
        assert not winograd_leads()
    assert winograd_leads()


def test_a_block_ends_with_an_error():
    with pytest.raises(KeyError), allow_winograd(False):
        raise KeyError
    assert winograd_leads()


@pytest.mark.parametrize("level", ["slow", None, 2, 0.5, ""])
def test_another_level_is_an_error(level):
    with pytest.raises(ValueError, match=f"{level!r}"):
        allow_winograd(level)
    assert winograd_leads()


def python(value):
    script = f"import fastconv; print(fastconv.algorithms(*{SHAPES}, padding=1)[0].name)"
    environment = {**os.environ, "FASTCONV_ALLOW_WINOGRAD": value}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("value", "leads"), [("0", False), ("1", True), ("fast", True), ("", True), (" 0 ", False)])
def test_the_variable(value, leads):
    done = python(value)
    assert done.returncode == 0, done.stderr
    assert (done.stdout.strip() == "winograd") == leads


@pytest.mark.parametrize("value", ["bad", "2", "True"])
def test_a_bad_variable_is_an_error(value):
    done = python(value)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"ValueError: FASTCONV_ALLOW_WINOGRAD must be 0, 1 or fast, not {value!r}"
