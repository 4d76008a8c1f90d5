"""MNN: a session of one convolution, made by MNN's own converter from an ONNX model."""

from pathlib import Path
from tempfile import TemporaryDirectory

import _tools
import MNN
import numpy as np

from fastconv.cli.jobs import Array, Job
from fastconv.cli.peers.interface import Prepared, Refused
from fastconv.cli.peers.onnx_model import convolution

__all__ = ["prepare"]


def prepare(job: Job, threads: int) -> Prepared:
    """Convert the model and make a session, which packs or transforms the weights; a call runs the session alone.

    The converter is called where its command line calls it: the command itself installs packages and reports to a
    server.
    """
    if job.dtype != "float32":
        raise Refused("float32 only")
    x, w, _ = job.arrays()
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "conv.onnx", Path(folder) / "conv.mnn"
        source.write_bytes(convolution(job, w))
        options = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target), "--bizCode", "fastconv"]
        if not _tools.mnnconvert(["mnnconvert", *options]):
            raise Refused("its converter failed")
        interpreter = MNN.Interpreter(str(target))
    session = interpreter.createSession({"backend": "CPU", "numThread": threads})
    _copy_in(interpreter.getSessionInput(session), x)

    def call() -> None:
        interpreter.runSession(session)

    def results(_: object) -> tuple[Array, ...]:
        return (_copy_out(interpreter.getSessionOutput(session), job.problem.y_shape),)

    return Prepared(call, results, keep=x)


def _host(array: Array) -> MNN.Tensor:
    return MNN.Tensor(array.shape, MNN.Halide_Type_Float, array, MNN.Tensor_DimensionType_Caffe)


def _copy_in(tensor: MNN.Tensor, array: Array) -> None:
    tensor.copyFrom(_host(array))


def _copy_out(tensor: MNN.Tensor, shape: tuple[int, ...]) -> Array:
    host = _host(np.zeros(shape, np.float32))
    tensor.copyToHostTensor(host)
    return np.array(host.getNumpyData()).reshape(shape)
