"""Filters a photograph with depthwise convolutions: Gaussian blur, Sobel edges and sharpening, side by side in a PNG.

    python examples/filter_photo.py --output filtered.png [--photo holiday.jpg]

Without --photo it takes a photograph that comes with scikit-learn. Each colour is a channel of its own: a filter of
shape (3, 1, K, K) with groups=3.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

import fastconv

Array = NDArray[Any]

SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32) / 4
LUMA = np.array([0.299, 0.587, 0.114], np.float32).reshape(1, 3, 1, 1)  # ITU-R BT.601


def load(path: Path | None) -> Array:
    """Photograph as float32 RGB in 0..1, shape (1, 3, H, W); NCHW is a view of the picture's H, W, 3."""
    pixels: NDArray[Any] = (
        load_sample_image("china.jpg") if path is None else np.asarray(Image.open(path).convert("RGB"))
    )
    return (pixels.astype(np.float32) / 255).transpose(2, 0, 1)[np.newaxis]


def filter_colours(image: Array, kernel: Array) -> Array:
    """Convolve every colour with one square kernel of odd size; the border repeats its pixels."""
    margin = kernel.shape[0] // 2
    padded = np.pad(image, ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="edge")
    weights = np.repeat(kernel[np.newaxis, np.newaxis], 3, axis=0)
    result: Array = fastconv.conv2d(padded, weights, groups=3)
    return result


def gaussian(sigma: float) -> Array:
    """Gaussian kernel that sums to 1, cut off at three standard deviations (in pixels)."""
    offsets = np.arange(-round(3 * sigma), round(3 * sigma) + 1)
    profile = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel: Array = np.outer(profile, profile)
    return (kernel / kernel.sum()).astype(np.float32)


def edges(image: Array) -> Array:
    """Magnitude of the Sobel gradient of the brightness, scaled to 0..1, shape (1, 1, H, W).

    The brightness is a 1x1 convolution over the colours, both gradients are one convolution with two filters.
    """
    brightness = fastconv.conv2d(image, LUMA)
    padded = np.pad(brightness, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    gradients = fastconv.conv2d(padded, np.stack([SOBEL, SOBEL.T])[:, np.newaxis])
    magnitude = np.hypot(gradients[:, :1], gradients[:, 1:])
    result: Array = magnitude / max(float(magnitude.max()), 1e-6)  # a plain picture has no edges
    return result


def panel(pictures: dict[str, Array], output: Path) -> None:
    """Write labelled pictures of shape (1, 3 or 1, H, W) into one PNG, two in a row."""
    height, width = next(iter(pictures.values())).shape[2:]
    figure, axes = plt.subplots(2, 2, figsize=(13, 13 * height / width + 0.6), layout="constrained")
    for axis, (label, picture) in zip(axes.flat, pictures.items(), strict=True):
        axis.imshow(np.clip(picture[0].transpose(1, 2, 0), 0, 1), cmap="gray", vmin=0, vmax=1)
        axis.set_title(label)
        axis.set_axis_off()
    figure.savefig(output, dpi=100)
    plt.close(figure)


def main() -> int:
    """Filter the photograph and write the panel."""
    parser = argparse.ArgumentParser(description="Blur, edges and sharpening of a photograph with fastconv.")
    parser.add_argument(
        "--photo", type=Path, help="picture in any format Pillow reads; default scikit-learn's china.jpg"
    )
    parser.add_argument("--output", type=Path, default=Path("filtered.png"), help="PNG to write; default filtered.png")
    parser.add_argument("--sigma", type=float, default=3.0, help="standard deviation of the blur in pixels; default 3")
    arguments = parser.parse_args()
    if not arguments.sigma > 0:
        parser.error(f"--sigma must be positive, got {arguments.sigma}")

    photo = load(arguments.photo)
    blurred = filter_colours(photo, gaussian(arguments.sigma))
    sharpened = photo + 1.5 * (photo - filter_colours(photo, gaussian(1.0)))  # unsharp masking
    panel(
        {
            f"original, {photo.shape[3]} x {photo.shape[2]}": photo,
            f"blurred: Gaussian, sigma {arguments.sigma:g}": blurred,
            "edges: Sobel magnitude": edges(photo),
            "sharpened: original + 1.5 (original - Gaussian, sigma 1)": sharpened,
        },
        arguments.output,
    )
    print(f"wrote {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
