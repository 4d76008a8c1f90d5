"""Whole networks that the onnx package ships, with random weights, against ONNX Runtime.

The package has their graphs and the shapes of their weights. FASTCONV_ONNX_MODELS=all runs those of 60 million weights
and more, too.
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
from onnx.reference.ops.op_batch_normalization import BatchNormalization_14

from fastconv.integrations.onnx import operators

DATA = Path(loader.DATA_DIR)
SMALL = ("densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet")
LARGE = ("bvlc_alexnet", "vgg19", "zfnet512")
CONVERTED = [
    case
    for case in loader.load_model_tests(kind="pytorch-converted")
    if any(word in case.name for word in ("Conv", "MaxPool", "AvgPool"))
]


class BatchNormalization(BatchNormalization_14):
    """The operator for inference: the package's own for opset 9 takes mean and variance of the images it is given."""


NEW_OPS = [*operators(), BatchNormalization]
OURS = {op.__name__: op for op in NEW_OPS}


Users = dict[str, tuple[onnx.NodeProto, int]]


def draw(value: str, shape: tuple[int, ...], users: Users, rng: np.random.Generator) -> np.ndarray:
    """Draw a weight so that its node's output is about as large as its input."""
    node, place = users[value]
    if node.op_type == "Unsqueeze":
        node, place = users[node.output[0]]
    normal = rng.standard_normal(shape, dtype=np.float32)
    if node.op_type in ("Conv", "Gemm") and place == 1:
        return normal * np.float32(math.sqrt(2 / math.prod(shape[1:])))  # He et al., arXiv:1502.01852
    if node.op_type == "Mul" or (node.op_type == "BatchNormalization" and place in (1, 4)):  # scale and variance
        ends_branch = place == 1 and users[node.output[0]][0].op_type == "Sum"  # sums of branches would add up
        return (0.3 if ends_branch else 1.0) * np.exp(normal / 10)
    return normal / 10


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
        numpy_helper.from_array(draw(value, shape, users, rng), value)
        for value, shape in drawn.items()
        if value in users
    ]
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    if nodes[-1].op_type == "Softmax":
        nodes.pop()
    outputs = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)]
    known = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in known]
    bare = helper.make_graph(nodes, name, inputs, outputs, kept)
    model = helper.make_model(bare, opset_imports=list(model.opset_import), ir_version=8)
    model.graph.initializer.extend(new)  # last, for make_model copies the graph, slowly
    return model


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
    feeds = {image.name: rng.standard_normal((1, 3, 224, 224), dtype=np.float32)}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (want,) = session.run(None, feeds)
    evaluator = ReferenceEvaluator(model, new_ops=NEW_OPS)
    assert all(type(node) is OURS.get(node.op_type, type(node)) for node in evaluator.rt_nodes_)
    (got,) = evaluator.run(None, feeds)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    assert 1e-2 < want.std() < 1e2
    np.testing.assert_allclose(got, want, rtol=0, atol=3e-5 * want.std())


def test_converted_layers_were_found() -> None:
    assert len(CONVERTED) >= 20


@pytest.mark.parametrize("case", CONVERTED, ids=lambda case: case.name)
def test_layer_from_pytorch(case) -> None:
    evaluator = ReferenceEvaluator(onnx.load(Path(case.model_dir) / "model.onnx"), new_ops=operators())
    for directory in sorted(Path(case.model_dir).glob("test_data_set_*")):
        x, want = (numpy_helper.to_array(onnx.load_tensor(directory / f"{put}_0.pb")) for put in ("input", "output"))
        (got,) = evaluator.run(None, {evaluator.input_names[0]: x})
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)
