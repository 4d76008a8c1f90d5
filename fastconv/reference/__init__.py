"""The operators in plain NumPy: what each computes, written to be read, and the oracle of the tests.

Signatures are those of the operators in ``fastconv``, without ``algo``, ``strict`` and ``out``. Arguments are trusted
beyond what the output sizes need; everything is computed in the dtype of the arrays given, so float64 arrays
make an oracle for float32 kernels.
"""

from fastconv.reference.conv import (
    conv2d,
    conv2d_backward,
    conv2d_backward_input,
    conv2d_backward_weight,
    conv_transpose2d,
)
from fastconv.reference.line import (
    avg_pool1d,
    avg_pool1d_backward,
    conv1d,
    conv1d_backward,
    conv1d_backward_input,
    conv1d_backward_weight,
    conv_transpose1d,
    max_pool1d,
    max_pool1d_backward,
)
from fastconv.reference.norm import local_response_norm, local_response_norm_backward
from fastconv.reference.pool import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward

__all__ = [
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "conv1d",
    "conv1d_backward",
    "conv1d_backward_input",
    "conv1d_backward_weight",
    "conv2d",
    "conv2d_backward",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv_transpose1d",
    "conv_transpose2d",
    "local_response_norm",
    "local_response_norm_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
]
