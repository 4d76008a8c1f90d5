"""The steps as data: what each is called, its one idea, its source, and where the roofline places it."""

from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

__all__ = ["FAMILIES", "Family", "Step"]

_PACKAGE = files("fastconv.ladder")
_CHECKOUT = Path(__file__).parents[2] / "src" / "ladder"


@dataclass(frozen=True)
class Step:
    """One step of a ladder.

    Attributes
    ----------
    source : str
        Name of its file. Python's and Cython's take ``(x, w, d)`` and ``(x, w, y, d)``, those in C a `ladder_step`.
    title, idea : str
        A name of two words, and what the step adds to the one before.
    bound : str
        What keeps it from being faster.
    loads : str
        What the innermost loop moves between L1 and registers for each multiply-add: ``"dot"`` an element of x and of
        w, ``"update"`` one of x, and one of y there and back, ``"row"`` vectors of B for one row of A, ``"tile"`` for
        a tile of rows; ``"tap"`` what a pool moves for each comparison; empty where it is not known.
    matrix : bool
        Whether the matrix of windows is written to memory and read again.
    parallel : bool
        Whether it takes all threads.
    """

    source: str
    title: str
    idea: str
    bound: str
    loads: str = ""
    matrix: bool = False
    parallel: bool = False

    @property
    def name(self) -> str:
        """Name of the file without its ending: ``conv_05_blocks``."""
        return self.source.partition(".")[0]

    @property
    def number(self) -> int:
        """Place on its ladder, from 0."""
        return int(self.name.split("_")[1])

    @property
    def text(self) -> str:
        """The source, as it is installed."""
        return _file(self.source).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Family:
    """A ladder: its steps from the plainest to the fastest, and the problem that it runs by default.

    Each element of a window takes `flops` operations, which `unit` counts: a product and a sum, or a comparison.
    """

    name: str
    title: str
    problem: str
    unit: str
    flops: int
    steps: tuple[Step, ...]

    def __getitem__(self, number: int) -> Step:
        """Give the step of a number; `LookupError` if there is none."""
        if not 0 <= number < len(self.steps):
            raise LookupError(f"{self.name} has steps 0 to {len(self.steps) - 1}, not {number}")
        return self.steps[number]


def _file(name: str) -> Traversable:
    if name.endswith(".py"):
        return _PACKAGE / name
    installed = _PACKAGE / "sources" / name  # a wheel has src/ladder here, see pyproject.toml
    return installed if installed.is_file() else _CHECKOUT / name


_CONV = (
    Step(
        "conv_00_python.py",
        "Python",
        "seven loops",
        "the interpreter",
        "dot",
    ),
    Step(
        "conv_01_numpy.py",
        "NumPy",
        "one call over all windows",
        "loops of a few elements",
        "dot",
    ),
    Step(
        "conv_02_cython.pyx",
        "Cython",
        "the seven loops, compiled",
        "latency: one sum",
        "dot",
    ),
    Step(
        "conv_03_order.c",
        "loop order",
        "a row of the output innermost",
        "L1: two loads and a store",
        "update",
    ),
    Step(
        "conv_04_im2col.c",
        "im2col + BLAS",
        "windows as columns of a matrix",
        "memory: the matrix",
        "",
        matrix=True,
    ),
    Step(
        "conv_05_blocks.c",
        "own product",
        "blocks that stay in L2",
        "L1: two loads and a store",
        "update",
        matrix=True,
    ),
    Step(
        "conv_06_packing.c",
        "packing",
        "data in the order of reading",
        "narrow vectors",
        "row",
        matrix=True,
    ),
    Step(
        "conv_07_vectors.c",
        "vectors",
        "a row in wide registers",
        "latency: two sums",
        "row",
        matrix=True,
    ),
    Step(
        "conv_08_tile.c",
        "register tile",
        "a whole tile in registers",
        "memory: the matrix, packing",
        "tile",
        matrix=True,
    ),
    Step(
        "conv_09_implicit.py",
        "implicit im2col",
        "panels from the image, no matrix",
        "arithmetic",
        "tile",
    ),
    Step(
        "conv_10_threads.py",
        "OpenMP",
        "a task for every core",
        "arithmetic",
        "tile",
        parallel=True,
    ),
    Step(
        "conv_11_winograd.py",
        "Winograd",
        "fewer products",
        "L2: transforms",
        "",
        parallel=True,
    ),
)

_POOL = (
    Step(
        "pool_00_windows.c",
        "windows",
        "each output looks at its window",
        "branches",
        "tap",
    ),
    Step(
        "pool_01_rows.c",
        "rows",
        "a row of outputs innermost",
        "L1: two loads and a store",
        "update",
    ),
    Step(
        "pool_02_product.py",
        "product",
        "registers, shuffles, threads",
        "instructions: partial vectors",
        "tap",
        parallel=True,
    ),
)

_BACKWARD = (
    Step(
        "backward_00_scatter.c",
        "scatter",
        "each output to its window",
        "L1: two loads and a store",
        "update",
    ),
    Step(
        "backward_01_col2im.c",
        "BLAS + col2im",
        "the matrix's gradient, added up",
        "memory: the matrix",
        "",
        matrix=True,
    ),
    Step(
        "backward_02_gather.py",
        "gather",
        "a convolution of dy",
        "as forward",
        "",
        parallel=True,
    ),
)

FAMILIES = {
    family.name: family
    for family in (
        Family("conv", "Convolution", "ladder_conv: c64 h28 k64 r3 p1", "GFLOP/s", 2, _CONV),
        Family("pool", "Max pooling", "ladder_pool: c64 h112 k64 r2 u2", "Gcmp/s", 1, _POOL),
        Family("backward", "Gradient by the input", "ladder_backward: c64 h28 k64 r3 p1", "GFLOP/s", 2, _BACKWARD),
    )
}
"""The ladders by name."""
