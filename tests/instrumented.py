"""Builds an instrumented core beside the plain one, and runs tests in it.

``python tests/instrumented.py address,undefined`` runs the part of the suite that walks every kernel under
AddressSanitizer and UndefinedBehaviorSanitizer, ``thread`` what runs in parallel under ThreadSanitizer, ``valgrind`` a
small part under memcheck, and ``coverage`` counts the lines of C that a part of the suite runs. What follows goes to
pytest in the place of the kind's own selection. Needs gcc on Linux, and the packages of the extra ``test``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent


class Kind(NamedTuple):
    """How one kind of instrumentation is built and run."""

    sanitize: str
    preload: str
    environment: dict[str, str]
    selection: list[str]
    command: tuple[str, ...] = ()


REPORT = "valgrind.log"  # in the build's folder
# Winograd's weight gradient of more than a thread transforms for itself, which small problems do not reach.
SHARED = [
    "test_winograd.py::test_bits_do_not_depend_on_threads[avx2-float32-NCHW-shared_weights-F(4x4,3x3)]",
    "test_winograd.py::test_a_weight_gradient_of_many_tiles_and_weights",
]

# No report is suppressed. What the interpreter, NumPy and libgomp do among themselves is left out: they are not
# instrumented, and keep memory to the end. Leaks of ours are for tests/test_memory.py, which counts our blocks.
KINDS = {
    "address,undefined": Kind(
        "address,undefined",
        "libasan.so",
        {
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=4096",
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "OMP_NUM_THREADS": "4",
        },
        ["test_properties.py", "test_fuzz.py", "test_plan.py", "test_lrn.py", "test_ladder.py",
         "test_depthwise_turned.py", "test_few_filters.py", "test_transposed.py", *SHARED],
    ),
    "thread": Kind(
        "thread",
        "libtsan.so",
        {"TSAN_OPTIONS": "halt_on_error=1:report_signal_unsafe=0:ignore_noninstrumented_modules=1",
         "OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "1"},
        ["test_threads.py", "test_process.py", "-k", "python_threads or one_layer or pools and avx2 and float32"],
        ("setarch", platform.machine(), "-R"),
    ),
    "valgrind": Kind(
        "",
        "",
        {"PYTHONMALLOC": "malloc", "FASTCONV_ISA": "avx2", "OMP_NUM_THREADS": "2"},
        ["test_plan.py", "-k", "pickle or copy or thread"],
        ("valgrind", "--quiet", "--leak-check=no", f"--log-file={REPORT}"),
    ),
    "coverage": Kind(
        "coverage",
        "",
        {},
        ["test_algorithms.py", "test_config.py", "test_core.py", "test_depthwise.py", "test_depthwise_turned.py",
         "test_errors.py", "test_few_filters.py", "test_fork.py", "test_ladder.py", "test_lrn.py", "test_memory.py",
         "test_outputs.py", "test_phase_clock.py", "test_plan.py",
         "test_pool_strips.py", "test_properties.py", "test_transposed.py", "test_winograd_nonfinite.py",
         "test_winograd_transforms.py",
         "test_winograd.py::test_strided_gradients_whose_phases_are_3x3",
         "test_winograd.py::test_held_filters_that_no_cache_keeps", *SHARED],
    ),
}  # fmt: skip


def build(kind: Kind, folder: Path) -> Path:
    """Build the package into a folder, and return the one to import from."""
    environment = {**os.environ, "FASTCONV_SANITIZE": kind.sanitize, "CC": "gcc"}
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(folder)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    (library,) = folder.glob("lib.*")
    return library


def run(kind: Kind, library: Path, arguments: list[str]) -> int:
    """Run pytest on the instrumented build."""
    environment = {**os.environ, **kind.environment, "PYTHONPATH": str(library)}
    if kind.preload:
        found = subprocess.run(["gcc", f"-print-file-name={kind.preload}"], check=True, capture_output=True, text=True)
        environment["LD_PRELOAD"] = found.stdout.strip()
    selection = [str(TESTS / word) if ".py" in word else word for word in arguments or kind.selection]
    if not any(word.startswith(str(TESTS)) for word in selection):
        selection.insert(0, str(TESTS))
    pytest = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-s"]
    # From the build's folder: Python looks in the current one first, and the checkout has the plain module.
    report = library / REPORT
    report.unlink(missing_ok=True)
    status = subprocess.run([*kind.command, *pytest, *selection], cwd=library, env=environment).returncode
    # CPython's own reads of what it has not written are reported too: ours have a frame of the core.
    ours = [error for error in report.read_text().split("== \n") if "_core." in error] if report.exists() else []
    print(*ours, sep="\n", end="")
    return status or len(ours) > 0


def count_lines(folder: Path) -> dict[str, dict[int, int]]:
    """Return, for each C source and header, how often each line ran in any instruction set and dtype."""
    counts: dict[str, dict[int, int]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for notes in folder.rglob("*.gcda"):
            subprocess.run(["gcov", "--json-format", str(notes)], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
            for report in Path(scratch).glob("*.gcov.json.gz"):
                for file in json.loads(gzip.decompress(report.read_bytes()))["files"]:
                    lines = counts.setdefault(file["file"], {})
                    for line in file["lines"]:
                        number = line["line_number"]
                        lines[number] = lines.get(number, 0) + line["count"]
                report.unlink()
    return {name: lines for name, lines in counts.items() if name.startswith("src/") and "core" not in name}


def show_coverage(folder: Path) -> None:
    """Print the share of lines run in each file, and the lines that were not."""
    total = ran = 0
    for name, lines in sorted(count_lines(folder).items()):
        missed = sorted(number for number, count in lines.items() if count == 0)
        total, ran = total + len(lines), ran + len(lines) - len(missed)
        print(f"{name:32} {len(lines):5} {1 - len(missed) / len(lines):7.1%}  {', '.join(map(str, missed))}")
    print(f"{'C sources':32} {total:5} {ran / total:7.1%}")


def main() -> int:
    """Build, run and clean up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--keep", metavar="FOLDER", help="leave the build there, and take one that is there")
    chosen, arguments = parser.parse_known_args()
    kind = KINDS[chosen.kind]
    folder = Path(chosen.keep or tempfile.mkdtemp()).resolve()
    try:
        library = next(iter(folder.glob("lib.*")), None) or build(kind, folder)
        status = run(kind, library, arguments)
        if chosen.kind == "coverage":
            show_coverage(folder)
    finally:
        if not chosen.keep:
            shutil.rmtree(folder)
    return status


if __name__ == "__main__":
    sys.exit(main())
