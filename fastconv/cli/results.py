"""The result of a benchmark run in figures: ratios by rival, and everything as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import exp, log
from typing import Any

from fastconv.cli.machine import Machine
from fastconv.cli.measure import Measurement

__all__ = ["as_json", "by_formulation", "extremes", "rivals", "summary"]


def rivals(measurements: Sequence[Measurement]) -> list[str]:
    """Every rival that ran on some layer: NumPy, the peers, and the best peer if there are two or more."""
    names = list(dict.fromkeys(name for m in measurements for name in m.rivals() if name != "best peer"))
    peers = {name for m in measurements for name in m.peers}
    return names + ["best peer"] * (len(peers) > 1)


def extremes(ratios: Mapping[str, float]) -> dict[str, Any]:
    """Geometric mean and least of ratios by layer, and the layer of the least."""
    slowest = min(ratios, key=ratios.__getitem__)
    return {
        "layers": len(ratios),
        "geomean": exp(sum(map(log, ratios.values())) / len(ratios)),
        "min": ratios[slowest],
        "min_layer": slowest,
    }


def summary(measurements: Sequence[Measurement], candidates: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """`extremes` of the speed-up by candidate and rival, over the layers that both ran."""
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for candidate in candidates:
        for rival in rivals(measurements):
            ratios = {m.problem.name: s for m in measurements if (s := m.speed_up(candidate, rival)) is not None}
            if ratios:
                result.setdefault(candidate, {})[rival] = extremes(ratios)
    return result


def by_formulation(measurements: Sequence[Measurement], candidate: str) -> dict[str, float]:
    """Geometric mean of a candidate's speed-up against each NumPy formulation alone."""
    served = [m for m in measurements if candidate in m.fastconv]
    return {
        name: exp(sum(log(m.numpy[name] / m.fastconv[candidate]) for m in served) / len(served))
        for name in (served[0].numpy if served else ())
    }


def _layer(m: Measurement, machine: Machine) -> dict[str, Any]:
    times = {**m.fastconv, **m.peers}
    return {
        "network": m.network,
        "name": m.problem.name,
        "problem": str(m.problem),
        "flops": m.job.flops,
        "bytes": m.job.bytes,
        "numpy_seconds": m.numpy,
        "fastconv_seconds": m.fastconv,
        "peer_seconds": m.peers,
        "peer_rms_error": m.errors,
        "refused": m.refused,
        "auto_takes": m.algorithm,
        "phases": m.phases,
        "gflops": {name: m.gflops(seconds) for name, seconds in times.items()},
        "fraction_of_peak": {name: m.gflops(seconds) / machine.peak for name, seconds in times.items()},
        "speed_up": {name: {rival: m.speed_up(name, rival) for rival in m.rivals()} for name in m.fastconv},
    }


def as_json(
    measurements: Sequence[Measurement], candidates: Sequence[str], machine: Machine, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that was measured; times in seconds, peak and rates in GFLOP/s."""
    return {
        "machine": asdict(machine),
        "settings": dict(settings),
        "layers": [_layer(m, machine) for m in measurements],
        "summary": summary(measurements, candidates),
    }
