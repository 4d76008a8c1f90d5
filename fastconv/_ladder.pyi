"""Types of the compiled steps of `fastconv.ladder` (``src/ladder/ladder.pyx``).

Arrays are float32 and C-contiguous, and their shapes are the problem's: the Python layer checks them.
"""

import numpy as np
from numpy.typing import NDArray

from fastconv.cli.problems import Problem

Array = NDArray[np.float32]

def conv_02_cython(x: Array, w: Array, y: Array, d: Problem) -> None: ...
def run(name: str, x: Array, w: Array | None, y: Array, d: Problem) -> None: ...
def tile() -> tuple[int, int]: ...
def read(data: Array, passes: int) -> float: ...
