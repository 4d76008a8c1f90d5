"""Fast convolution and pooling for NumPy arrays, forward and backward."""

import fastconv.openmp  # noqa: F401  first of all: it loads the kernels
from fastconv import reference
from fastconv.algorithms import Algorithm, algorithms
from fastconv.config import show_config
from fastconv.conv import conv2d, conv2d_backward, conv2d_backward_input, conv2d_backward_weight, conv_transpose2d
from fastconv.conv1d import conv1d, conv1d_backward, conv1d_backward_input, conv1d_backward_weight, conv_transpose1d
from fastconv.geometry import conv_output_size
from fastconv.norm import local_response_norm, local_response_norm_backward
from fastconv.plan import Conv2d
from fastconv.pool import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward
from fastconv.pool1d import avg_pool1d, avg_pool1d_backward, max_pool1d, max_pool1d_backward
from fastconv.threads import get_num_threads, set_num_threads, threads
from fastconv.winograd import allow_winograd

__version__ = "0.1.0"

__all__ = [
    "Algorithm",
    "Conv2d",
    "algorithms",
    "allow_winograd",
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
    "conv_output_size",
    "conv_transpose1d",
    "conv_transpose2d",
    "get_num_threads",
    "local_response_norm",
    "local_response_norm_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "reference",
    "set_num_threads",
    "show_config",
    "threads",
]
