"""Local response normalisation across channels (Krizhevsky, Sutskever and Hinton, 2012, section 3.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fastconv.reference.layout import Array, activations_in, activations_out


def _window_sum(a: Array, before: int, after: int) -> Array:
    """Sum channels c - before .. c + after of NCHW `a`; channels that do not exist count as zero."""
    channels = a.shape[1]
    padded = np.pad(a, ((0, 0), (before, after), (0, 0), (0, 0)))
    total = np.zeros_like(a)
    for offset in range(before + after + 1):
        total += padded[:, offset : offset + channels]
    return total


def local_response_norm(
    x: ArrayLike, size: int, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, layout: str = "NCHW"
) -> Array:
    """Compute y = x / (k + alpha / size * sum of squares over the window) ** beta.

    Channel c sees c - size//2 .. c + (size-1)//2.
    """
    x = activations_in(x, layout)
    scale = k + alpha / size * _window_sum(x * x, size // 2, (size - 1) // 2)
    return activations_out(x * scale**-beta, layout)


def local_response_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    size: int,
    *,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    layout: str = "NCHW",
) -> Array:
    """Gradient by ``x``: each channel's own scale, and its share in the scale of every channel that sees it.

    Channel c is seen by c - (size-1)//2 .. c + size//2: the window of the forward pass, mirrored.
    """
    dy, x = activations_in(dy, layout), activations_in(x, layout)
    scale = k + alpha / size * _window_sum(x * x, size // 2, (size - 1) // 2)
    shared = _window_sum(dy * x * scale ** (-beta - 1), (size - 1) // 2, size // 2)
    return activations_out(dy * scale**-beta - 2 * alpha * beta / size * x * shared, layout)
