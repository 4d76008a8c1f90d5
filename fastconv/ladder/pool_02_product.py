"""Max pooling, step 2: the product.

A vector of outputs is held in registers while all its taps are seen, strided rows are read whole and sorted by a
shuffle, and planes are shared out among the threads (src/max_pool.c, src/kernels/pool_rows.h).
"""

import fastconv
from fastconv.cli.problems import Problem
from fastconv.ladder.arrays import Array


def step(x: Array, w: Array | None, d: Problem) -> Array:
    """Take the maxima on all threads."""
    return fastconv.max_pool2d(x, (d.r, d.s), stride=(d.u, d.v), padding=(d.p, d.q))
