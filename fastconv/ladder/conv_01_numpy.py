"""Step 1: the same in NumPy.

`sliding_window_view` shows every window of the image without a copy, and `einsum` takes the sums. The loops are
NumPy's, in C: what is left to Python is one call.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastconv.cli.problems import Problem
from fastconv.ladder.arrays import Array


def step(x: Array, w: Array, d: Problem) -> Array:
    """Return the sums over the windows; the image is padded with zeros beforehand."""
    padded = np.pad(x, ((0, 0), (0, 0), (d.p, d.p), (d.q, d.q)))
    windows = sliding_window_view(padded, (d.r, d.s), axis=(2, 3))[:, :, :: d.u, :: d.v]
    y: Array = np.einsum("ncijrs,kcrs->nkij", windows, w)
    return y
