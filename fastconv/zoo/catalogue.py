"""The networks that come with fastconv: the text files of ``networks/``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastconv.zoo.grammar import parse
from fastconv.zoo.kinds import Network

__all__ = ["names", "network", "resolved"]


@cache
def _networks() -> dict[str, Network]:
    folder = files("fastconv.zoo").joinpath("networks")
    texts = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.name.endswith(".txt")}
    return {net.name: net for _, text in sorted(texts.items()) for net in parse(text)}


def names() -> tuple[str, ...]:
    """Names of the networks, without their aliases.

    Examples
    --------
    >>> names()[:3]
    ('alexnet', 'alexnet-grouped', 'alphago')
    """
    return tuple(_networks())


def network(name: str) -> Network:
    """Return a network by its name or an alias, in upper or lower case.

    Parameters
    ----------
    name : str
        One of `names`, or an alias such as "vgg16".

    Returns
    -------
    Network
        The data of the network.

    Raises
    ------
    ValueError
        If there is no such network; the message lists those there are.

    Examples
    --------
    >>> network("VGG16").name
    'vgg-d'
    """
    networks = _networks()
    wanted = name.lower()
    for net in networks.values():
        if wanted in (net.name, *net.aliases):
            return net
    known = ", ".join(" = ".join((net.name, *net.aliases)) for net in networks.values())
    raise ValueError(f"no network is called {name!r}; there are {known}")


def resolved(net: Network | str) -> Network:
    """Return the network itself, looked up if it is a name."""
    return network(net) if isinstance(net, str) else net
