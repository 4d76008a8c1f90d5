"""What a run of the benchmark is going to do: the options with their defaults filled in."""

import argparse
from typing import Any

import fastconv
from fastconv import _core
from fastconv.cli.bench_options import ALGORITHMS, FULL, QUICK
from fastconv.cli.measure import HELD
from fastconv.cli.peers import PEERS, installed

__all__ = ["not_capped", "settings"]


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fill in the defaults of a run.

    Raises
    ------
    ValueError
        If options contradict each other, or a peer that is asked for is not installed.
    """
    defaults = QUICK if arguments.quick else FULL
    forward = arguments.direction == "forward"
    if arguments.held and not forward:
        raise ValueError("--held goes with --pass forward")
    candidates = list(dict.fromkeys(arguments.algo or ALGORITHMS))
    held = forward and not arguments.algo if arguments.held is None else arguments.held
    if held:
        candidates.append(HELD)
    peers = _peers(arguments)
    budget = defaults["seconds"] + defaults["peer_seconds"] * len(peers)
    return {
        "operation": f"conv_{arguments.direction}",
        "candidates": candidates,
        "numpy": arguments.numpy,
        "phases": bool(arguments.plot or arguments.html),
        "peers": peers,
        "batch": arguments.batch,
        "dtype": arguments.dtype,
        "threads": arguments.threads or fastconv.get_num_threads(),
        "rounds": arguments.repeat or int(defaults["repeat"]),
        "seconds": arguments.seconds or budget,
    }


def _peers(arguments: argparse.Namespace) -> list[str]:
    here = installed()
    wanted = list(dict.fromkeys(arguments.peer or ()))
    if wanted:
        absent = [name for name in wanted if name not in here]
        if absent:
            raise ValueError(f"not installed: {', '.join(absent)}")
        return wanted
    everyone = not arguments.quick if arguments.peers is None else arguments.peers
    return [name for name in here if name not in not_capped()] if everyone else []


def not_capped() -> list[str]:
    """Peers that would use instructions which ``FASTCONV_ISA`` denies to fastconv."""
    capped = _core.isa() != _core.isas_supported()[-1]
    return [name for name in installed() if capped and _core.isa() not in PEERS[name].caps]
