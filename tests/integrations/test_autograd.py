"""autograd's primitives: values, and gradients of first and second order by finite differences."""

import numpy as np
import pytest

pytest.importorskip("autograd")

from autograd import grad
from autograd.test_util import check_grads

import fastconv
from fastconv.integrations.autograd import conv2d, max_pool2d


@pytest.fixture(autouse=True)
def directions() -> None:
    """Seed the global state from which autograd's check draws the directions of its finite differences."""
    np.random.seed(231)  # noqa: NPY002


@pytest.mark.parametrize("how", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": ((2, 1), (0, 3))}])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_conv2d(rng: np.random.Generator, layout: str, how: dict, activation: str | None) -> None:
    x, w, b = rng.normal(size=(2, 3, 7, 6)), rng.normal(size=(4, 3, 3, 2)), rng.normal(size=4)
    if layout == "NHWC":
        x, w = x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0)
    y = conv2d(x, w, b, layout=layout, activation=activation, **how)
    np.testing.assert_allclose(y, fastconv.reference.conv2d(x, w, b, layout=layout, activation=activation, **how))
    check_grads(lambda *a: conv2d(*a, layout=layout, activation=activation, **how), modes=["rev"], order=2)(x, w, b)


@pytest.mark.parametrize("how", [{}, {"stride": 1, "padding": 1}, {"stride": 2, "ceil_mode": True}])
def test_max_pool2d(rng: np.random.Generator, layout: str, how: dict) -> None:
    x = rng.permutation(np.linspace(-1, 1, 2 * 3 * 5 * 6)).reshape(2, 3, 5, 6)  # no two within a finite difference
    np.testing.assert_array_equal(
        max_pool2d(x, 2, layout=layout, **how), fastconv.max_pool2d(x, 2, layout=layout, **how)
    )
    check_grads(lambda a: max_pool2d(a, 2, layout=layout, **how) ** 2, modes=["rev"], order=2)(x)


def test_strict_layers_have_gradients(rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(1, 2, 7, 7)), rng.normal(size=(3, 2, 3, 3))
    check_grads(lambda *a: conv2d(*a, stride=2, strict=True), modes=["rev"], order=2)(x, w)
    check_grads(lambda a: max_pool2d(a, 3, stride=2, strict=True) ** 2, modes=["rev"], order=1)(x)
    with pytest.raises(ValueError, match=r"\(7 - 3\) / 3 \+ 1 = 2\.33"):
        conv2d(x, w, stride=3, strict=True)
    with pytest.raises(ValueError, match=r"\(7 - 3\) / 3 \+ 1 = 2\.33"):
        max_pool2d(x, 3, stride=3, strict=True)


def test_indices_beside_the_gradient(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 6, 6))
    y, indices = max_pool2d(x, 2, return_indices=True)
    expected = fastconv.max_pool2d(x, 2, return_indices=True)
    np.testing.assert_array_equal(y, expected[0])
    np.testing.assert_array_equal(indices, expected[1])
    np.testing.assert_array_equal(
        grad(lambda a: max_pool2d(a, 2, return_indices=True)[0].sum())(x),
        fastconv.max_pool2d_backward(np.ones_like(y), x, 2),
    )


def test_errors_are_ours() -> None:
    x, w = np.zeros((1, 1, 3, 3)), np.zeros((1, 1, 5, 5))
    with pytest.raises(ValueError, match="does not fit"):
        grad(lambda a: conv2d(a, w).sum())(x)
    with pytest.raises(TypeError, match="out="):
        conv2d(x, w, out=x)
