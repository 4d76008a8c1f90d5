"""ONNX Runtime: a session of one convolution; its input and output are bound, so that no call copies them."""

import onnxruntime

from fastconv.cli.jobs import Array, Job
from fastconv.cli.peers.interface import Prepared
from fastconv.cli.peers.onnx_model import convolution

__all__ = ["prepare"]


def prepare(job: Job, threads: int) -> Prepared:
    """Make a session; ONNX Runtime packs the weights when it is made."""
    x, w, _ = job.arrays()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(convolution(job, w), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("y")

    def call() -> None:
        session.run_with_iobinding(binding)

    def results(_: object) -> tuple[Array, ...]:
        return tuple(binding.copy_outputs_to_cpu())

    return Prepared(call, results, keep=x)
