"""OpenVINO: a compiled model of one convolution and one request, which shares the image's memory."""

import numpy as np
import openvino

from fastconv.cli.jobs import Array, Job
from fastconv.cli.peers.interface import Prepared, Refused
from fastconv.cli.peers.onnx_model import convolution

__all__ = ["prepare"]


def prepare(job: Job, threads: int) -> Prepared:
    """Compile the model for one stream in float32; OpenVINO would take bfloat16 where the CPU has it."""
    if job.dtype != "float32":
        raise Refused("float32 only")
    x, w, _ = job.arrays()
    model = convolution(job, w)
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(x, shared_memory=True))

    def results(_: object) -> tuple[Array, ...]:
        return (np.array(request.get_output_tensor().data),)

    return Prepared(request.infer, results, keep=(x, model))
