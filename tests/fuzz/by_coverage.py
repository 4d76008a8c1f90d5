"""Lets atheris choose the calls: ``python tests/fuzz --atheris -max_total_time=300`` comes here.

It begins with the inputs of ``inputs.txt``, a line of hexadecimal digits each, which the suite replays without atheris.
An input that fails, crashes or hangs is added to them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from limits import limit_memory

INPUTS = Path(__file__).with_name("inputs.txt")


def read_inputs() -> list[bytes]:
    """Return the inputs that were kept."""
    return [bytes.fromhex(line) for line in INPUTS.read_text().split()]


def keep(inputs: list[bytes]) -> None:
    """Add inputs to those that are kept."""
    INPUTS.write_text("".join(f"{data.hex()}\n" for data in dict.fromkeys([*read_inputs(), *inputs])))


def fuzz(arguments: list[str]) -> int:
    """Run libFuzzer with these arguments of its own in a process that may die, and return its status."""
    with tempfile.TemporaryDirectory() as scratch:
        corpus, failures = Path(scratch, "corpus"), Path(scratch, "failures")
        corpus.mkdir()
        failures.mkdir()
        for number, data in enumerate(read_inputs()):
            (corpus / str(number)).write_bytes(data)
        # Memory is limited by limit_memory(), where to run out of it is an error that the package has to report. Time
        # is up for libFuzzer, which writes down the input, before it is for check().
        options = ["-rss_limit_mb=0", "-timeout=50", "-report_slow_units=50", f"-artifact_prefix={failures}/"]
        status = subprocess.run([sys.executable, __file__, *options, *arguments, str(corpus)]).returncode
        failed = [path.read_bytes() for path in failures.iterdir() if not path.name.startswith("slow-unit")]
    keep(failed)
    return status or len(failed) > 0


def serve() -> None:
    """Be the process that libFuzzer runs in."""
    import atheris

    with atheris.instrument_imports(include=["fastconv"]):
        from calls import check, draw
        from source import Bytes
    limit_memory()
    atheris.Setup(sys.argv, lambda data: check(draw(Bytes(data))))
    atheris.Fuzz()


if __name__ == "__main__":
    serve()
