"""Names of a client's modules that stand for fastconv's operators as long as anyone wants it."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from types import ModuleType, TracebackType

__all__ = ["Patch", "Replacements"]


class Replacements:
    """What stands in for which names of a client's modules, and how many patches ask for it.

    Counting makes the order in which patches are undone of no account: the first puts the replacements in place, the
    last takes them out.
    """

    def __init__(self, replacements: Sequence[tuple[ModuleType, str, object]]) -> None:
        self._replacements = tuple(replacements)
        self._originals: list[object] = []
        self._users = 0
        self._lock = Lock()

    def acquire(self) -> None:
        """Put the replacements in place, or keep them there for one user more."""
        with self._lock:
            if self._users == 0:
                self._originals = [getattr(module, name) for module, name, _ in self._replacements]
                for module, name, new in self._replacements:
                    setattr(module, name, new)
            self._users += 1

    def release(self) -> None:
        """Give the names back to the client if no one else uses the replacements."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for (module, name, _), original in zip(self._replacements, self._originals, strict=True):
                    setattr(module, name, original)


class Patch:
    """A client that computes with fastconv, from construction to `undo` or the end of a ``with`` block.

    Patches may overlap in any order; the client's own operators are back when the last one is undone.
    """

    def __init__(self, replacements: Replacements) -> None:
        self._replacements = replacements
        self._in_place = True
        replacements.acquire()

    def undo(self) -> None:
        """Take this patch out; a second call does nothing."""
        if self._in_place:
            self._in_place = False
            self._replacements.release()

    def __enter__(self) -> Patch:
        """Return the patch, which has been in place since it was made."""
        if not self._in_place:
            raise RuntimeError("this patch has been undone; make another one")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the patch out, after an exception too."""
        self.undo()
