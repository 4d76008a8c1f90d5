"""One convolution as an ONNX model, for the engines that read those."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from fastconv.cli.jobs import Array, Job
from fastconv.cli.peers.interface import Refused

__all__ = ["convolution"]

_OPSET, _IR = 17, 8  # of 2022: every engine reads them
_TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def convolution(job: Job, w: Array) -> bytes:
    """Serialize a model with input ``x``, output ``y``, static shapes and the weights as a constant.

    Raises
    ------
    Refused
        For anything but a forward convolution.
    """
    if job.operation != "conv_forward":
        raise Refused("forward convolutions only")
    p = job.problem
    node = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        strides=[p.u, p.v],
        pads=[p.p, p.q, p.p, p.q],
        dilations=[p.dh, p.dw],
        group=p.g,
        kernel_shape=[p.r, p.s],
    )
    kind = _TYPES[job.dtype]
    graph = helper.make_graph(
        [node],
        "convolution",
        [helper.make_tensor_value_info("x", kind, p.x_shape)],
        [helper.make_tensor_value_info("y", kind, p.y_shape)],
        [numpy_helper.from_array(np.ascontiguousarray(w), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    text: bytes = model.SerializeToString()
    return text
