"""A peer's process: ``python -m fastconv.cli.peers.worker FD``, one end of a pipe that `PeerProcess` holds.

It receives first how to make layers (the adapter's module, its variant, the threads), then jobs, and ``None`` for a
turn of calls. It answers a job with its results, a turn with the time of the best call, both with an error's text.
"""

import gc
import os
import sys
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from fastconv.cli.jobs import Job
from fastconv.cli.peers.interface import Prepared, Refused
from fastconv.cli.timing import turn

__all__ = ["main"]


def main(descriptor: int) -> None:
    """Serve until the other end is closed."""
    # A stopped process whose parent dies is ended by the system only if it leads a group of its own.
    os.setpgrp()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # engines chatter
    gc.disable()
    connection: Connection[Any, Any] = Connection(descriptor)
    prepared: Prepared | None = None
    try:
        adapter, variant, threads = connection.recv()
        prepare = import_module(adapter).prepare
        if variant:
            prepare = partial(prepare, variant=variant)
        while True:
            job: Job | None = connection.recv()
            if job is not None:
                prepared = None  # frees the last layer before the next one is made
                gc.collect()
            try:
                if job is None:
                    assert prepared is not None
                    connection.send(("time", turn(prepared.call)))
                else:
                    prepared = prepare(job, threads)
                    connection.send(("results", prepared.results(prepared.call())))
            except Refused as refusal:
                connection.send(("refused", str(refusal)))
            except Exception as error:
                connection.send(("refused", f"{type(error).__name__}: {error}"))
    except EOFError:
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]))
