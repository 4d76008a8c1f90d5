"""Models without PyTorch: against the reference operators, against finite differences, and their rules."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
from gradients import numerical_gradient

import fastconv
from fastconv import reference, zoo
from fastconv.zoo import blas, kinds

# Every kind of layer, branches with and without a layer that writes into its part, two ends.
TEXT = """
module mix:
    conv_1x1 k$1 r1
    conv_reduce k2 r1, conv_3x3 k$2 r3 p1
    pool r3 u1 p1, conv_pool k2 r1
    mean r3 u1 p1

small: c2 h9
    conv1 k6 r3 u2 p1 g2, norm1 size3 alpha0.5 beta0.75 k2, pool1 r3 u2 ceil
    mix_a 3 4, mean2 r2 u1 ceil
    fc3 k7, fc4 k5 linear

image: c2 h6
    conv1 k3 r3 p1, pool1 r2
    conv2 k1 r1 linear nobias, bias2, softmax

relu: c1 h5
    conv1 k2 r3
"""
NETWORKS = {net.name: net for net in zoo.parse(TEXT)}


@pytest.fixture(params=NETWORKS)
def net(request: pytest.FixtureRequest) -> zoo.Network:
    return NETWORKS[request.param]


def randomised(net: zoo.Network, rng: np.random.Generator, dtype: Any = np.float64) -> zoo.Model:
    """A model whose biases are not zero, so that they count."""
    model = zoo.build(net, seed=3, dtype=dtype)
    for name, parameter in model.parameters.items():
        if name.endswith("bias"):
            parameter[...] = 0.3 * rng.standard_normal(parameter.shape)
    return model


def by_reference(layers: tuple[kinds.Layer, ...], x: Any, parameters: Any) -> Any:
    """The same network over `fastconv.reference`, written apart from the engine."""
    for layer in layers:
        w, b = parameters.get(f"{layer.name}.weight"), parameters.get(f"{layer.name}.bias")
        match layer:
            case kinds.Conv():
                x = reference.conv2d(x, w, b, stride=layer.stride, padding=layer.padding, groups=layer.g)
                x = x if layer.linear else np.maximum(x, 0)
            case kinds.MaxPool() | kinds.AveragePool():
                pool = reference.max_pool2d if isinstance(layer, kinds.MaxPool) else reference.avg_pool2d
                x = pool(x, layer.size, stride=layer.stride, padding=layer.padding, ceil_mode=layer.ceil)
            case kinds.ResponseNorm():
                x = reference.local_response_norm(x, layer.size, alpha=layer.alpha, beta=layer.beta, k=layer.k)
            case kinds.Dense():
                x = np.einsum("nk,mk->nm", x.reshape(len(x), -1), w) + b
                x = x if layer.linear else np.maximum(x, 0)
            case kinds.PositionBias():
                x = x + b
            case kinds.Softmax():
                e = np.exp(x.reshape(len(x), -1))
                x = e / e.sum(axis=1, keepdims=True)
            case kinds.Branches():
                x = np.concatenate([by_reference(chain, x, parameters) for chain in layer.chains], axis=1)
    return x


@pytest.mark.parametrize("n", [0, 1, 2, 33])  # the fully connected layers take another way beyond 32
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_forward_is_the_reference(net: zoo.Network, n: int, dtype: Any, rng: np.random.Generator) -> None:
    model = randomised(net, rng, dtype)
    x = rng.standard_normal((n, *net.input))
    y = model.forward(x)
    assert y.dtype == dtype
    assert y.shape == (n, *net.output)
    if n:
        expected = by_reference(net.layers, x, {k: v.astype(np.float64) for k, v in model.parameters.items()})
        np.testing.assert_allclose(y, expected, rtol=0, atol=50 * np.finfo(dtype).eps * np.abs(expected).max())


@pytest.mark.parametrize("n", [1, 2, 33])
def test_gradients_are_finite_differences(net: zoo.Network, n: int, rng: np.random.Generator) -> None:
    model = randomised(net, rng)
    x, dy = rng.standard_normal((n, *net.input)), rng.standard_normal((n, *net.output))
    model.forward(x)
    kept = dy.copy()
    dx = model.backward(dy, input_gradient=True)
    np.testing.assert_array_equal(dy, kept)
    assert dx is not None
    gradients = {name: gradient.copy() for name, gradient in model.gradients.items()}
    assert gradients.keys() == model.parameters.keys()
    step = 1e-6

    def close(actual: Any, expected: Any) -> None:
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6 * max(1.0, np.abs(expected).max()))

    close(dx[:1], numerical_gradient(lambda v: model.forward(np.concatenate([v, x[1:]])), x[:1], dy, step))
    for name, parameter in model.parameters.items():
        original = parameter.copy()

        def output(values: Any, parameter: Any = parameter) -> Any:
            parameter[...] = values
            return model.forward(x)

        close(gradients[name], numerical_gradient(output, original, dy, step))
        parameter[...] = original


def test_no_images_have_no_gradient(rng: np.random.Generator) -> None:
    net = NETWORKS["small"]
    model = randomised(net, rng)
    for n in (2, 0):  # gradients lie where those of the last pass did
        model.forward(rng.standard_normal((n, *net.input)))
        model.backward(rng.standard_normal((n, *net.output)))
    assert not any(gradient.any() for gradient in model.gradients.values())


def test_a_second_pass_does_not_disturb_the_first(rng: np.random.Generator) -> None:
    net = NETWORKS["small"]
    model = randomised(net, rng)
    x = rng.standard_normal((2, *net.input))
    y = model.forward(x)
    kept = y.copy()
    model.forward(-x)
    np.testing.assert_array_equal(y, kept)


def test_the_output_is_the_caller_s(rng: np.random.Generator) -> None:
    """Writing into probabilities, as a cross-entropy's gradient does, does not reach the backward pass."""
    net = NETWORKS["image"]
    model = randomised(net, rng)
    x, dy = rng.standard_normal((2, *net.input)), rng.standard_normal((2, *net.output))
    model.forward(x)
    model.backward(dy)
    expected = model.gradients["bias2.bias"].copy()
    model.forward(x)[...] = 0
    model.backward(dy)
    np.testing.assert_array_equal(model.gradients["bias2.bias"], expected)


