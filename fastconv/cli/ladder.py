"""``python -m fastconv ladder``: the teaching kernels, from seven loops in Python to the product."""

import argparse
import json
import sys
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING

import fastconv
from fastconv.cli.arguments import positive_float, positive_int
from fastconv.cli.problems import Problem, parse_line
from fastconv.ladder import FAMILIES, Family, Step

if TYPE_CHECKING:
    from rich.console import Console

    from fastconv.cli.ladder_report import Row

__all__ = ["Selection", "add_command", "run"]

_PLAIN_WIDTH = 150  # columns where the output is not a terminal
_NARROW_WIDTH = 110
_STANDARD_OUTPUT = "-"
_LEXERS = {"py": "python", "pyx": "cython", "c": "c"}

_DESCRIPTION = """\
Runs the steps of a ladder on one problem, checks each against the reference, times it, and places it on the roofline,
whose peak and bandwidths are measured in the run. With --show or --diff: sources instead. docs/ladder.md explains them.
"""


@dataclass(frozen=True)
class Selection:
    """Numbers of steps, as in ``0,2-4,9-``; `last` is None where it is open."""

    ranges: tuple[tuple[int, int | None], ...]

    @classmethod
    def parse(cls, text: str) -> "Selection":
        """Parse the value of ``--steps``; `ValueError` if it is not numbers and ranges."""
        ranges: list[tuple[int, int | None]] = []
        for part in text.split(","):
            first, dash, last = part.partition("-")
            end = int(last) if last else None if dash else int(first)
            if end is not None and end < int(first):
                raise ValueError(f"{part} is empty")
            ranges.append((int(first), end))
        return cls(tuple(ranges))

    def of(self, family: Family) -> list[Step]:
        """Give the steps of a ladder, in its order; `LookupError` for a number that it does not have."""
        chosen: set[int] = set()
        for first, last in self.ranges:
            end = len(family.steps) - 1 if last is None else last
            chosen |= {family[first].number, family[end].number, *range(first, end)}
        return [family[number] for number in sorted(chosen)]


def _selection(text: str) -> Selection:
    try:
        return Selection.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"numbers and ranges such as 0,2-4,9-, got {text!r}") from None


def _problem(text: str) -> Problem:
    try:
        problem = parse_line(text if ":" in text else f"ladder: {text}")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if problem is None:
        raise argparse.ArgumentTypeError("is empty")
    return problem


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``ladder`` and its options to the parser of ``python -m fastconv``."""
    parser = commands.add_parser("ladder", help="walk the teaching kernels, step by step", description=_DESCRIPTION)
    parser.add_argument("--family", choices=FAMILIES, default="conv", help="which ladder; default conv")
    parser.add_argument(
        "--problem",
        type=_problem,
        metavar="LINE",
        help="sizes, as in 'c64 h28 k64 r3 p1': stride u v, padding p q; a pool does not use its k",
    )
    parser.add_argument("--steps", type=_selection, metavar="LIST", help="as in 0,2-4,9-; default all")
    parser.add_argument("--threads", type=positive_int, metavar="N", help="threads of the steps that take several")
    parser.add_argument(
        "--seconds", type=positive_float, default=0.5, metavar="S", help="time budget of a step; default 0.5"
    )
    parser.add_argument("--show", type=int, metavar="STEP", help="print the source of a step")
    parser.add_argument("--diff", type=int, nargs=2, metavar="STEP", help="print what changes from a step to another")
    parser.add_argument(
        "--json",
        nargs="?",
        const=_STANDARD_OUTPUT,
        metavar="FILE",
        help="write what was measured to FILE; without one print it in place of the table",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw rates and roofline to FILE, a .png or .svg")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; 1 if a step is unknown or wrong, a file cannot be written, or a package is missing."""
    family = FAMILIES[arguments.family]
    try:
        if arguments.show is not None:
            step = family[arguments.show]
            _print_source(step.text, _LEXERS[step.source.rpartition(".")[2]])
            return 0
        if arguments.diff is not None:
            _print_source(_diff(*(family[number] for number in arguments.diff)), "diff")
            return 0
        return _measure_and_report(arguments, family)
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
    except ImportError as error:
        print(f"ladder needs {error.name}: pip install 'fastconv[bench,plot]'", file=sys.stderr)
    except OSError as error:
        print(f"cannot write {error.filename}: {error.strerror}", file=sys.stderr)
    except ArithmeticError as error:
        print(f"wrong result: {error}", file=sys.stderr)
    return 1


def _diff(before: Step, after: Step) -> str:
    lines = unified_diff(
        before.text.splitlines(keepends=True), after.text.splitlines(keepends=True), before.source, after.source
    )
    return "".join(lines)


def _print_source(text: str, lexer: str) -> None:
    """Print a source, in colours on a terminal if rich is there."""
    if sys.stdout.isatty():
        try:
            from rich.console import Console
            from rich.syntax import Syntax
        except ImportError:
            pass
        else:
            Console().print(Syntax(text, lexer, theme="ansi_dark", background_color="default"))
            return
    print(text, end="")


def _measure_and_report(arguments: argparse.Namespace, family: Family) -> int:
    from rich.console import Console

    from fastconv.cli import ladder_report

    d: Problem = arguments.problem or _problem(family.problem)
    steps = family.steps if arguments.steps is None else arguments.steps.of(family)
    threads = arguments.threads or fastconv.get_num_threads()
    to_file = arguments.json not in (None, _STANDARD_OUTPUT)
    if to_file:
        Path(arguments.json).touch()  # before the long run, not after it
    if arguments.plot is not None:
        from fastconv.cli import ladder_plot

        ladder_plot.check(arguments.plot)
    console = Console(highlight=False, stderr=arguments.json == _STANDARD_OUTPUT)
    if not console.is_terminal:
        console.width = max(console.width, _PLAIN_WIDTH)
    rows = _measure_all(steps, d, threads, arguments.seconds, console)
    run = ladder_report.Run(family, d, threads, rows)
    if arguments.json is not None:
        text = json.dumps(run.as_json(), indent=2) + "\n"
        if to_file:
            Path(arguments.json).write_text(text, encoding="utf-8")
        else:
            print(text, end="")
    if arguments.json != _STANDARD_OUTPUT:
        console.print(run.table(narrow=console.width < _NARROW_WIDTH))
        for line in run.notes():
            console.print(line)
    if arguments.plot is not None:
        ladder_plot.draw(run, arguments.plot)
    return 0


def _measure_all(
    steps: "tuple[Step, ...] | list[Step]", d: Problem, threads: int, seconds: float, console: "Console"
) -> "list[Row]":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from fastconv.cli.ladder_report import measure_row

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    rows = []
    # The bar is drawn between steps only: a refreshing thread would take time from them.
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=len(steps))
        for step in steps:
            progress.update(task, description=step.title, refresh=True)
            rows.append(measure_row(step, d, threads, seconds))
            progress.advance(task)
    return rows
