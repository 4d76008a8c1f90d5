"""``python -m fastconv``: the parser; every command is a module of `fastconv.cli`."""

import argparse
import sys
from collections.abc import Sequence

from fastconv.cli import bench, info, ladder, net


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m fastconv``.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process by default.

    Returns
    -------
    int
        Exit status: 0, or 1 if a command failed. A wrong argument exits with 2, as `argparse` does.
    """
    parser = argparse.ArgumentParser(
        prog="python -m fastconv",
        description="Convolution and pooling on the CPU. Without a command: what is installed.",
    )
    commands = parser.add_subparsers(title="commands", metavar="command")
    info.add_command(commands)
    bench.add_command(commands)
    net.add_command(commands)
    ladder.add_command(commands)
    parser.set_defaults(run=info.run)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