def test_frozen(net: zoo.Network, rng: np.random.Generator) -> None:
    model = randomised(net, rng)
    x = rng.standard_normal((2, *net.input))
    expected = model.forward(x)
    assert model.freeze() is model
    assert model.frozen
    model.freeze()
    for _ in range(2):
        np.testing.assert_array_equal(model.forward(x), expected)
    with pytest.raises(ValueError, match="read-only"):
        next(iter(model.parameters.values()))[...] = 0
    with pytest.raises(RuntimeError, match="a frozen model has no backward pass"):
        model.backward(expected)


def test_build() -> None:
    """The seed decides the weights; their variance is 2 / inputs; biases are zero."""
    first, second, third = (zoo.build("lenet5", seed) for seed in (1, 1, 2))
    for name, parameter in first.parameters.items():
        assert parameter.dtype == np.float32
        np.testing.assert_array_equal(parameter, second.parameters[name])
        if name.endswith("bias"):
            assert not parameter.any()
        else:
            assert (parameter != third.parameters[name]).all()
    weights = first.parameters["conv5.weight"]
    assert weights.std() == pytest.approx(np.sqrt(2 / 400), rel=0.02)


def test_smaller_images() -> None:
    """A network is data: another size of image is one field."""
    from dataclasses import replace

    net = replace(zoo.network("alexnet"), input=(3, 67, 67))
    assert zoo.build(net).forward(np.zeros((1, 3, 67, 67))).shape == (1, 1000)


