"""Types of command-line options."""

import argparse

__all__ = ["positive_float", "positive_int"]


def positive_int(text: str) -> int:
    """Parse an option that counts; `argparse.ArgumentTypeError` below 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def positive_float(text: str) -> float:
    """Parse an option that measures; `argparse.ArgumentTypeError` unless it is finite and above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return value
