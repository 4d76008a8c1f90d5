"""Times each client's own step, as its users write it, with its own operators and with fastconv's.

    python benchmarks/clients.py
    python benchmarks/clients.py --client mygrad --seconds 20

Candidates take turns and the best call of each counts. They start from the same parameters, and before they are timed
their first three losses, or outputs, must agree. The third candidate is fastconv with NumPy's BLAS on one thread: the
second one's idle threads spin on the cores after each product. A client that is not installed is left out.
"""

import argparse
import sys

import numpy as np
from client_steps import CLIENTS
from rich.box import MARKDOWN
from rich.console import Console
from rich.progress import track
from rich.table import Table
from threadpoolctl import threadpool_limits

from fastconv import get_num_threads
from fastconv.cli.machine import cpu_name
from fastconv.cli.timing import best_times, turn

STOCK, OURS, SERIAL_BLAS = "its own", "fastconv", "fastconv, BLAS on 1 thread"
WIDTH = 160
ROUNDS = 1000  # at most; the time is up before
STEPS = 3  # that must agree


def measure(name: str, seconds: float) -> dict[str, float]:
    """Return the best times of a client's own step and of that with fastconv, in seconds."""
    client = CLIENTS[name]
    stock, ours = client.build(client.images)
    for _ in range(STEPS):
        np.testing.assert_allclose(ours(), stock(), rtol=1e-4, atol=1e-4)

    def serial_blas() -> float:
        with threadpool_limits(1, "blas"):
            return turn(ours)

    # Groups of one: each starts when the threads of the one before are asleep.
    groups = [{STOCK: lambda: turn(stock)}, {OURS: lambda: turn(ours)}, {SERIAL_BLAS: serial_blas}]
    return best_times(groups, rounds=ROUNDS, seconds=seconds)


def main() -> int:
    """Time the clients that are asked for, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", choices=CLIENTS, action="append", help="one client; may be given several times")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each client (default: %(default)s)")
    options = parser.parse_args()

    table = Table(box=MARKDOWN)
    for heading in ("client", "step"):
        table.add_column(heading, no_wrap=True)
    for heading in ("images", f"{STOCK}, ms", f"{OURS}, ms", "times", f"{SERIAL_BLAS}, ms", "times"):
        table.add_column(heading, justify="right", no_wrap=True)
    left_out = []
    for name in track(options.client or list(CLIENTS), "Timing", console=Console(stderr=True)):
        try:
            times = measure(name, options.seconds)
        except ModuleNotFoundError as error:
            left_out.append(f"{name} is left out: {error}")
            continue
        client = CLIENTS[name]
        cells = [f"{1e3 * times[STOCK]:.1f}"]
        for candidate in (OURS, SERIAL_BLAS):
            cells += [f"{1e3 * times[candidate]:.1f}", f"{times[STOCK] / times[candidate]:.1f}"]
        table.add_row(name, client.does, str(client.images), *cells)
    console = Console(width=WIDTH, highlight=False, markup=False)
    console.print(f"{cpu_name()}, {get_num_threads()} threads, NumPy {np.__version__}")
    console.print(table)
    for line in left_out:
        console.print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
