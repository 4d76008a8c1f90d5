"""The NumPy formulations that the benchmark measures against are right: on integers they agree exactly."""

import numpy as np
import pytest

from fastconv import reference
from fastconv.cli.numpy_conv import FORMULATIONS
from fastconv.cli.problems import Problem, parse

PROBLEMS = parse("""
plain: n2 c3 h9 w8 k5 r3
pointwise: n2 c3 h9 w8 k5 r1
pointwise_stride: n2 c3 h9 w8 k5 r1 u2
all: n2 c4 h13 w12 k6 r3 s2 u2 v3 p1 q2 dh2 dw3 g2
depthwise: c4 h7 k4 r3 p1 g4
empty: n0 c2 h5 k3 r3 p1
""")


@pytest.mark.parametrize("problem", PROBLEMS, ids=[problem.name for problem in PROBLEMS])
@pytest.mark.parametrize("name", FORMULATIONS)
def test_formulation(name: str, problem: Problem) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 5, problem.x_shape).astype(np.float32)
    w = rng.integers(-4, 5, problem.w_shape).astype(np.float32)
    y = FORMULATIONS[name](x, w, problem)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, reference.conv2d(x, w, **problem.conv_kwargs))
