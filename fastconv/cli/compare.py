"""Two runs of the benchmark, layer by layer, from their JSON files."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fastconv.cli.results import extremes

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["report", "speed_ups"]

_SETTINGS = ("operation", "dtype", "batch", "threads")


def _times(run: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Seconds of fastconv's candidates by the line of the problem."""
    try:
        return {layer["problem"]: layer["fastconv_seconds"] for layer in run["layers"]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the JSON of a run of bench: no {error}") from None


def speed_ups(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return times in seconds of both runs by candidate and layer, for what both have.

    Raises
    ------
    ValueError
        If the runs have nothing in common, or are not runs of the benchmark.
    """
    before, after = _times(a), _times(b)
    result: dict[str, dict[str, tuple[float, float]]] = {}
    for problem in before:
        for candidate in before[problem].keys() & after.get(problem, {}).keys():
            pair = before[problem][candidate], after[problem][candidate]
            result.setdefault(candidate, {})[problem.partition(":")[0]] = pair
    if not result:
        raise ValueError("the two runs have no layer in common")
    return result


def report(a: Mapping[str, Any], b: Mapping[str, Any]) -> "Iterator[str | Table]":
    """Tables of the two runs' times, then a line a candidate; what the runs' settings and machines differ in first."""
    from fastconv.cli import tables

    found = speed_ups(a, b)
    for part, keys in (("settings", _SETTINGS), ("machine", tuple(a["machine"]))):
        for key in keys:
            if a[part].get(key) != b[part].get(key) and key != "peak":
                yield f"{key}: {a[part].get(key)} → {b[part].get(key)}"
    yield f"peak: {a['machine']['peak']:.0f} → {b['machine']['peak']:.0f} GFLOP/s"
    for candidate in sorted(found):
        yield tables.comparison(candidate, found[candidate])
    for candidate in sorted(found):
        row = extremes({layer: before / after for layer, (before, after) in found[candidate].items()})
        yield (
            f"{candidate}, B against A, {row['layers']} layers: geomean {row['geomean']:.2f}x, "
            f"least {row['min']:.2f}x ({row['min_layer']})"
        )
