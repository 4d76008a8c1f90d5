"""Gradient by the input, step 2: gather, by the product.

Each pixel of dx is a sum over the outputs that saw it, and this is a convolution of dy with the filters turned round
(with a stride: one for each phase of the pixels). Nothing is scattered, each pixel is stored once, and the kernels of
the forward pass, threads and Winograd serve it (src/conv_backward_input.c).
"""

import fastconv
from fastconv.cli.problems import Problem
from fastconv.ladder.arrays import Array


def step(dy: Array, w: Array, d: Problem) -> Array:
    """Gather the gradient on all threads."""
    return fastconv.conv2d_backward_input(dy, w, d.x_shape, **d.conv_kwargs)
