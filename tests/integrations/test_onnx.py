"""ONNX operators: the onnx package's own node tests, then attributes against the stock reference evaluator."""

import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper
from onnx.backend.test.case.node import collect_testcases
from onnx.reference import ReferenceEvaluator

from fastconv.integrations import onnx as ours

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the package makes the data of all its tests, overflowing casts too, on import
    NODE_TESTS = [case for op in ("Conv", "LRN") for case in collect_testcases(op)]


def test_node_tests_were_found() -> None:
    assert len(NODE_TESTS) >= 8


@pytest.mark.parametrize("case", NODE_TESTS, ids=lambda case: case.name)
def test_node(case) -> None:
    evaluator = ReferenceEvaluator(case.model, new_ops=ours.operators())
    for inputs, outputs in case.data_sets:
        feeds = {put.name: array for put, array in zip(case.model.graph.input, inputs, strict=True)}
        for got, want in zip(evaluator.run(None, feeds), outputs, strict=True):
            np.testing.assert_allclose(got, want, rtol=case.rtol, atol=case.atol)


def evaluate(new_ops: list, op: str, arrays: list[np.ndarray], **attributes) -> np.ndarray:
    names = ["x", "w", "b"][: len(arrays)]
    inputs = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, a.shape) for name, a in zip(names, arrays)]  # noqa: B905
    node = helper.make_node(op, names, ["y"], **attributes)
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    return ReferenceEvaluator(model, new_ops=new_ops).run(None, dict(zip(names, arrays)))[0]  # noqa: B905


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"pads": [1, 2, 0, 1], "strides": [2, 1]},
        {"dilations": [2, 1], "pads": [2, 2, 2, 2]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        {"auto_pad": "VALID"},
        {"group": 2},
    ],
    ids=str,
)
def test_conv_attributes(rng: np.random.Generator, attributes: dict) -> None:
    groups = attributes.get("group", 1)
    arrays = [rng.normal(size=(2, 4, 8, 7)), rng.normal(size=(6, 4 // groups, 3, 2)), rng.normal(size=6)]
    want = evaluate([], "Conv", arrays, **attributes)
    np.testing.assert_allclose(evaluate(ours.operators(), "Conv", arrays, **attributes), want, atol=1e-12)


def test_conv_3d_is_the_stock_operator(rng: np.random.Generator) -> None:
    arrays = [rng.normal(size=(1, 2, 4, 4, 4)), rng.normal(size=(3, 2, 2, 2, 2))]
    np.testing.assert_array_equal(evaluate(ours.operators(), "Conv", arrays), evaluate([], "Conv", arrays))


@pytest.mark.parametrize("size", [1, 3, 4])
def test_lrn(rng: np.random.Generator, size: int) -> None:
    x = rng.normal(size=(2, 6, 3, 4))
    energy = np.zeros_like(x)
    for c in range(6):
        energy[:, c] = (x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1] ** 2).sum(axis=1)
    got = evaluate(ours.operators(), "LRN", [x], size=size, alpha=0.5, beta=0.75, bias=2.0)
    np.testing.assert_allclose(got, x / (2 + 0.5 / size * energy) ** 0.75, rtol=1e-6)  # attributes are float32
