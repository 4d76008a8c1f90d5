"""Fuzzes every public operator: ``python tests/fuzz --calls 100000``.

Calls run in worker processes of their own, one seed each, so that a crash or a hang costs a worker and names its seed.
Seeds that failed are kept in ``seeds.txt``, and the suite replays them. ``--atheris`` lets atheris (the extra ``fuzz``)
choose instead, see ``by_coverage.py``; what follows then goes to libFuzzer.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import by_coverage
from calls import check, draw
from limits import limit_memory
from source import Seeded

SEEDS = Path(__file__).with_name("seeds.txt")
BATCH = 1000


def work(first: int, count: int) -> None:
    """Run the calls of some seeds, and say how many computed; the seed at work is always on the screen."""
    limit_memory()
    computed = 0
    for seed in range(first, first + count):
        print(f"seed {seed}", flush=True)
        computed += check(draw(Seeded(seed)))
    print(f"computed {computed}")


def keep(seed: int) -> None:
    """Add a seed to those that the suite replays."""
    seeds = {int(line) for line in SEEDS.read_text().split()} | {seed} if SEEDS.exists() else {seed}
    SEEDS.write_text("".join(f"{seed}\n" for seed in sorted(seeds)))


def fuzz(first: int, calls: int, seconds: float) -> int:
    """Run calls in workers, and return the number of seeds that failed."""
    begin, computed, failures, seed = time.monotonic(), 0, 0, first
    while seed < first + calls and time.monotonic() - begin < seconds:
        count = min(BATCH, first + calls - seed)
        worker = [sys.executable, "-X", "faulthandler", __file__, "--work", str(seed), str(count)]
        done = subprocess.run(worker, capture_output=True, text=True)
        *_, last = done.stdout.splitlines() or ["seed -"]
        word, value = last.split()
        if done.returncode == 0 and word == "computed":
            computed, seed = computed + int(value), seed + count
            continue
        if value == "-":
            raise RuntimeError(f"the worker did not begin:\n{done.stderr}")
        failures += 1
        keep(int(value))
        print(f"seed {value} failed with status {done.returncode}:\n{done.stderr[-3000:]}", flush=True)
        seed = int(value) + 1
    print(f"{seed - first} calls, seeds {first} to {seed - 1}: {computed} computed in batches without a failure, "
          f"{failures} failed, {time.monotonic() - begin:.0f} s")  # fmt: skip
    return failures


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--atheris", action="store_true")
    parser.add_argument("--work", type=int, nargs=2, help=argparse.SUPPRESS)
    chosen, rest = parser.parse_known_args()
    if chosen.work:
        work(*chosen.work)
        return 0
    if chosen.atheris:
        return by_coverage.fuzz(rest)
    return 1 if fuzz(chosen.first, chosen.calls, chosen.seconds) else 0


if __name__ == "__main__":
    sys.exit(main())
