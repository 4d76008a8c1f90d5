"""DeZero under the patch against DeZero without it: values, gradients, errors, and the way back."""

import numpy as np
import pytest

from fastconv import reference

dezero_patch = pytest.importorskip("fastconv.integrations.dezero")

import dezero.functions as F
import dezero.layers as L
from dezero import Variable, functions_conv
from dezero.functions import conv2d, conv2d_simple

import fastconv

patch = dezero_patch.patch
OPERATORS = (
    "conv2d", "conv2d_backward_input", "conv2d_backward_weight",
    "max_pool2d", "max_pool2d_backward", "avg_pool2d", "avg_pool2d_backward",
)  # fmt: skip


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of our operators as they are called."""
    names: list[str] = []

    def spy(name: str):
        operator = getattr(fastconv, name)
        return lambda *args, **kwargs: (names.append(name), operator(*args, **kwargs))[1]

    for name in OPERATORS:
        monkeypatch.setattr(fastconv, name, spy(name))
    return names


def run(function, *arrays: np.ndarray | None) -> list[np.ndarray]:
    """Return a function's value, and the gradients of a loss that weighs its elements differently."""
    variables = [None if array is None else Variable(array.copy()) for array in arrays]
    y = function(*variables)
    weights = np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype)
    F.sum(y * weights).backward()
    return [y.data, *(variable.grad.data for variable in variables if variable is not None)]


def compare(calls: list[str], names: set[str], function, *arrays: np.ndarray | None) -> None:
    want = run(function, *arrays)
    assert calls == []
    with patch():
        got = run(function, *arrays)
    assert set(calls) == names
    tolerance = 2e-5 if any(a is not None and a.dtype == np.float32 for a in arrays) else 1e-11
    for mine, theirs in zip(got, want, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


CONVOLUTIONS = set(OPERATORS[:3])


@pytest.mark.parametrize("how", [(1, 0), (2, 1), ((2, 1), (0, 2))])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_conv2d(rng: np.random.Generator, calls: list[str], how: tuple, bias: bool, dtype: type) -> None:
    x, w = rng.normal(size=(2, 3, 8, 7)).astype(dtype), rng.normal(size=(4, 3, 3, 2)).astype(dtype)
    b = rng.normal(size=4).astype(dtype) if bias else None
    compare(calls, CONVOLUTIONS, lambda x, w, b: conv2d(x, w, b, *how), x, w, b)


@pytest.mark.parametrize("bias", [False, True])
def test_conv2d_simple(rng: np.random.Generator, calls: list[str], bias: bool) -> None:
    x, w, b = rng.normal(size=(2, 3, 8, 7)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4) if bias else None
    compare(calls, CONVOLUTIONS, lambda x, w, b: F.conv2d_simple(x, w, b, 2, 1), x, w, b)
    assert F.conv2d_simple is functions_conv.conv2d_simple is conv2d_simple


@pytest.mark.parametrize("how", [(1, 0), (2, 1), (2, 1, (7, 8))])
@pytest.mark.parametrize("bias", [False, True])
def test_deconv2d(rng: np.random.Generator, calls: list[str], how: tuple, bias: bool) -> None:
    x, w, b = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(3, 5, 3, 4)), rng.normal(size=5) if bias else None
    compare(calls, CONVOLUTIONS, lambda x, w, b: F.deconv2d(x, w, b, *how), x, w, b)


def test_layers(rng: np.random.Generator, calls: list[str]) -> None:
    conv, deconv = L.Conv2d(4, 3, pad=1, in_channels=3), L.Deconv2d(3, 3, pad=1, in_channels=4)
    x = rng.normal(size=(2, 3, 6, 6)).astype(np.float32)
    compare(calls, CONVOLUTIONS, lambda x: deconv(conv(x)), x)


@pytest.mark.parametrize("how", [(2, 2), (3, 2), ((2, 3), (1, 2))])
@pytest.mark.parametrize("ties", [False, True])
def test_pooling(rng: np.random.Generator, calls: list[str], how: tuple, ties: bool) -> None:
    x = rng.integers(0, 3, (2, 3, 7, 8)).astype(float) if ties else rng.normal(size=(2, 3, 7, 8))
    compare(calls, {"max_pool2d", "max_pool2d_backward"}, lambda x: F.pooling(x, *how), x)


@pytest.mark.parametrize("how", [(2, 2), (3, 2, 1), (3, 1, (0, 2))])
def test_average_pooling(rng: np.random.Generator, calls: list[str], how: tuple) -> None:
    names = {"avg_pool2d", "avg_pool2d_backward"}
    compare(calls, names, lambda x: F.average_pooling(x, *how), rng.normal(size=(2, 3, 7, 8)))


def test_gradient_of_average_pooling_keeps_float32(rng: np.random.Generator) -> None:
    """DeZero's own is of float64, as it divides by an array of integers."""
    x = rng.normal(size=(2, 3, 6, 6)).astype(np.float32)
    want = run(lambda x: F.average_pooling(x, 2, 2), x)[1]
    with patch():
        got = run(lambda x: F.average_pooling(x, 2, 2), x)[1]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=2e-6)


