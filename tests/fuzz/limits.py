"""What a process that fuzzes may claim."""

from __future__ import annotations

import os
import resource

MEMORY = 2 << 30  # bytes: what is larger must be a MemoryError, and what fits is computed in seconds


def limit_memory() -> None:
    """Refuse claims beyond `MEMORY`, which the system would else grant and regret."""
    if "LD_PRELOAD" in os.environ:  # a sanitizer maps more than that for itself, and has its own limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
