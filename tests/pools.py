"""Pooling problems as data."""

from __future__ import annotations

from typing import Any, NamedTuple


class Pool(NamedTuple):
    """One 2-D pool; shapes are NCHW."""

    name: str
    shape: tuple[int, int, int, int]
    kernel_size: int | tuple[int, int]
    options: dict[str, Any]

    def __str__(self) -> str:
        return self.name


POOLS = [
    Pool("vgg", (2, 3, 8, 6), 2, {}),
    Pool("vgg_rest", (1, 5, 9, 7), 2, {"stride": 2}),
    Pool("alexnet", (1, 4, 13, 15), 3, {"stride": 2}),
    Pool("inception", (2, 5, 7, 9), 3, {"stride": 1, "padding": 1}),
    Pool("googlenet", (1, 3, 14, 12), 3, {"stride": 2, "ceil_mode": True}),
    Pool("resnet", (1, 3, 12, 11), 3, {"stride": 2, "padding": 1}),
    Pool("whole_plane", (3, 6, 5, 4), (5, 4), {}),
    Pool("one_pixel", (2, 7, 1, 1), 1, {}),
    Pool("one_pixel_padded", (1, 2, 1, 1), 3, {"padding": 1}),
    Pool("rows_only", (1, 3, 9, 8), (4, 1), {"stride": (3, 2), "padding": (2, 0)}),
    Pool("columns_only", (2, 1, 3, 33), (1, 5), {"stride": (1, 3), "padding": (0, 4)}),
    Pool("asymmetric", (1, 4, 8, 9), (3, 4), {"stride": (2, 1), "padding": ((2, 0), (1, 3))}),
    Pool("same", (1, 2, 7, 10), (3, 2), {"stride": 2, "padding": "same"}),
    Pool("valid", (1, 2, 7, 10), (3, 2), {"stride": 3, "padding": "valid"}),
    Pool("gaps", (2, 3, 11, 13), 2, {"stride": (4, 5)}),
    Pool("dilated", (1, 3, 12, 14), 3, {"stride": 1, "dilation": (2, 3), "padding": 2}),
    Pool("dilated_stride", (1, 2, 13, 11), (3, 2), {"stride": (2, 3), "dilation": (2, 4), "padding": (2, 4)}),
    Pool("ceil_padded", (1, 3, 9, 8), 3, {"stride": 3, "padding": 1, "ceil_mode": True}),
    Pool("ceil_drops_last", (1, 2, 6, 6), 2, {"stride": 3, "padding": 1, "ceil_mode": True}),
    Pool("ceil_dilated", (1, 2, 10, 11), 2, {"stride": 4, "dilation": 3, "padding": 1, "ceil_mode": True}),
    Pool("wide_rows", (1, 1, 5, 67), 3, {"stride": 1, "padding": 1}),
    Pool("many_channels", (1, 67, 4, 5), 3, {"stride": 2, "padding": 1}),
    Pool("large_kernel", (1, 2, 17, 16), 9, {"stride": 1, "padding": 4}),
]
TINY_POOLS = [pool for pool in POOLS if pool.shape[2] * pool.shape[3] < 150]  # for finite differences
PARALLEL_POOLS = [
    Pool("planes", (4, 33, 41, 39), 3, {"stride": 2, "padding": 1}),
    Pool("overlapping", (3, 20, 30, 31), 3, {"stride": 1, "padding": 1}),
]
