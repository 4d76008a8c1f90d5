"""Names of a client's module that stand for something else for a while."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from types import ModuleType, TracebackType

__all__ = ["Patch", "Swap"]


class Swap:
    """Replacements for names of modules, put in by the first of its patches and taken out with the last.

    Parameters
    ----------
    replacements : mapping of module to a mapping of str to object
        What each name stands for while a patch is in.
    """

    def __init__(self, replacements: Mapping[ModuleType, Mapping[str, object]]) -> None:
        self._replacements = replacements
        self._originals: list[tuple[ModuleType, str, object]] = []
        self._patches = 0
        self._lock = Lock()

    def add(self) -> None:
        """Count one more patch."""
        with self._lock:
            if self._patches == 0:
                for module, names in self._replacements.items():
                    for name, replacement in names.items():
                        self._originals.append((module, name, getattr(module, name)))
                        setattr(module, name, replacement)
            self._patches += 1

    def drop(self) -> None:
        """Count one patch less."""
        with self._lock:
            self._patches -= 1
            if self._patches == 0:
                while self._originals:
                    setattr(*self._originals.pop())


class Patch:
    """One patch of a client: in from its creation until `undo`, or the end of its ``with`` block."""

    def __init__(self, swap: Swap) -> None:
        self._swap = swap
        self._active = False
        self.__enter__()

    def __enter__(self) -> Patch:
        """Put the replacements in, if they are not; a patch can be used again."""
        if not self._active:
            self._swap.add()
            self._active = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the replacements out."""
        self.undo()

    def undo(self) -> None:
        """Take the replacements out, unless another patch needs them; once is enough."""
        if self._active:
            self._active = False
            self._swap.drop()
