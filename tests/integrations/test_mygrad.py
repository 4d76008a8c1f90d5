"""MyGrad under the patch against MyGrad without it: values, gradients, errors, and the way back."""

import numpy as np
import pytest

mygrad = pytest.importorskip("mygrad")

from mygrad.nnet.layers import conv, conv_nd, max_pool, pooling

import fastconv
from fastconv.integrations.mygrad import patch

STOCK = conv.ConvND, pooling.MaxPoolND
OPERATORS = ("conv1d", "conv2d", "conv2d_backward_input", "conv2d_backward_weight", "max_pool2d", "max_pool2d_backward")


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


def run(function, *arrays: np.ndarray, **how) -> list[np.ndarray]:
    """Return a function's value, and the gradients of a loss that weighs its elements differently."""
    tensors = [mygrad.tensor(array) for array in arrays]
    y = function(*tensors, **how)
    value = y.data.copy()
    (y * np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype)).sum().backward()
    return [value, *(tensor.grad for tensor in tensors)]


def compare(
    calls: list[str], function, *arrays: np.ndarray, ours: bool = True, tolerance: float = 1e-11, **how
) -> None:
    want = run(function, *arrays, **how)
    assert calls == []
    with patch():
        got = run(function, *arrays, **how)
    assert bool(calls) is ours
    for mine, theirs in zip(got, want, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "how",
    [{"stride": 1}, {"stride": (2, 1), "padding": (1, 2)}, {"stride": 1, "dilation": np.array([2, 1]), "padding": 3}],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_conv2d(rng: np.random.Generator, calls: list[str], how: dict, dtype: type) -> None:
    x, w = rng.normal(size=(2, 3, 9, 7)).astype(dtype), rng.normal(size=(4, 3, 3, 2)).astype(dtype)
    compare(calls, conv_nd, x, w, tolerance=1e-11 if dtype == np.float64 else 2e-5, **how)


def test_mixed_dtypes_and_views(rng: np.random.Generator, calls: list[str]) -> None:
    x, w = rng.normal(size=(7, 9, 3, 2)).T, rng.normal(size=(4, 3, 3, 2)).astype(np.float32)
    compare(calls, conv_nd, x, w, stride=1, tolerance=2e-5)


def test_conv1d(rng: np.random.Generator, calls: list[str]) -> None:
    compare(calls, conv_nd, rng.normal(size=(2, 3, 12)), rng.normal(size=(4, 3, 4)), stride=2, padding=1, dilation=1)


def test_conv3d_is_the_clients(rng: np.random.Generator, calls: list[str]) -> None:
    x, w = rng.normal(size=(1, 2, 4, 4, 4)), rng.normal(size=(3, 2, 2, 2, 2))
    compare(calls, conv_nd, x, w, stride=1, ours=False)


@pytest.mark.parametrize(
    ("shape", "pool", "stride"),
    [((2, 3, 6, 8), (2, 2), 2), ((3, 7, 9), [3, 3], (2, 1)), ((6, 6), (2, 3), 1), ((2, 3, 4, 8), (3,), 1)],
)
@pytest.mark.parametrize("ties", [False, True])
def test_max_pool(rng: np.random.Generator, calls: list[str], shape, pool, stride, ties: bool) -> None:
    x = rng.integers(0, 3, shape).astype(float) if ties else rng.normal(size=shape)
    compare(calls, max_pool, x, pool=pool, stride=stride)


def test_what_is_not_served_is_the_clients(rng: np.random.Generator, calls: list[str]) -> None:
    integers, w = rng.integers(0, 9, (1, 2, 4, 4)), np.ones((1, 2, 2, 2), int)
    complexes = integers + 1j
    cases = [lambda: conv_nd(integers, w, stride=1), lambda: max_pool(integers, (2, 2), 2)]
    cases += [
        lambda: conv.ConvND()(complexes.view(Data), w.view(Data), stride=1),
        lambda: max_pool(rng.normal(size=(2, 4, 4, 4)), (2, 2, 2), 2),
    ]
    for case in cases:
        state = rng.bit_generator.state
        want = case()
        rng.bit_generator.state = state
        with patch():
            got = case()
        np.testing.assert_array_equal(got, want)
    assert calls == []


class Data(np.ndarray):
    """A complex array in the place of a tensor: MyGrad's tensors are real, its operations are not asked."""

    @property
    def data(self) -> np.ndarray:
        return self.view(np.ndarray)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, w: conv_nd(x, w, stride=2),  # does not tile
        lambda x, w: conv_nd(x, w, stride=0),
        lambda x, w: conv_nd(x, w, stride=1, padding=-1),
        lambda x, w: conv_nd(x, w, stride=(1, 1, 1)),
        lambda x, w: conv_nd(x, w, stride=1, dilation=9),
        lambda x, w: conv_nd(x, w, stride=1, dilation=2),  # fits, but for the hole behind the last tap
        lambda x, w: conv_nd(x, w[:, :1], stride=1),
        lambda x, w: conv_nd(x, w[0], stride=1),
        lambda x, w: max_pool(x, (2, 2), 2),  # does not tile
        lambda x, w: max_pool(x, 2, 2),
        lambda x, w: max_pool(x, (2, 0), 2),
        lambda x, w: max_pool(x, (9, 9), 1),
    ],
)
def test_errors_are_the_clients(calls: list[str], wrong) -> None:
    x, w = np.zeros((1, 2, 6, 5)), np.zeros((3, 2, 3, 3))
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        wrong(x, w)
    with patch(), pytest.raises(Exception) as ours:  # noqa: PT011
        wrong(x, w)
    assert ours.type is theirs.type
    assert str(ours.value) == str(theirs.value)
    assert calls == []


def test_the_patch_is_undone_in_any_order_and_after_an_error() -> None:
    first, second = patch(), patch()
    first.undo()
    first.undo()
    assert conv.ConvND is not STOCK[0]
    second.undo()
    assert (conv.ConvND, pooling.MaxPoolND) == STOCK
    with pytest.raises(ZeroDivisionError), patch(), patch():
        raise ZeroDivisionError
    assert (conv.ConvND, pooling.MaxPoolND) == STOCK
    with pytest.raises(RuntimeError, match="undone"), first:
        pass


def test_a_graph_outlives_the_patch(rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(2, 3, 6, 6)), rng.normal(size=(4, 3, 3, 3))

    def loss(x, w):
        return max_pool(conv_nd(x, w, stride=1), (2, 2), 2).sum()

    want = run(loss, x, w)
    tensors = mygrad.tensor(x), mygrad.tensor(w)
    with patch():
        y = loss(*tensors)
    y.backward()
    for tensor, gradient in zip(tensors, want[1:], strict=True):
        np.testing.assert_allclose(tensor.grad, gradient, rtol=1e-11, atol=1e-11)
