"""Pictures of a benchmark run, drawn by matplotlib from what `as_json` gives."""

from fastconv.cli.plots.files import draw, save

__all__ = ["draw", "save"]
