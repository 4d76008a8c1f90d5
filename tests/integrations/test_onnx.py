"""ONNX operators: the onnx package's own node tests, then random attributes against ONNX Runtime."""

import math
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper
from onnx.backend.test.case.node import collect_testcases
from onnx.reference import ReferenceEvaluator

from fastconv.integrations import onnx as ours

OPS = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "LRN")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the package makes the data of all its tests, overflowing casts too, on import
    NODE_TESTS = [case for case in collect_testcases(None) if case.model.graph.node[0].op_type in OPS]


def test_node_tests_were_found() -> None:
    ops = Counter(case.model.graph.node[0].op_type for case in NODE_TESTS)
    assert all(ops[op] >= 2 for op in OPS)
    assert len(NODE_TESTS) >= 50


def test_every_operator_is_ours() -> None:
    assert {op.__name__ for op in ours.operators()} == set(OPS)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # the stock MaxPool pads integers with NaN
@pytest.mark.parametrize("case", NODE_TESTS, ids=lambda case: case.name)
def test_node(case) -> None:
    evaluator = ReferenceEvaluator(case.model, new_ops=ours.operators())
    for inputs, outputs in case.data_sets:
        feeds = {put.name: array for put, array in zip(case.model.graph.input, inputs, strict=True)}
        for got, want in zip(evaluator.run(None, feeds), outputs, strict=True):
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=case.rtol, atol=case.atol)


