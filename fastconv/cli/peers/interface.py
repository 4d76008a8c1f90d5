"""What a peer is to the benchmarks, and what it makes of a job."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from fastconv.cli.jobs import Array

__all__ = ["Peer", "Prepared", "Refused"]


class Refused(Exception):
    """The peer does not serve a job; the message says why."""


@dataclass(frozen=True)
class Prepared:
    """A layer that is ready to run: `call` computes, `results` turns what it returned into arrays, NCHW.

    `keep` holds what the engine reads but does not own.
    """

    call: Callable[[], object]
    results: Callable[[object], tuple[Array, ...]]
    keep: object = None


@dataclass(frozen=True)
class Peer:
    """An engine and how to reach it.

    Parameters
    ----------
    name : str
        What tables and options call it.
    adapter : str
        Module that has its ``prepare``.
    distributions : tuple of str
        What pip installs for it; the first gives the version.
    modules : tuple of str
        What must be there to be imported.
    variant : str
        Passed to ``prepare`` where one engine makes several peers.
    caps : dict of str to dict
        Environment variables that hold it to an instruction set of fastconv's, by its name; one that is not here
        cannot be held to.
    """

    name: str
    adapter: str
    distributions: tuple[str, ...]
    modules: tuple[str, ...]
    variant: str = ""
    caps: dict[str, dict[str, str]] = field(default_factory=dict)

    def is_installed(self) -> bool:
        """Whether everything that it needs can be imported; nothing is."""
        return all(find_spec(module) is not None for module in self.modules)

    def version(self) -> str:
        """Version of its first distribution."""
        try:
            return version(self.distributions[0])
        except PackageNotFoundError:
            return "unknown"
