"""Loads the kernels, and with them GCC's OpenMP, whose idle threads shall sleep soon. To be imported first.

Its idle threads would spin for 5 ms and more, and those of NumPy's BLAS do for 0.1 s after each product. Where both
want a core, the scheduler gives each its part in turn, and a kernel waits for its thread's turn. A thread that sleeps
gets the core as soon as it is woken.
"""

import os

_SPINS = "GOMP_SPINCOUNT"
_FEW = "5000"  # 0.1 ms, or 0.2 ms where a pause of the processor is long: operators in a row find the threads awake

# OpenMP reads it once, as it is loaded. Child processes shall not inherit it, and what the user has said counts.
_lent = not {_SPINS, "OMP_WAIT_POLICY"} & os.environ.keys()
if _lent:
    os.environ[_SPINS] = _FEW
try:
    from fastconv import _core  # noqa: F401
finally:
    if _lent:
        del os.environ[_SPINS]
