"""The examples, in their short forms, as one runs them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(script: str, *options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLES / script, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def pixels(path: Path) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture
def filters(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES)
    import filter_photo

    return filter_photo


def test_filter_photo(tmp_path: Path) -> None:
    done = run("filter_photo.py", "--output", tmp_path / "out.png")
    assert done.returncode == 0, done.stderr
    assert "out.png" in done.stdout
    assert pixels(tmp_path / "out.png").std() > 20  # a picture, not a blank panel


def test_filter_own_photo(tmp_path: Path) -> None:
    step = np.zeros((40, 60, 3), np.uint8)
    step[:, 30:] = 255
    Image.fromarray(step).save(tmp_path / "step.png")
    done = run("filter_photo.py", "--photo", tmp_path / "step.png", "--output", tmp_path / "out.png", "--sigma", "2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.png").is_file()


def test_filter_photo_wrong_sigma() -> None:
    done = run("filter_photo.py", "--sigma", "0")
    assert done.returncode == 2
    assert "--sigma must be positive, got 0.0" in done.stderr


def test_blur_is_the_gaussian_of_scipy(filters: Any) -> None:
    photo = filters.load(None)
    blurred = filters.filter_colours(photo, filters.gaussian(2.0))
    expected = ndimage.gaussian_filter(photo.astype(np.float64), (0, 0, 2, 2), mode="nearest", truncate=3)
    np.testing.assert_allclose(blurred, expected, atol=1e-5)


def test_edges_are_the_sobel_of_scipy(filters: Any) -> None:
    photo = filters.load(None)
    grey = (photo.astype(np.float64) * filters.LUMA).sum(axis=1)[0]
    expected = np.hypot(*(ndimage.sobel(grey, axis, mode="nearest") for axis in (0, 1)))
    np.testing.assert_allclose(filters.edges(photo)[0, 0], expected / expected.max(), atol=1e-5)


@pytest.mark.parametrize("script", ["train_lenet.py", "train_alexnet.py"])
def test_training_learns(script: str, tmp_path: Path) -> None:
    done = run(script, "--short", "--output", tmp_path / "loss.png")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "images/s" in done.stdout
    assert "goal 90.0%" in done.stdout
    assert pixels(tmp_path / "loss.png").std() > 5


def test_train_lenet_fails_below_its_goal(tmp_path: Path) -> None:
    done = run("train_lenet.py", "--epochs", "1", "--goal", "1.01", "--output", tmp_path / "lenet.png")
    assert done.returncode == 1, done.stderr
    assert "goal 101.0%" in done.stdout
