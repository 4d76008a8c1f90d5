"""Lets atheris choose the calls: ``python tests/fuzz --atheris -max_total_time=300`` comes here.

It begins with the inputs of ``inputs.txt``, a line of hexadecimal digits each, which the suite replays without atheris.
An input that fails, crashes or hangs is added to them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from limits import limit_memory

INPUTS = Path(__file__).with_name("inputs.txt")
AT_WORK = "FASTCONV_FUZZ_AT_WORK"  # names the file that holds the input at work


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
        # Memory is limited by limit_memory(), where to run out of it is an error that the package has to report; time
        # by check(), which ends the process before libFuzzer writes down its input.
        options = ["-rss_limit_mb=0", "-timeout=600", "-report_slow_units=60", f"-artifact_prefix={failures}/"]
        at_work = Path(scratch, "at_work")
        command = [sys.executable, __file__, *options, *arguments, str(corpus)]
        status = subprocess.run(command, env={**os.environ, AT_WORK: str(at_work)}).returncode
        failed = [path.read_bytes() for path in failures.iterdir() if not path.name.startswith("slow-unit")]
        if status and not failed:
            failed = [at_work.read_bytes()]
    keep(failed)
    return status or len(failed) > 0


def serve() -> None:
    """Be the process that libFuzzer runs in."""
    import atheris

    with atheris.instrument_imports(include=["fastconv"]):
        from calls import check, draw
        from source import Bytes
    limit_memory()
    at_work = Path(os.environ[AT_WORK])

    def run(data: bytes) -> None:
        at_work.write_bytes(data)
        check(draw(Bytes(data)))

    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    serve()