def test_errors() -> None:
    model = zoo.build(NETWORKS["small"])
    with pytest.raises(RuntimeError, match="backward follows forward"):
        model.backward(np.zeros((1, 5)))
    with pytest.raises(ValueError, match=r"small takes images \(N, 2, 9, 9\), not \(2, 9, 9\)"):
        model.forward(np.zeros((2, 9, 9)))
    model.forward(np.zeros((3, 2, 9, 9)))
    with pytest.raises(ValueError, match=r"dy has shape \(1, 5\), but the output has \(3, 5\)"):
        model.backward(np.zeros((1, 5)))
    with pytest.raises(TypeError, match="float32 or float64, not float16"):
        zoo.build("lenet5", dtype=np.float16)
    with pytest.raises(ValueError, match=r"fc3.bias has shape \(7,\), not \(1,\)"):
        model.parameters["fc3.bias"] = np.zeros(1)
    with pytest.raises(KeyError, match="fc9"):
        model.parameters["fc9.bias"] = np.zeros(1)


def test_parameters_are_set_in_place() -> None:
    model = zoo.build(NETWORKS["small"])
    array = model.parameters["fc4.bias"]
    model.parameters["fc4.bias"] = np.arange(5)
    model.parameters["fc4.bias"] += 1
    assert model.parameters["fc4.bias"] is array
    np.testing.assert_array_equal(array, [1, 2, 3, 4, 5])
    for name in model.parameters:
        if name != "fc4.bias":
            model.parameters[name] *= 0
    np.testing.assert_array_equal(model.forward(np.ones((1, 2, 9, 9))), [array])
    assert len(model.parameters) == len(list(model.parameters))


def test_watch(rng: np.random.Generator) -> None:
    net = NETWORKS["small"]
    model = zoo.build(net)
    seen: list[tuple[str, str]] = []

    def call(layer: str, direction: str, seconds: float) -> None:
        assert seconds >= 0
        seen.append((layer, direction))

    model.watch(call)
    model.backward(model.forward(np.zeros((1, *net.input))))
    names = [layer.name for layer, _ in net.walk()]
    assert [name for name, direction in seen if direction == "forward"] == names
    assert {name for name, direction in seen if direction == "backward"} == set(names)
    model.watch(None)
    model.forward(np.zeros((1, *net.input)))
    assert len(seen) == 2 * len(names)


def test_blas_has_one_thread_meanwhile(rng: np.random.Generator) -> None:
    info = pytest.importorskip("threadpoolctl").threadpool_info

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in info() if pool["user_api"] == "blas"]

    before, inside = threads(), []
    model = zoo.build(NETWORKS["small"])
    model.watch(lambda layer, direction, seconds: inside.append(threads()))
    model.forward(np.zeros((1, 2, 9, 9)))
    assert inside
    assert all(set(counts) <= {1} for counts in inside)
    assert threads() == before
    with blas.single_thread(), blas.single_thread():
        pass
    assert threads() == before


@pytest.mark.parametrize("shape", [(1100, 3, 2000), (3, 1100, 2000), (2000, 1100, 3)])
def test_large_products_in_parts(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    pytest.importorskip("threadpoolctl")
    m, depth, n = shape
    a, b = rng.integers(-9, 10, (m, depth)).astype(float), rng.integers(-9, 10, (depth, n)).astype(float)
    np.testing.assert_array_equal(blas.product(a, b), a @ b)
    results = []
    for threads in (1, 2, 3):
        with fastconv.threads(threads), blas.single_thread():
            out = np.empty((m, n))
            assert blas.product(a / 7, b / 7, out) is out
            results.append(out)
            np.testing.assert_array_equal(blas.product(a, b), a @ b)  # whole numbers: exact
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


def test_without_threadpoolctl(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    imported = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "threadpoolctl":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    model, x = randomised(NETWORKS["small"], rng), rng.standard_normal((2, 2, 9, 9))
    expected = model.forward(x)
    monkeypatch.setattr(builtins, "__import__", missing)
    blas._controller.cache_clear()
    try:
        np.testing.assert_array_equal(model.forward(x), expected)
    finally:
        blas._controller.cache_clear()
