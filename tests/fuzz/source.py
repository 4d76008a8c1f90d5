"""Where a fuzzer's choices come from: a seeded generator, hypothesis, or a string of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Source(Protocol):
    """Where choices come from."""

    def integer(self, least: int, most: int) -> int:
        """Return an int between `least` and `most`, both included."""
        ...


class Seeded:
    """Choices of a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def integer(self, least: int, most: int) -> int:
        return int(self.rng.integers(least, most, endpoint=True))


class Bytes:
    """Choices that a string of bytes spells: each takes as few as tell its options apart, and zeros past the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def integer(self, least: int, most: int) -> int:
        count = ((most - least).bit_length() + 7) // 8
        taken, self.data = self.data[:count], self.data[count:]
        return least + int.from_bytes(taken, "little") % (most - least + 1)


def choose(source: Source, options: Sequence[Any]) -> Any:
    return options[source.integer(0, len(options) - 1)]


def often(source: Source, percent: int) -> bool:
    return source.integer(1, 100) <= percent
