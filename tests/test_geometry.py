"""Output sizes by the lecture's formula, and as PyTorch has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastconv


@pytest.mark.parametrize(
    ("n", "kernel", "options", "expected"),
    [
        (7, 3, {}, 5),
        (7, 3, {"stride": 2}, 3),
        (7, 3, {"stride": 3}, 2),
        (7, 3, {"padding": 1}, 7),
        (32, 5, {"padding": 2}, 32),
        (227, 11, {"stride": 4}, 55),
        (224, 7, {"stride": 2, "padding": 3}, 112),
        (224, 7, {"stride": 2, "padding": "same"}, 112),
        (7, 3, {"padding": "valid"}, 5),
        (7, 3, {"padding": ((2, 1),)}, 8),
        (9, 3, {"dilation": 4}, 1),
        (1, 1, {}, 1),
        (10, 1, {"stride": 100}, 1),
        (2**40, 3, {"padding": 1}, 2**40),
        (np.int32(7), np.int8(3), {"stride": np.uint8(2), "strict": True}, 3),
    ],
)
def test_conv_output_size(n, kernel, options, expected):
    assert fastconv.conv_output_size(n, kernel, **options) == expected


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 5), st.integers(0, 6), st.integers(1, 4))
def test_it_counts_the_windows(n, kernel, stride, padding, dilation):
    span = dilation * (kernel - 1) + 1
    starts = [s for s in range(0, n + 2 * padding, stride) if s + span <= n + 2 * padding]
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    if not starts:
        with pytest.raises(ValueError, match=str(span)):
            fastconv.conv_output_size(n, kernel, **options)
        return
    assert fastconv.conv_output_size(n, kernel, **options) == len(starts)
    if starts[-1] + span == n + 2 * padding:
        assert fastconv.conv_output_size(n, kernel, strict=True, **options) == len(starts)
    else:
        with pytest.raises(ValueError, match=rf"- {span}\) / {stride} \+ 1 = "):
            fastconv.conv_output_size(n, kernel, strict=True, **options)


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 5), st.integers(1, 4))
def test_same_is_ceil_of_size_over_stride(n, kernel, stride, dilation):
    size = fastconv.conv_output_size(n, kernel, stride=stride, padding="same", dilation=dilation)
    assert size == -(-n // stride)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("padding", [0, 1])
def test_pool_sizes_are_those_of_pytorch(ceil_mode, padding):
    torch = pytest.importorskip("torch")
    for size in range(3, 14):
        for kernel in range(2, 4):
            for stride in range(1, 5):
                x = np.zeros((1, 1, size, size))
                ours = fastconv.max_pool2d(x, kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
                theirs = torch.nn.functional.max_pool2d(torch.tensor(x), kernel, stride, padding, 1, ceil_mode)
                assert ours.shape == tuple(theirs.shape), (size, kernel, stride)
