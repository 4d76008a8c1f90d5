"""Every bad argument of the contract: a ValueError or TypeError that names the numbers, before a kernel runs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import fastconv

X, W, B = np.ones((2, 4, 7, 9)), np.ones((6, 4, 3, 3)), np.ones(6)
DY = np.ones((2, 6, 5, 7))
POOLED = np.ones((2, 4, 3, 4))
INDICES = np.zeros(POOLED.shape, np.int64)
OUT = np.zeros((2, 6, 5, 7))


class Bad(NamedTuple):
    """A call, the error it must raise, and words of the message."""

    operator: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    error: type[Exception] | tuple[type[Exception], ...]
    message: str

    def __str__(self) -> str:
        values = [*self.arguments, *(f"{name}={brief(value)}" for name, value in self.options.items())]
        return "-".join([self.operator, *map(brief, values)])


def brief(value):
    return f"{value.dtype}{value.shape}".replace(" ", "") if isinstance(value, np.ndarray) else str(value)


def read_only(a):
    a.flags.writeable = False
    return a


def with_index(value):
    indices = INDICES.copy()
    indices[1, 3, 2, 3] = value
    return indices


SHAPES = [
    Bad("conv2d", (X[0], W), {}, ValueError, r"\(4, 7, 9\)"),
    Bad("conv2d", (X[..., None], W), {}, ValueError, r"\(2, 4, 7, 9, 1\)"),
    Bad("conv2d", (X, W[0]), {}, ValueError, r"\(4, 3, 3\)"),
    Bad("conv2d", (X, W[:, :3]), {}, ValueError, r"4 channels.* 3"),
    Bad("conv2d", (X, W, B[:5]), {}, ValueError, r"\(5,\).*\(6,\)"),
    Bad("conv2d", (X, W, B[:, None]), {}, ValueError, r"\(6, 1\).*\(6,\)"),
    Bad("conv2d", (X, W, np.float64(1)), {}, ValueError, r"\(\).*\(6,\)"),
    Bad("conv2d", (X, np.ones((6, 4, 8, 3))), {}, ValueError, r"8 .*7"),
    Bad("conv2d", (X, np.ones((6, 4, 3, 10))), {}, ValueError, r"10 .*9"),
    Bad("conv2d", (X, W), {"dilation": 4}, ValueError, r"9 .*7"),
    Bad("conv2d", (X[:, :0], W[:, :0]), {}, ValueError, r"\(2, 0, 7, 9\)"),
    Bad("conv2d", (X[:, :, :0], W), {"padding": 3}, ValueError, r"\(2, 4, 0, 9\)"),
    Bad("conv2d", (X, W[:0]), {}, ValueError, r"\(0, 4, 3, 3\)"),
    Bad("conv2d", (X, W), {"layout": "NHWC"}, ValueError, r"9 .*3"),
    Bad("conv2d", ([[[[1.0, 2.0], [3.0]]]], W), {}, ValueError, r"\(1, 1, 2\)"),
    Bad("conv2d_backward", (DY[:, :5], X, W), {}, ValueError, r"\(2, 5, 5, 7\).*\(2, 6, 5, 7\)"),
    Bad("conv2d_backward", (DY, X[:1], W), {}, ValueError, r"\(2, 6, 5, 7\).*\(1, 6, 5, 7\)"),
    Bad("conv2d_backward", (DY, X, W[:, :3]), {}, ValueError, r"4 channels.* 3"),
    Bad("conv2d_backward_input", (DY, W, (2, 4, 8, 9)), {}, ValueError, r"\(2, 6, 5, 7\).*\(2, 6, 6, 7\)"),
    Bad("conv2d_backward_input", (DY, W, (4, 7, 9)), {}, ValueError, r"\(4, 7, 9\)"),
    Bad("conv2d_backward_input", (DY, W, (2, 4, -7, 9)), {}, ValueError, "-7"),
    Bad("conv2d_backward_input", (DY, W, (2, 4, 7.0, 9)), {}, TypeError, "7.0"),
    Bad("conv2d_backward_input", (DY, W, 7), {}, TypeError, "7"),
    Bad("conv2d_backward_weight", (DY, X, (6, 4, 4, 3)), {}, ValueError, r"\(2, 6, 5, 7\).*\(2, 6, 4, 7\)"),
    Bad("conv2d_backward_weight", (DY, X, (6, 3, 3, 3)), {}, ValueError, r"4 channels.* 3"),
    Bad("conv2d_backward_weight", (DY, X, "6433"), {}, TypeError, "6433"),
    Bad("conv_transpose2d", (DY, W[:5]), {}, ValueError, r"6 channels.* 5"),
    Bad("conv_transpose2d", (DY, W, B), {}, ValueError, r"\(6,\).*\(4,\)"),
    Bad("conv_transpose2d", (DY, W), {"groups": 4}, ValueError, r"6 .*4"),
    Bad("conv_transpose2d", (DY, W), {"padding": 4}, ValueError, r"4 .*-1|-1"),
    Bad("conv_transpose2d", (DY, W), {"output_padding": 1}, ValueError, "1"),
    Bad("conv_transpose2d", (DY, W), {"stride": 2, "output_padding": (0, 2)}, ValueError, "2"),
    Bad("conv_transpose2d", (DY, W), {"stride": 4, "padding": "same"}, ValueError, "5 . 4 = 20"),
    Bad("conv1d", (X, W), {}, ValueError, r"\(2, 4, 7, 9\)"),
    Bad("conv1d", (X[..., 0], W[..., 0]), {"padding": (1, 1)}, ValueError, r"\(1, 1\)"),
    Bad("conv1d", (X[..., 0], W[..., 0]), {"stride": (1, 1)}, ValueError, r"\(1, 1\)"),
    Bad("max_pool2d", (X[0], 2), {}, ValueError, r"\(4, 7, 9\)"),
    Bad("max_pool2d", (X, 8), {}, ValueError, r"8 .*7"),
    Bad("max_pool2d_backward", (POOLED[:1], X, 2), {}, ValueError, r"\(1, 4, 3, 4\).*\(2, 4, 3, 4\)"),
    Bad("max_pool2d_backward", (POOLED, X, 2), {"indices": INDICES[..., :3]}, ValueError, r"\(2, 4, 3, 3\)"),
    Bad("avg_pool2d_backward", (POOLED, (2, 4, 9, 9), 2), {}, ValueError, r"\(2, 4, 3, 4\).*\(2, 4, 4, 4\)"),
    Bad("local_response_norm", (X[0], 3), {}, ValueError, r"\(4, 7, 9\)"),
    Bad("local_response_norm_backward", (X[:1], X, 3), {}, ValueError, r"\(1, 4, 7, 9\).*\(2, 4, 7, 9\)"),
]
ARGUMENTS = [
    *(Bad("conv2d", (X, W), {"stride": stride}, ValueError, "stride") for stride in (0, -1, (1, 0), (1, 2, 3), ())),
    *(Bad("conv2d", (X, W), {"stride": stride}, TypeError, str(stride)) for stride in (1.5, "2", None, True)),
    *(Bad("conv2d", (X, W), {"dilation": dilation}, ValueError, "dilation") for dilation in (0, -2, (1, 2, 3))),
    *(Bad("conv2d", (X, W), {"padding": pads}, ValueError, "padding") for pads in (-1, (0, -1), "full", (1, 2, 3))),
    Bad("conv2d", (X, W), {"padding": ((1, 2),)}, ValueError, "padding"),
    Bad("conv2d", (X, W), {"padding": ((1, 2), 3)}, ValueError, "padding"),
    Bad("conv2d", (X, W), {"padding": ((1, -2), (0, 0))}, ValueError, "-2"),
    Bad("conv2d", (X, W), {"padding": 0.5}, TypeError, "0.5"),
    Bad("conv2d", (X, W), {"groups": 0}, ValueError, "0"),
    Bad("conv2d", (X, W), {"groups": 3}, ValueError, r"4 .*12"),
    Bad("conv2d", (X, W[:5, :2]), {"groups": 2}, ValueError, r"5 .*2"),
    Bad("conv2d", (X, W[:5, :2]), {"groups": 2.0}, TypeError, "2.0"),
    Bad("conv2d", (X, W), {"layout": "NCWH"}, ValueError, "NCWH"),
    Bad("conv2d", (X, W), {"layout": None}, ValueError, "None"),
    Bad("conv2d", (X, W), {"activation": "gelu"}, ValueError, "gelu"),
    Bad("conv2d", (X, W), {"algo": "fft"}, ValueError, "fft"),
    Bad("conv2d", (np.ones((1, 1, 7, 7)), W[:1, :1]), {"stride": 3, "strict": True}, ValueError,
        r"\(7 - 3\) / 3 \+ 1 = 2\.33"),
    Bad("conv2d", (X, W), {"stride": (1, 3), "padding": 1, "strict": True}, ValueError,
        r"\(9 \+ 2 - 3\) / 3 \+ 1 = 3\.67"),
    Bad("conv2d_backward", (DY, X, W), {"needs": ("x", "y")}, ValueError, "y"),
    Bad("conv2d_backward", (DY, X, W), {"needs": "xwz"}, ValueError, "z"),
    Bad("conv2d_backward", (DY, X, W), {"needs": 7}, TypeError, "7"),
    Bad("max_pool2d", (X, 0), {}, ValueError, "0"),
    Bad("max_pool2d", (X, (2, 2, 2)), {}, ValueError, r"\(2, 2, 2\)"),
    Bad("max_pool2d", (X, 2.5), {}, TypeError, "2.5"),
    Bad("max_pool2d", (X, 2), {"stride": 0}, ValueError, "0"),
    Bad("max_pool2d", (X, 2), {"padding": 2}, ValueError, r"2.* 2"),
    Bad("max_pool2d", (X, (3, 2)), {"padding": ((0, 0), (0, 2))}, ValueError, r"2.* 2"),
    Bad("max_pool2d", (X, 3), {"stride": 3, "strict": True}, ValueError, r"\(7 - 3\) / 3 \+ 1 = 2\.33"),
    Bad("max_pool2d", (X[:, :, :1], (2, 1)), {"dilation": 3, "padding": (2, 0)}, ValueError, "3"),
    Bad("avg_pool2d", (X, 2), {"padding": 3}, ValueError, r"3.* 2"),
    Bad("avg_pool2d", (X, 2), {"dilation": 0}, ValueError, "0"),
    *(Bad("max_pool2d_backward", (POOLED, X, 2), {"indices": with_index(i)}, ValueError, rf"\[0, 63\).* {i}( |$)")
      for i in (-1, 63, 2**40, -(2**63))),
    Bad("max_pool2d_backward", (POOLED, X, 2), {"indices": INDICES.astype(float)}, TypeError, "float64"),
    Bad("local_response_norm", (X, 0), {}, ValueError, "0"),
    Bad("local_response_norm", (X, 2.0), {}, TypeError, "2.0"),
    Bad("local_response_norm", (X, 3), {"alpha": np.nan}, ValueError, "nan"),
    Bad("local_response_norm", (X, 3), {"beta": "0.75"}, TypeError, "0.75"),
    Bad("Conv2d", (W[0],), {}, ValueError, r"\(4, 3, 3\)"),
    Bad("Conv2d", (W, B[:4]), {}, ValueError, r"\(4,\).*\(6,\)"),
    Bad("Conv2d", (W,), {"stride": 0}, ValueError, "0"),
    Bad("Conv2d", (W,), {"algo": "fft"}, ValueError, "fft"),
    Bad("conv_output_size", (7, 3), {"stride": 3, "strict": True}, ValueError, r"\(7 - 3\) / 3 \+ 1 = 2\.33"),
    Bad("conv_output_size", (7, 8), {}, ValueError, r"8 .*7"),
    Bad("conv_output_size", (0, 1), {}, ValueError, "0"),
    Bad("conv_output_size", (7.0, 3), {}, TypeError, "7.0"),
]  # fmt: skip
DTYPES = [
    *(Bad("conv2d", (X.astype(dtype), W), {}, TypeError, dtype)
      for dtype in ("int64", "uint8", "bool", "complex128", "object")),
    Bad("conv2d", (X, W.astype("int32")), {}, TypeError, "w .*int32"),
    Bad("conv2d", (X, W, B.astype("complex64")), {}, TypeError, "b .*complex64"),
    Bad("conv2d", (None, W), {}, TypeError, "x "),
    Bad("conv2d", (X, "weights"), {}, TypeError, "w "),
    Bad("conv2d", ([[[[1, 2], [3, 4]]]], W), {}, TypeError, "int64"),
    Bad("conv2d_backward", (DY.astype(int), X, W), {}, TypeError, "dy .*int64"),
    Bad("conv_transpose2d", (DY, W.astype(int)), {}, TypeError, "w .*int64"),
    Bad("max_pool2d", (X.astype(int), 2), {}, TypeError, "int64"),
    Bad("avg_pool2d", (X.astype(complex), 2), {}, TypeError, "complex128"),
    Bad("local_response_norm", (X.astype(int), 3), {}, TypeError, "int64"),
    Bad("Conv2d", (W.astype(int),), {}, TypeError, "int64"),
    *([Bad("conv2d", (X.astype("longdouble"), W), {}, TypeError, np.dtype("longdouble").name)]
      if np.dtype("longdouble") != np.float64 else []),
]  # fmt: skip
OUTS = [
    Bad("conv2d", (X, W), {"out": OUT[:, :5]}, ValueError, r"\(2, 5, 5, 7\).*\(2, 6, 5, 7\)"),
    Bad("conv2d", (X, W), {"out": OUT.astype(np.float32)}, ValueError, "float32.*float64"),
    Bad("conv2d", (X, W), {"out": read_only(OUT.copy())}, ValueError, "read-only"),
    Bad("conv2d", (X, W), {"out": np.asfortranarray(OUT)}, ValueError, "strides"),
    Bad("conv2d", (X, W), {"out": OUT.tolist()}, TypeError, "list"),
    Bad("max_pool2d", (X, 2), {"out": np.zeros((2, 4, 4, 4))}, ValueError, r"\(2, 4, 4, 4\).*\(2, 4, 3, 4\)"),
    Bad("max_pool2d", (X, 2), {"out": np.zeros((2, 4, 3, 4), np.float16)}, ValueError, "float16.*float64"),
]
HUGE = np.broadcast_to(np.float32(0), (1, 2**20, 2**20, 2**20))
EITHER = (ValueError, MemoryError)
TOO_LARGE = [
    Bad("conv2d", (X, W), {"padding": 2**40}, EITHER, "too large|allocate"),
    Bad("conv2d", (X, W), {"padding": 2**62}, ValueError, "4611686018427387904"),
    Bad("conv2d", (HUGE, np.ones((1, 2**20, 1, 1), np.float32)), {}, EITHER, "1048576"),
    Bad("conv2d_backward_input", (DY, W, (2, 4, 2**63, 9)), {}, ValueError, "9223372036854775808"),
    Bad("conv_transpose2d", (DY, W), {"stride": 2**61}, EITHER, "2305843009213693952"),
    Bad("max_pool2d", (HUGE, 1), {}, EITHER, "1048576"),
    Bad("max_pool2d", (X, 1), {"stride": (2**53, 3)}, ValueError, "9007199254740992"),
    Bad("avg_pool2d_backward", (X[:, :, :1, :1], X.shape, 1), {"stride": (2**53, 9)}, ValueError, "9007199254740992"),
    Bad("conv2d", (X, W), {"stride": (2**53, 1)}, ValueError, "9007199254740992.*too large"),
    Bad("local_response_norm", (HUGE, 3), {}, EITHER, "1048576"),
]


@pytest.mark.parametrize("bad", SHAPES + ARGUMENTS + DTYPES + OUTS + TOO_LARGE, ids=str)
def test_refused(bad):
    with pytest.raises(bad.error, match=bad.message):
        getattr(fastconv, bad.operator)(*bad.arguments, **bad.options)


def test_out_must_not_share_memory_with_an_input():
    memory = np.zeros(4000)
    x, y = memory[: X.size].reshape(X.shape), memory[100 : 100 + OUT.size].reshape(OUT.shape)
    with pytest.raises(ValueError, match="memory with x"):
        fastconv.conv2d(x, W, out=y)
    with pytest.raises(ValueError, match="memory with x"):
        fastconv.Conv2d(W)(x, y)
    w = memory[100 : 100 + W.size].reshape(W.shape)
    with pytest.raises(ValueError, match="memory with w"):
        fastconv.conv2d(X, w, out=y)
    with pytest.raises(ValueError, match="memory with b"):
        fastconv.conv2d(X, W, y[0, 0, 0, :6], out=y)
    with pytest.raises(ValueError, match="memory with x"):
        fastconv.max_pool2d(x, 1, stride=1, out=x)
    apart = memory[X.size : X.size + OUT.size].reshape(OUT.shape)
    np.testing.assert_array_equal(fastconv.conv2d(x, W, B, out=apart), np.ones(OUT.shape))


def test_memory_too_entangled_to_tell_apart_counts_as_shared():
    """Whether two strided arrays meet is a problem of integers that NumPy gives up on."""
    memory = np.zeros(10**6)
    x = np.lib.stride_tricks.as_strided(memory, (3, 4, 7, 9), [8 * s for s in (50021, 30011, 7001, 9001)])
    out = memory[49756 : 49756 + 3 * 6 * 5 * 7].reshape(3, 6, 5, 7)
    assert np.may_share_memory(x, out)
    with pytest.raises(ValueError, match="memory with x"):
        fastconv.conv2d(x, W, out=out)


def test_a_refused_call_leaves_out_alone():
    out = np.full(OUT.shape, 7.0)
    for options in ({"algo": "fft"}, {"activation": "gelu"}, {"layout": "x"}, {"strict": True, "stride": 4}):
        with pytest.raises(ValueError, match=r"."):
            fastconv.conv2d(X, W, out=out, **options)
    np.testing.assert_array_equal(out, 7.0)


def test_a_called_layer_checks_its_input():
    layer = fastconv.Conv2d(W, B)
    with pytest.raises(ValueError, match=r"3 channels.* 4"):
        layer(X[:, :3])
    with pytest.raises(ValueError, match=r"3 .*2"):
        layer(X[:, :, :2])
    with pytest.raises(TypeError, match="int64"):
        layer(X.astype(np.int64))
    with pytest.raises(ValueError, match=r"\(1,\)"):
        layer(X, np.zeros(1))


def test_masked_arrays_are_refused():
    with pytest.raises(TypeError, match="mask"):
        fastconv.conv2d(np.ma.array(X), W)
