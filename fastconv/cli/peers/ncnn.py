"""ncnn: a net of one convolution from text and bytes; images go through it one at a time, as ncnn has no batch."""

import ncnn
import numpy as np

from fastconv.cli.jobs import Array, Job
from fastconv.cli.peers.interface import Prepared, Refused

__all__ = ["prepare"]

_MAGIC = 7767517
_FLOAT32 = np.zeros(1, np.uint32)  # the tag before weights that are not compressed


def prepare(job: Job, threads: int) -> Prepared:
    """Load the net, which packs or transforms the weights; the images are copied here, not in a call."""
    if job.operation != "conv_forward" or job.dtype != "float32":
        raise Refused("forward convolutions in float32 only")
    p = job.problem
    x, w, _ = job.arrays()
    kind, groups = ("Convolution", "") if p.g == 1 else ("ConvolutionDepthWise", f" 7={p.g}")
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.load_param_mem(
        f"{_MAGIC}\n2 2\n"
        f"Input x 0 1 x 0={p.w} 1={p.h} 2={p.c}\n"
        f"{kind} conv 1 1 x y 0={p.k} 1={p.s} 11={p.r} 2={p.dw} 12={p.dh} 3={p.v} 13={p.u} 4={p.q} 14={p.p} "
        f"5=0 6={w.size}{groups}\n"
    )
    net.load_model_mem(_FLOAT32.tobytes() + w.tobytes())
    images = [ncnn.Mat(image).clone() for image in x]

    def one(image: ncnn.Mat) -> ncnn.Mat:
        extractor = net.create_extractor()
        extractor.input("x", image)
        return extractor.extract("y")[1]

    def call() -> list[ncnn.Mat]:
        return [one(image) for image in images]

    def results(value: object) -> tuple[Array, ...]:
        assert isinstance(value, list)
        return (np.stack([np.array(image) for image in value]),)

    return Prepared(call, results)
