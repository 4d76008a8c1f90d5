"""Step 0: seven loops in Python.

The definition of the convolution, letter by letter: for each image, filter and pixel of the output, a sum over the
channels and over the rows and columns of the filter. What lies outside the image is zero, and left out.
"""

import numpy as np

from fastconv.cli.problems import Problem
from fastconv.ladder.arrays import Array


def step(x: Array, w: Array, d: Problem) -> Array:
    """Return y[n, k, i, j], the sum over c, r, s of x[n, c, i*u + r - p, j*v + s - q] * w[k, c, r, s]."""
    y = np.empty(d.y_shape, np.float32)
    _, _, oh, ow = d.y_shape
    for n in range(d.n):
        for k in range(d.k):
            for i in range(oh):
                for j in range(ow):
                    total = np.float32(0)
                    for c in range(d.c):
                        for r in range(d.r):
                            for s in range(d.s):
                                row, column = i * d.u + r - d.p, j * d.v + s - d.q
                                if 0 <= row < d.h and 0 <= column < d.w:
                                    total += x[n, c, row, column] * w[k, c, r, s]
                    y[n, k, i, j] = total
    return y