def make_model(op: str, arrays: list[np.ndarray], outputs: int = 1, **attributes: Any) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for i, a in enumerate(arrays)
    ]
    types = (helper.np_dtype_to_tensor_dtype(arrays[0].dtype), TensorProto.INT64)[:outputs]
    results = [helper.make_tensor_value_info(f"y{i}", dtype, None) for i, dtype in enumerate(types)]
    node = helper.make_node(op, [x.name for x in inputs], [y.name for y in results], **attributes)
    graph = helper.make_graph([node], "g", inputs, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def evaluate(new_ops: list, op: str, arrays: list[np.ndarray], outputs: int = 1, **attributes: Any) -> list[np.ndarray]:
    model = make_model(op, arrays, outputs, **attributes)
    feeds = {f"x{i}": a for i, a in enumerate(arrays)}
    return ReferenceEvaluator(model, new_ops=new_ops).run(None, feeds)


def compare(op: str, arrays: list[np.ndarray], outputs: int = 1, **attributes: Any) -> None:
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    model = make_model(op, arrays, outputs, **attributes)
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = session.run(None, {f"x{i}": a for i, a in enumerate(arrays)})
    for got, want in zip(evaluate(ours.operators(), op, arrays, outputs, **attributes), wanted, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def normal(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(math.prod(shape)).normal(size=shape).astype(np.float32)


def numbers(draw: st.DrawFn, rank: int, least: int, most: int) -> list[int]:
    return draw(st.lists(st.integers(least, most), min_size=rank, max_size=rank))


AUTO_PADS = st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])


@st.composite
def layers(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Shape of an input, and attributes of a window that fits into it.

    With automatic padding ONNX Runtime refuses dilation or forgets it, and cuts pixels off where windows lie apart.
    """
    rank = draw(st.integers(1, 2))
    kernel, strides, dilations = (numbers(draw, rank, 1, 3) for _ in range(3))
    auto_pad = draw(AUTO_PADS)
    if auto_pad.startswith("SAME"):
        strides, dilations = [min(pair) for pair in zip(strides, kernel, strict=True)], [1] * rank
    size = numbers(draw, rank, 7, 9)  # a window spans at most 7 pixels
    attributes = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "auto_pad": auto_pad}
    if auto_pad == "NOTSET":
        limits = [k - 1 for k in kernel] * 2
        attributes["pads"] = [draw(st.integers(0, most)) for most in limits]
    return (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *size), attributes


@given(layers(), st.integers(1, 2), st.booleans())
def test_conv_is_onnxruntimes(layer: tuple, groups: int, bias: bool) -> None:
    (images, channels, *size), attributes = layer
    x = normal((images, channels * groups, *size))
    w = normal((3 * groups, channels, *attributes["kernel_shape"]))
    compare("Conv", [x, w, normal((3 * groups,))][: 2 + bias], group=groups, **attributes)


@given(layers(), st.integers(1, 2), st.booleans(), st.data())
def test_conv_transpose_is_onnxruntimes(layer: tuple, groups: int, bias: bool, data: st.DataObject) -> None:
    (images, channels, *size), attributes = layer
    strides, dilations = attributes["strides"], attributes["dilations"]
    extra = [data.draw(st.integers(0, s - 1)) for s in strides]  # ONNX Runtime refuses what only the dilation allows
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, attributes["kernel_shape"], strict=True)]
    full = [(n - 1) * s + span for n, s, span in zip(size, strides, spans, strict=True)]
    if attributes["auto_pad"] == "NOTSET" and data.draw(st.booleans()):
        del attributes["pads"]
        attributes["output_shape"] = [f + e - data.draw(st.integers(0, 3)) for f, e in zip(full, extra, strict=True)]
    x = normal((images, channels * groups, *size))
    w = normal((channels * groups, 2, *attributes["kernel_shape"]))
    arrays = [x, w, normal((2 * groups,))][: 2 + bias]
    compare("ConvTranspose", arrays, group=groups, output_padding=extra, **attributes)


@given(layers(), st.booleans(), st.integers(0, 1), st.integers(1, 2))
def test_max_pool_is_onnxruntimes(layer: tuple, ceil: bool, order: int, outputs: int) -> None:
    shape, attributes = layer
    rounded = ceil and attributes["auto_pad"] == "NOTSET"
    compare("MaxPool", [normal(shape)], outputs, ceil_mode=int(rounded), storage_order=order, **attributes)


@given(layers(), st.booleans(), st.booleans())
def test_average_pool_is_onnxruntimes(layer: tuple, ceil: bool, with_pad: bool) -> None:
    shape, attributes = layer
    rounded = ceil and attributes["auto_pad"] == "NOTSET"
    compare("AveragePool", [normal(shape)], ceil_mode=int(rounded), count_include_pad=int(with_pad), **attributes)


@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    ("auto_pad", "stride", "kernel", "dilation", "pads"),
    [
        ("SAME_UPPER", 1, 3, 2, [2, 2]),
        ("SAME_UPPER", 2, 3, 2, [1, 2]),
        ("SAME_LOWER", 2, 3, 2, [2, 1]),
        ("SAME_UPPER", 3, 1, 1, [0, 0]),
        ("VALID", 2, 2, 3, [0, 0]),
    ],
)
def test_automatic_padding(op: str, auto_pad: str, stride: int, kernel: int, dilation: int, pads: list[int]) -> None:
    arrays = [normal((2, 3, 8)), normal((4, 3, kernel))][: 1 + (op == "Conv")]
    window = {"kernel_shape": [kernel], "strides": [stride], "dilations": [dilation]}
    (got,) = evaluate(ours.operators(), op, arrays, auto_pad=auto_pad, **window)
    (want,) = evaluate(ours.operators(), op, arrays, pads=pads, **window)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding_does_not_round_up(op: str, auto_pad: str) -> None:
    arrays, window = [normal((2, 3, 8, 9))], {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": auto_pad}
    got = evaluate(ours.operators(), op, arrays, ceil_mode=1, **window)
    np.testing.assert_array_equal(got, evaluate(ours.operators(), op, arrays, **window))


def test_transposed_same_padding_can_add_pixels() -> None:
    arrays = [normal((2, 3, 5)), normal((3, 4, 1))]
    (got,) = evaluate(ours.operators(), "ConvTranspose", arrays, strides=[2], auto_pad="SAME_UPPER")
    (want,) = evaluate(ours.operators(), "ConvTranspose", arrays, strides=[2], output_padding=[1])
    assert got.shape == (2, 4, 10)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 5, 4), (2, 3, 4, 3, 2)], ids=str)
def test_global_average_pool_is_onnxruntimes(shape: tuple[int, ...]) -> None:
    compare("GlobalAveragePool", [normal(shape)])


@pytest.mark.parametrize("size", [1, 3, 5])
def test_lrn_is_onnxruntimes(size: int) -> None:
    compare("LRN", [normal((2, 6, 3, 4))], size=size, alpha=0.5, beta=0.75, bias=2.0)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_lrn(rng: np.random.Generator, size: int) -> None:
    x = rng.normal(size=(2, 6, 3, 4))
    energy = np.zeros_like(x)
    for c in range(6):
        energy[:, c] = (x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1] ** 2).sum(axis=1)
    (got,) = evaluate(ours.operators(), "LRN", [x], size=size, alpha=0.5, beta=0.75, bias=2.0)
    np.testing.assert_allclose(got, x / (2 + 0.5 / size * energy) ** 0.75, rtol=1e-6)  # attributes are float32


@pytest.mark.parametrize(
    ("op", "weights"),
    [("Conv", [(3, 2, 2, 2, 2)]), ("ConvTranspose", [(2, 3, 2, 2, 2)]), ("MaxPool", []), ("AveragePool", [])],
)
def test_three_axes_are_the_stock_operators(rng: np.random.Generator, op: str, weights: list) -> None:
    arrays = [rng.normal(size=shape) for shape in [(1, 2, 4, 4, 4), *weights]]
    (got,) = evaluate(ours.operators(), op, arrays, kernel_shape=[2, 2, 2])
    (want,) = evaluate([], op, arrays, kernel_shape=[2, 2, 2])
    assert got.ndim == 5
    np.testing.assert_array_equal(got, want)


def test_integers_are_the_stock_operators(rng: np.random.Generator) -> None:
    x = rng.integers(-9, 9, size=(1, 2, 5, 6)).astype(np.int8)
    (got,) = evaluate(ours.operators(), "MaxPool", [x], kernel_shape=[2, 3], strides=[2, 1])
    assert got.dtype == np.int8
    np.testing.assert_array_equal(got, evaluate([], "MaxPool", [x], kernel_shape=[2, 3], strides=[2, 1])[0])


def test_kernel_shape_of_other_weights_is_refused(rng: np.random.Generator) -> None:
    arrays = [rng.normal(size=(1, 2, 5, 6)), rng.normal(size=(3, 2, 2, 2))]
    with pytest.raises(ValueError, match="kernel_shape"):
        evaluate(ours.operators(), "Conv", arrays, kernel_shape=[3, 3])


def test_output_shape_out_of_reach_is_refused() -> None:
    with pytest.raises(ValueError, match="output_padding of 2"):
        evaluate(ours.operators(), "ConvTranspose", [normal((2, 3, 5)), normal((3, 4, 1))], output_shape=[7])


def test_unknown_auto_pad_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="auto_pad"):
        evaluate(ours.operators(), "MaxPool", [rng.normal(size=(1, 2, 5, 6))], kernel_shape=[2, 2], auto_pad="SAME")
