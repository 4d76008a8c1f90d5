"""What the suite walks: instruction sets of this CPU, thread counts, algorithms, dtypes and layouts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from fastconv import _core

ISAS = tuple(_core.isas_supported())
THREADS = (1, 2, 3, 8)
ALGORITHMS = ("direct", "im2col")  # those that serve every problem, and exactly where the operands are integers
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
LAYOUTS = ("NCHW", "NHWC")


@contextmanager
def using_isa(name: str) -> Iterator[None]:
    """Run the kernels of one instruction set, and those of before afterwards."""
    before = _core.isa()
    _core.set_isa(name)
    try:
        yield
    finally:
        _core.set_isa(before)
