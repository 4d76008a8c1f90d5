"""Step 9: implicit im2col, by the product.

The matrix of windows is never made: the panels of B are gathered straight from the image when the micro-kernel is
about to read them, into a block that stays in the L2 cache. From here on it is fastconv itself that computes: its own
micro-kernel (src/kernels/gemm_tile.h), its loops (src/gemm.c) and its gathering (src/im2col.c), on one thread.
"""

import fastconv
from fastconv.cli.problems import Problem
from fastconv.ladder.arrays import Array


def step(x: Array, w: Array, d: Problem) -> Array:
    """Convolve on one thread."""
    with fastconv.threads(1):
        return fastconv.conv2d(x, w, **d.conv_kwargs, algo="im2col")
