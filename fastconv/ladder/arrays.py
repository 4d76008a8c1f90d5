"""The arrays of the ladder: float32, C-contiguous, NCHW."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]