def test_average_pooling_of_a_window_that_is_not_square(rng: np.random.Generator) -> None:
    """DeZero takes its height for its width in the gradient, and raises an IndexError."""
    x = rng.normal(size=(2, 3, 7, 8))
    with pytest.raises(IndexError):
        run(lambda x: F.average_pooling(x, (2, 3), 2), x)
    with patch():
        y, gx = run(lambda x: F.average_pooling(x, (2, 3), 2), x)
    np.testing.assert_allclose(y, reference.avg_pool2d(x, (2, 3), stride=2))
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    np.testing.assert_allclose(gx, reference.avg_pool2d_backward(dy, x.shape, (2, 3), stride=2))


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: conv2d(x, w, None, 2, 1),
        lambda x, w: F.deconv2d(conv2d(x, w), w),
        lambda x, w: F.pooling(x, 2, 2) * F.sum(w),
        lambda x, w: F.average_pooling(x, 2, 2) * F.sum(w),
    ],
)
def test_second_order(rng: np.random.Generator, function) -> None:
    """The gradient of a gradient by the images; DeZero 0.0.13 has none of the gradient by the filters."""

    def penalty(x, w):
        F.sum(function(x, w) ** 2).backward(create_graph=True)
        gx = x.grad
        x.cleargrad()
        w.cleargrad()
        return gx

    x, w = rng.normal(size=(2, 3, 6, 8)), rng.normal(size=(4, 3, 3, 3))
    want = run(penalty, x, w)
    with patch():
        got = run(penalty, x, w)
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda x: F.pooling(x, 3, 2, 1), "f8"),  # the zeros around the image can win
        (lambda x: F.pooling(x, 2, 2), "i8"),
        (lambda x: F.average_pooling(x, 2, 2), "i8"),
        (lambda x: conv2d(x, np.ones((2, 2, 3, 3), int)), "i8"),
        (lambda x: F.deconv2d(x, np.ones((2, 2, 3, 3), int)), "i8"),
        (lambda x: conv2d(x, np.ones((2, 2, 3, 3))), "c16"),
        (lambda x: F.deconv2d(x, np.ones((2, 2, 3, 3))), "c16"),
        (lambda x: conv2d(x, np.ones((3, 2, 3, 3)), np.ones(1)), "f8"),  # one bias for all channels
    ],
)
def test_what_is_not_served_is_the_clients(calls: list[str], function, kind: str) -> None:
    x = Variable(-1 - np.arange(72).reshape(1, 2, 6, 6).astype(kind))
    want = function(x)
    with patch():
        got = function(x)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got.data, want.data)
    assert calls == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, w: conv2d(x, w[:, :1]),
        lambda x, w: conv2d(x, w[0]),
        lambda x, w: conv2d(x, w, np.ones(7)),
        lambda x, w: conv2d(x, w, None, 0),
        lambda x, w: conv2d(x, w, None, [1, 1]),
        lambda x, w: conv2d(x, w, None, 1.5),
        lambda x, w: conv2d(x[0], w),
        lambda x, w: F.deconv2d(x, w[:1]),
        lambda x, w: F.deconv2d(x, w, outsize=(20, 20)),
        lambda x, w: F.pooling(x, 9, 1),
        lambda x, w: F.pooling(x, [2, 2], 1),
        lambda x, w: F.average_pooling(x, 9, 1),
        lambda x, w: F.average_pooling(x, 2, 0),
    ],
)
def test_errors_are_the_clients(calls: list[str], wrong) -> None:
    x, w = np.zeros((1, 2, 6, 5)), np.zeros((2, 2, 3, 3))
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        wrong(Variable(x), w)
    with patch(), pytest.raises(Exception) as ours:  # noqa: PT011
        wrong(Variable(x), w)
    assert ours.type is theirs.type
    assert str(ours.value) == str(theirs.value)
    assert calls == []


def test_a_call_patches_until_it_is_undone(calls: list[str]) -> None:
    x, w = Variable(np.ones((1, 1, 4, 4))), np.ones((1, 1, 3, 3))
    stock = {name: getattr(functions_conv, name) for name in ("Conv2d", "Deconv2d", "Conv2DGradW", "Pooling")}
    patched = patch()
    conv2d(x, w)
    assert calls == ["conv2d"]
    patched.undo()
    conv2d(x, w)
    assert calls == ["conv2d"]
    assert {name: getattr(functions_conv, name) for name in stock} == stock


def test_a_graph_outlives_the_patch(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 6, 8))

    def loss(x):
        return F.sum(F.pooling(x, 2, 2) + F.average_pooling(x, 2, 2))

    want = run(loss, x)[1]
    variable = Variable(x)
    with patch():
        y = loss(variable)
    y.backward()
    np.testing.assert_allclose(variable.grad.data, want)


def test_numpy_is_left_as_it_was() -> None:
    assert "int" not in vars(np)
