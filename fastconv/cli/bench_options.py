"""Options of ``python -m fastconv bench``, and the layers that they select."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from fastconv.cli.arguments import positive_float, positive_int
from fastconv.cli.peers import PEERS
from fastconv.cli.problems import Problem, network, network_names, parse_line

__all__ = ["ALGORITHMS", "FULL", "QUICK", "add_options", "layers"]

ALGORITHMS = ("auto", "direct", "im2col", "winograd")
QUICK = {"repeat": 3, "seconds": 0.4, "peer_seconds": 0.1}
FULL = {"repeat": 30, "seconds": 1.0, "peer_seconds": 0.3}
_QUICK_NETWORKS = ("alphago", "lenet")
_TOKENS = re.compile(r"[a-z]+[0-9]+", re.ASCII)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bench`` to its parser."""
    _add_what(parser)
    _add_who(parser)
    _add_how(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    output.add_argument("--html", type=Path, metavar="FILE", help="write a page with tables and plots to FILE")
    output.add_argument(
        "--plot",
        type=Path,
        metavar="DIR|FILE",
        help="write plots as PNG: DIR/bars-vgg.png, DIR/roofline.png and so on, or with FILE.png FILE-bars-vgg.png",
    )
    output.add_argument(
        "--read", type=Path, metavar="FILE", help="time nothing: --html and --plot of an earlier run's JSON"
    )
    output.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("A", "B"),
        help="time nothing: compare two JSON files of earlier runs",
    )


def _add_what(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what is timed")
    names = network_names()
    what.add_argument(
        "--net",
        action="append",
        choices=names,
        metavar="NAME",
        help=f"network, repeatable: {', '.join(names)}; default all, with --quick {' and '.join(_QUICK_NETWORKS)}",
    )
    what.add_argument(
        "--layers",
        action="append",
        metavar="LAYER",
        help="layers of the networks by name or pattern (vgg3_2, 'vgg*'), or one by its sizes (c64h56k64r3p1), "
        "repeatable; default all",
    )
    what.add_argument(
        "--pass",
        dest="direction",
        choices=("forward", "backward"),
        default="forward",
        help="forward, or the gradients by input, weights and bias; default forward",
    )
    what.add_argument("--batch", type=positive_int, default=1, metavar="N", help="images in a batch; default 1")
    what.add_argument("--dtype", choices=("float32", "float64"), default="float32")


def _add_who(parser: argparse.ArgumentParser) -> None:
    who = parser.add_argument_group("who is timed")
    who.add_argument(
        "--algo", action="append", choices=ALGORITHMS, help="algorithm of fastconv, repeatable; default all, and --held"
    )
    who.add_argument(
        "--held",
        action=argparse.BooleanOptionalAction,
        help="Conv2d too, which holds its weights packed, as other engines do (forward only)",
    )
    who.add_argument(
        "--numpy", action=argparse.BooleanOptionalAction, default=True, help="NumPy's formulations; default yes"
    )
    who.add_argument(
        "--peers",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="every other engine that is installed; default yes, with --quick no",
    )
    who.add_argument("--peer", action="append", choices=list(PEERS), help="one other engine instead of all, repeatable")


def _add_how(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("how it is timed")
    how.add_argument("--threads", type=positive_int, metavar="N", help="threads of everyone; default fastconv's")
    how.add_argument(
        "--repeat", type=positive_int, metavar="N", help=f"most turns of a candidate; default {FULL['repeat']}"
    )
    how.add_argument(
        "--seconds",
        type=positive_float,
        metavar="S",
        help=f"time budget of a layer; default {FULL['seconds']}, and {FULL['peer_seconds']} more for each peer",
    )
    how.add_argument("--quick", action="store_true", help="few turns on small networks: does it run at all?")


def layers(
    names: Sequence[str] | None, patterns: Sequence[str] | None, batch: int, quick: bool
) -> list[tuple[str, Problem]]:
    """Return network and problem of every layer that the options select, each once.

    Parameters
    ----------
    names : sequence of str, optional
        Networks; by default all, or the small ones if `quick`.
    patterns : sequence of str, optional
        Patterns of layer names, or problems in the grammar of `fastconv.cli.problems` without spaces, whose network
        is ``""``; by default every layer of the networks.
    batch : int
        Images in a batch, except for a problem that says it.
    quick : bool
        Whether the default is the small networks.

    Raises
    ------
    ValueError
        If a pattern matches no layer and is no problem.
    """
    if names is None:
        names = _QUICK_NETWORKS if quick and not patterns else network_names()
    known = [(name, replace(problem, n=batch)) for name in dict.fromkeys(names) for problem in network(name)]
    if not patterns:
        return known
    found: dict[str, tuple[str, Problem]] = {}
    for pattern in patterns:
        matching = [layer for layer in known if fnmatchcase(layer[1].name, pattern)]
        matching = matching or [("", _by_sizes(pattern, batch))]
        found.update((problem.name, (name, problem)) for name, problem in matching)
    return list(found.values())


def _by_sizes(text: str, batch: int) -> Problem:
    tokens = _TOKENS.findall(text)
    if "".join(tokens) != text or not tokens:
        raise ValueError(f"no layer is called {text!r}, and it is not a layer's sizes like c64h56k64r3p1")
    if not any(token[0] == "n" for token in tokens):
        tokens.append(f"n{batch}")
    problem = parse_line(f"{text}: {' '.join(tokens)}")
    assert problem is not None
    return problem
