"""PyTorch, eager, in one of its memory formats; convolution and max pooling, forward and backward."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from fastconv.cli.jobs import Array, Job
from fastconv.cli.peers.interface import Prepared

__all__ = ["prepare"]

_Operands = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def prepare(job: Job, threads: int, variant: str) -> Prepared:
    """Put the arrays into tensors of the memory format `variant`, outside the timed calls."""
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    layout = getattr(torch, variant)
    x, w, dy = (torch.from_numpy(array).contiguous(memory_format=layout) for array in job.arrays())
    return Prepared(_CALLS[job.operation](job, (x, w, dy)), _results)


def _results(value: object) -> tuple[Array, ...]:
    tensors = value if isinstance(value, tuple) else (value,)
    return tuple(tensor.contiguous().numpy() for tensor in tensors)


def _conv_forward(job: Job, operands: _Operands) -> Callable[[], object]:
    x, w, _ = operands
    return lambda: functional.conv2d(x, w, None, **job.problem.conv_kwargs)


def _conv_backward(job: Job, operands: _Operands) -> Callable[[], object]:
    x, w, dy = operands
    p = job.problem
    geometry = [p.u, p.v], [p.p, p.q], [p.dh, p.dw], False, [0, 0], p.g
    needs = [True, True, True]
    return lambda: torch.ops.aten.convolution_backward(dy, x, w, [p.k], *geometry, needs)


def _pool_arguments(job: Job) -> tuple[list[int], list[int], list[int], list[int]]:
    p = job.problem
    return [p.r, p.s], [p.u, p.v], [p.p, p.q], [p.dh, p.dw]


def _max_pool_forward(job: Job, operands: _Operands) -> Callable[[], object]:
    x, arguments = operands[0], _pool_arguments(job)
    max_pool: Any = functional.max_pool2d  # its stubs take no unpacked arguments
    return lambda: max_pool(x, *arguments)


def _max_pool_backward(job: Job, operands: _Operands) -> Callable[[], object]:
    x, _, dy = operands
    arguments = _pool_arguments(job)
    _, indices = torch.ops.aten.max_pool2d_with_indices(x, *arguments)
    backward = torch.ops.aten.max_pool2d_with_indices_backward
    return lambda: backward(dy, x, *arguments, False, indices)


_CALLS: dict[str, Callable[[Job, _Operands], Callable[[], object]]] = {
    "conv_forward": _conv_forward,
    "conv_backward": _conv_backward,
    "max_pool_forward": _max_pool_forward,
    "max_pool_backward": _max_pool_backward,
}
