"""``python -m fastconv`` and ``python -m fastconv info``: what is installed."""

import argparse

import fastconv

__all__ = ["add_command", "run"]


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``info`` to the parser of ``python -m fastconv``."""
    parser = commands.add_parser("info", help="what is installed")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the version, compiler, instruction sets and threads."""
    fastconv.show_config()
    return 0
