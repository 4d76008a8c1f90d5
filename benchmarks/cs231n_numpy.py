"""What a student of CS231n has before any fast layer: im2col layers in plain NumPy, and the three-layer network."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["ThreeLayerConvNet", "conv_relu_pool_backward", "conv_relu_pool_forward"]

Array = NDArray[Any]

FILTERS, SIDE, HIDDEN, CLASSES = 32, 7, 100, 10


def _im2col(x: Array, side: int, pad: int) -> Array:
    """Return (C * side * side, N * OH * OW), a column for each window."""
    windows = sliding_window_view(np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad))), (side, side), (2, 3))
    return windows.transpose(1, 4, 5, 0, 2, 3).reshape(x.shape[1] * side**2, -1)


def _col2im(columns: Array, shape: tuple[int, ...], side: int, pad: int) -> Array:
    """Add the columns up where `_im2col` took them from."""
    n, c, h, w = shape
    padded = np.zeros((n, c, h + 2 * pad, w + 2 * pad), columns.dtype)
    rows, cols = h + 2 * pad - side + 1, w + 2 * pad - side + 1
    taps = columns.reshape(c, side, side, n, rows, cols).transpose(1, 2, 3, 0, 4, 5)
    for i in range(side):
        for j in range(side):
            padded[:, :, i : i + rows, j : j + cols] += taps[i, j]
    return padded[:, :, pad : pad + h, pad : pad + w]


def conv_relu_pool_forward(
    x: Array, w: Array, b: Array, conv_param: dict[str, int], pool_param: dict[str, int]
) -> tuple[Array, Any]:
    """Convolve with stride 1, rectify, and pool by 2x2 windows as a reshape has them."""
    assert conv_param["stride"] == 1
    assert set(pool_param.values()) == {2}
    pad, side = conv_param["pad"], w.shape[2]
    columns = _im2col(x, side, pad)
    rows, cols = (n + 2 * pad - side + 1 for n in x.shape[2:])
    a = (w.reshape(len(w), -1) @ columns + b[:, None]).reshape(len(w), len(x), rows, cols).transpose(1, 0, 2, 3)
    s = np.maximum(0, a)
    tiles = s.reshape(*s.shape[:2], rows // 2, 2, cols // 2, 2)
    out = tiles.max(axis=3).max(axis=4)
    return out, (x.shape, w, pad, columns, a, tiles, out)


def conv_relu_pool_backward(dout: Array, cache: Any) -> tuple[Array, Array, Array]:
    """Return (dx, dw, db); equal maxima of a window share its gradient."""
    shape, w, pad, columns, a, tiles, out = cache
    mask = tiles == out[:, :, :, None, :, None]
    share = dout[:, :, :, None, :, None] / mask.sum(axis=(3, 5), keepdims=True, dtype=dout.dtype)
    da = (mask * share).reshape(a.shape) * (a > 0)
    rows = da.transpose(1, 0, 2, 3).reshape(len(w), -1)
    dw, db = (rows @ columns.T).reshape(w.shape), da.sum(axis=(0, 2, 3))
    return _col2im(w.reshape(len(w), -1).T @ rows, shape, w.shape[2], pad), dw, db


class ThreeLayerConvNet:
    """conv - relu - 2x2 max pool - affine - relu - affine - softmax, over images of 3 x 32 x 32.

    `layers` holds ``conv_relu_pool_forward`` and ``conv_relu_pool_backward``.
    """

    def __init__(self, layers: Any, rng: np.random.Generator) -> None:
        self.layers = layers
        shapes = [(FILTERS, 3, SIDE, SIDE), (FILTERS * 16 * 16, HIDDEN), (HIDDEN, CLASSES)]
        self.weights = [(rng.standard_normal(shape) * 0.01).astype(np.float32) for shape in shapes]
        self.biases = [np.zeros(size, np.float32) for size in (FILTERS, HIDDEN, CLASSES)]

    def step(self, x: Array, labels: Array, rate: float) -> float:
        """Take a step of SGD and return the loss before it."""
        (w1, w2, w3), (b1, b2, b3) = self.weights, self.biases
        conv_param, pool_param = {"stride": 1, "pad": SIDE // 2}, {"pool_height": 2, "pool_width": 2, "stride": 2}
        pooled, cache = self.layers.conv_relu_pool_forward(x, w1, b1, conv_param, pool_param)
        flat = pooled.reshape(len(x), -1)
        hidden = np.maximum(0, flat @ w2 + b2)
        scores = hidden @ w3 + b3
        scores = scores - scores.max(axis=1, keepdims=True)
        shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        image = np.arange(len(x))
        loss = -np.log(shares[image, labels]).mean()

        dscores = shares
        dscores[image, labels] -= 1
        dscores /= len(x)
        dhidden = dscores @ w3.T * (hidden > 0)
        dpooled = (dhidden @ w2.T).reshape(pooled.shape)
        _, dw1, db1 = self.layers.conv_relu_pool_backward(dpooled, cache)
        gradients = (dw1, flat.T @ dhidden, hidden.T @ dscores, db1, dhidden.sum(axis=0), dscores.sum(axis=0))
        for parameter, gradient in zip((*self.weights, *self.biases), gradients, strict=True):
            parameter -= rate * gradient
        return float(loss)
