"""Whole networks that the onnx package ships, with random weights, against ONNX Runtime.

The package has their graphs and the shapes of their weights. FASTCONV_ONNX_MODELS=all runs the large ones too.
"""

import math
import os
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test import loader
from onnx.reference import ReferenceEvaluator

from fastconv.integrations.onnx import operators

DATA = Path(loader.DATA_DIR)
SMALL = ("squeezenet", "inception_v1")
LARGE = ("bvlc_alexnet", "densenet121", "inception_v2", "resnet50", "shufflenet", "vgg19", "zfnet512")
CONVERTED = [
    case
    for case in loader.load_model_tests(kind="pytorch-converted")
    if any(word in case.name for word in ("Conv", "MaxPool", "AvgPool"))
]
OURS = {op.__name__: op for op in operators()}


def weights(node: onnx.NodeProto, place: int, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw the input of `node` at `place` so that its output is about as large as its input."""
    if node.op_type in ("Conv", "Gemm") and place == 1:
        return rng.normal(scale=math.sqrt(2 / math.prod(shape[1:])), size=shape)  # He et al., arXiv:1502.01852
    if node.op_type == "BatchNormalization" and place in (1, 4):  # scale and variance
        return rng.uniform(0.8, 1.2, size=shape)
    return rng.normal(scale=0.1, size=shape)


def load(name: str, rng: np.random.Generator) -> onnx.ModelProto:
    """Read a network, draw its weights, and cut the softmax off, which would hide what differs."""
    model = onnx.load(DATA / "light" / f"light_{name}.onnx")
    graph = model.graph
    users = {value: (node, place) for node in graph.node for place, value in enumerate(node.input)}
    shapes = {tensor.name: tuple(numpy_helper.to_array(tensor)) for tensor in graph.initializer if tensor.dims}
    drawn = {node.output[0]: shapes[node.input[0]] for node in graph.node if node.op_type == "ConstantOfShape"} | {
        tensor.name: tuple(tensor.dims) for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT
    }
    kept = [tensor for tensor in graph.initializer if tensor.name not in drawn]
    new = [
        numpy_helper.from_array(weights(*users[value], shape, rng).astype(np.float32), value)
        for value, shape in drawn.items()
        if value in users
    ]
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    if nodes[-1].op_type == "Softmax":
        nodes.pop()
    outputs = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)]
    known = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in known]
    opsets = list(model.opset_import)
    return helper.make_model(
        helper.make_graph(nodes, name, inputs, outputs, kept + new), opset_imports=opsets, ir_version=8
    )


@pytest.mark.parametrize(
    "name",
    [
        *SMALL,
        *(
            pytest.param(
                name, marks=pytest.mark.skipif(os.environ.get("FASTCONV_ONNX_MODELS") != "all", reason="large")
            )
            for name in LARGE
        ),
    ],
)
def test_network(name: str, rng: np.random.Generator) -> None:
    model = load(name, rng)
    (image,) = model.graph.input
    feeds = {image.name: rng.normal(size=(1, 3, 224, 224)).astype(np.float32)}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (want,) = session.run(None, feeds)
    evaluator = ReferenceEvaluator(model, new_ops=operators())
    assert all(type(node) is OURS.get(node.op_type, type(node)) for node in evaluator.rt_nodes_)
    (got,) = evaluator.run(None, feeds)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    assert 1e-3 < want.std() < 1e3
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * want.std())


def test_converted_layers_were_found() -> None:
    assert len(CONVERTED) >= 20


@pytest.mark.parametrize("case", CONVERTED, ids=lambda case: case.name)
def test_layer_from_pytorch(case) -> None:
    evaluator = ReferenceEvaluator(onnx.load(Path(case.model_dir) / "model.onnx"), new_ops=operators())
    for directory in sorted(Path(case.model_dir).glob("test_data_set_*")):
        x, want = (numpy_helper.to_array(onnx.load_tensor(directory / f"{put}_0.pb")) for put in ("input", "output"))
        (got,) = evaluator.run(None, {evaluator.input_names[0]: x})
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)
