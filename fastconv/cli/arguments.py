"""What the commands' options have in common."""

import argparse
import sys
from pathlib import Path

__all__ = ["positive_float", "positive_int", "writable"]


def positive_int(text: str) -> int:
    """Read an int of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def positive_float(text: str) -> float:
    """Read a finite float above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return value


def writable(path: Path | None) -> bool:
    """Whether a file can be written, or none is wanted; says why not. Asked before a long run, not after it."""
    if path is not None:
        try:
            path.touch()
        except OSError as error:
            print(f"cannot write {path}: {error.strerror}", file=sys.stderr)
            return False
    return True
