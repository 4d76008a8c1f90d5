"""A peer whose engine is the NumPy reference, and which misbehaves as its variant says."""

from __future__ import annotations

import os

import numpy as np

from fastconv import reference
from fastconv.cli.jobs import Job
from fastconv.cli.peers import Peer, Prepared, Refused


def peer(variant: str = "", name: str = "fake") -> Peer:
    return Peer(name, "fake_peer", ("fastconv",), ("fastconv",), variant, {"avx2": {"FAKE_CAP": "narrow"}})


def prepare(job: Job, threads: int, variant: str = "") -> Prepared:
    x, w, dy = job.arrays()
    p = job.problem
    pool = {"stride": (p.u, p.v), "padding": (p.p, p.q)}
    calls = {
        "conv_forward": lambda: reference.conv2d(x, w, **p.conv_kwargs),
        "conv_backward": lambda: reference.conv2d_backward(dy, x, w, **p.conv_kwargs),
        "max_pool_forward": lambda: reference.max_pool2d(x, (p.r, p.s), **pool),
        "max_pool_backward": lambda: reference.max_pool2d_backward(dy, x, (p.r, p.s), **pool),
    }
    if variant == "tells its settings":
        settings = [str(threads), os.environ["OMP_NUM_THREADS"], os.environ.get("FAKE_CAP", "not capped")]
        raise Refused(", ".join(settings))
    if variant == "fails":
        raise RuntimeError("no such layer")
    if variant == "dies":
        os._exit(7)
    calls_so_far = []

    def call() -> object:
        calls_so_far.append(None)
        if variant == "dies in its turn" and len(calls_so_far) > 1:
            os._exit(8)
        if variant == "fails in its turn" and len(calls_so_far) > 1:
            raise RuntimeError("tired")
        if variant == "chatters":
            print("hello", flush=True)
        return calls[job.operation]()

    def results(value: object) -> tuple[np.ndarray, ...]:
        arrays = value if isinstance(value, tuple) else (value,)
        if variant == "wrong":
            return tuple(1.01 * array for array in arrays)
        if variant == "of the wrong shape":
            return tuple(array[:, :-1] for array in arrays)
        return arrays

    return Prepared(call, results)
