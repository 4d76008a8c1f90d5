"""Networks as text: a few lines each.

A network is a line with its names and the size of its input, and below it, indented, its layers::

    lenet5 lenet: c1 h32        # LeCun et al. 1998
        conv1 k6 r5, pool1 r2
        conv2 k16 r5, pool2 r2
        fc3 k120, fc4 k10 linear

Layers are parted by commas or lines. The letters that a layer's name begins with are its kind:

=========== ======================================================== ====================================
kind        layer                                                    tokens
=========== ======================================================== ====================================
``conv``    convolution, bias and ReLU                               ``k r s u v p q g linear nobias``
``pool``    maximum of each window                                   ``r s u v p q ceil``
``mean``    mean of each window                                      ``r s u v p q ceil``
``norm``    local response normalisation                             ``size alpha beta k``
``fc``      fully connected over the flattened input, bias, ReLU     ``k linear``
``bias``    a bias for each position
``softmax`` probabilities over the flattened input
=========== ======================================================== ====================================

Letters are those of ``fastconv.cli.problems``: ``c h w`` the input's channels, height and width (w = h), ``k`` filters
or units, ``r s`` the window's height and width (s = r), ``u v`` strides (v = u; u is 1, for a pool r), ``p q`` padding
on each side (p = 0, q = p), ``g`` groups. ``linear`` leaves out the ReLU, ``nobias`` the bias; ``ceil`` rounds a
pool's output size up.

A module is a kind of one's own: branches over one input, a line each, their outputs side by side along the channels.
``$1``, ``$2``... are the numbers that follow where it is used::

    module mix:
        conv_1x1 k$1 r1
        conv_reduce k$2 r1, conv_3x3 k$3 r3 p1

    small: c3 h8
        mix_a 4 2 8, mix_b 8 4 8

What follows ``#`` is a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

from fastconv.zoo.kinds import (
    AveragePool,
    Branches,
    Conv,
    Dense,
    Layer,
    MaxPool,
    Network,
    PositionBias,
    ResponseNorm,
    Softmax,
)

_KINDS: dict[str, type[Layer]] = {
    kind.kind: kind for kind in (Conv, MaxPool, AveragePool, ResponseNorm, Dense, PositionBias, Softmax)
}
_NAME = re.compile(r"([a-z]+)[A-Za-z0-9_-]*\Z")
_TOKEN = re.compile(r"([a-z]+)((?:[0-9]+(?:\.[0-9]*)?(?:e-?[0-9]+)?)?)\Z", re.ASCII)
_HEADER = re.compile(r"(?P<names>[^:]+):(?P<rest>[^:]*)\Z")
_PLACE = re.compile(r"\$([0-9]+)")

_Modules = dict[str, list[str]]


def parse(text: str) -> tuple[Network, ...]:
    r"""Read networks from text.

    Parameters
    ----------
    text : str
        Modules and networks in the grammar above.

    Returns
    -------
    tuple of Network
        In the order of the text.

    Raises
    ------
    ValueError
        If a line breaks the grammar, or layers do not fit together.

    Examples
    --------
    >>> (net,) = parse("tiny: c1 h8\n  conv1 k4 r3 p1, pool1 r2\n  fc2 k10 linear")
    >>> [layer.name for layer in net.layers], net.output
    (['conv1', 'pool1', 'fc2'], (10,))
    """
    modules: _Modules = {}
    networks: list[Network] = []
    for names, rest, body in _blocks(text):
        if names[0] == "module":
            if len(names) != 2 or rest or names[1] in _KINDS or not names[1].isalpha():
                raise ValueError(f"a module has one new name of letters, not {' '.join(names[1:])!r}")
            modules[names[1]] = body
        else:
            sizes = _sizes(names[0], rest)
            layers = tuple(layer for line in body for layer in _chain(line, modules))
            networks.append(Network(names[0], sizes, layers, tuple(names[1:])))
    return tuple(networks)


def _blocks(text: str) -> Iterator[tuple[list[str], list[str], list[str]]]:
    """Each header's names and tokens, with the lines below it."""
    block: tuple[list[str], list[str], list[str]] | None = None
    for number, full in enumerate(text.splitlines(), 1):
        line = full.partition("#")[0].rstrip()
        if not line:
            continue
        if not line[0].isspace():
            header = _HEADER.match(line)
            if not header:
                raise ValueError(f"line {number}: a network begins with its names and a colon, not {line!r}")
            if block:
                yield block
            block = header["names"].split(), header["rest"].split(), []
        elif block is None:
            raise ValueError(f"line {number}: {line.strip()!r} belongs to no network")
        else:
            block[2].append(line.strip())
    if block:
        yield block


def _sizes(name: str, tokens: list[str]) -> tuple[int, int, int]:
    sizes = dict(_token(name, token) for token in tokens)
    sizes.setdefault("w", sizes.get("h"))
    if set(sizes) != {"c", "h", "w"} or not all(type(size) is int for size in sizes.values()):
        raise ValueError(f"{name}: the input is c, h and perhaps w, not {' '.join(tokens)!r}")
    return sizes["c"], sizes["h"], sizes["w"]


def _token(name: str, token: str) -> tuple[str, Any]:
    """Key and value; a flag's is True."""
    match = _TOKEN.match(token)
    if not match:
        raise ValueError(f"{name}: {token!r} is not letters and a number")
    key, number = match.groups()
    return key, (int(number) if number.isdigit() else float(number)) if number else True


def _chain(line: str, modules: _Modules, prefix: str = "") -> Iterator[Layer]:
    for item in line.split(","):
        words = item.split()
        match = _NAME.match(words[0]) if words else None
        if not match:
            raise ValueError(f"a layer begins with a name, not {item.strip()!r}")
        name, tokens = prefix + words[0], words[1:]
        if match[1] in modules:
            yield _module(name, tokens, modules[match[1]], modules)
        elif match[1] in _KINDS:
            yield _layer(name, _KINDS[match[1]], tokens)
        else:
            raise ValueError(f"{name}: no layer and no module is called {match[1]!r}")


def _layer(name: str, kind: type[Layer], tokens: list[str]) -> Layer:
    values: dict[str, Any] = {}
    known = {field.name: field for field in fields(kind) if field.name != "name"}
    for token in tokens:
        key, value = _token(name, token)
        if key not in known or key in values:
            raise ValueError(f"{name}: {token!r} is {'twice' if key in values else 'not a token of its kind'}")
        is_flag, is_real = known[key].type == "bool", known[key].type == "float"
        if (value is True) != is_flag or (isinstance(value, float) and not is_real):
            raise ValueError(f"{name}: {token!r} has the wrong value")
        values[key] = value
    missing = [key for key, field in known.items() if field.default is MISSING and key not in values]
    if missing:
        raise ValueError(f"{name}: {', '.join(missing)} is missing")
    return kind(name, **values)


def _module(name: str, numbers: list[str], body: list[str], modules: _Modules) -> Branches:
    """Branches with the numbers in the module's places; the names of their layers begin with its own."""
    places = {int(place) for line in body for place in _PLACE.findall(line)}
    if places != set(range(1, len(numbers) + 1)):
        raise ValueError(f"{name}: its module takes {len(places)} numbers, not {len(numbers)}")
    lines = [_PLACE.sub(lambda place: numbers[int(place[1]) - 1], line) for line in body]
    return Branches(name, tuple(tuple(_chain(line, modules, f"{name}.")) for line in lines))
