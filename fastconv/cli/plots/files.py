"""All pictures of a run, and the files that they go to."""

from pathlib import Path

from matplotlib.figure import Figure

from fastconv.cli.plots.bars import bars
from fastconv.cli.plots.phases import phases
from fastconv.cli.plots.roofline import roofline
from fastconv.cli.plots.style import Run

__all__ = ["draw", "save"]

_DOTS_AN_INCH = 130


def draw(run: Run) -> dict[str, Figure]:
    """Draw a run: bars by network, a roofline and, where it was measured, the time by phase."""
    figures = {
        f"bars-{network or 'layers'}": bars(run, network)
        for network in dict.fromkeys(layer["network"] for layer in run["layers"])
    }
    figures["roofline"] = roofline(run)
    by_phase = phases(run)
    if by_phase is not None:
        figures["phases"] = by_phase
    return figures


def save(run: Run, target: Path) -> list[Path]:
    """Write the pictures as PNG into a folder, or beside a file whose name begins theirs.

    Parameters
    ----------
    run : Run
        What was measured.
    target : Path
        A folder, made if it is not there; or ``some.png``, for ``some-roofline.png`` and so on.

    Returns
    -------
    list of Path
        The files.
    """
    folder, start = (target.parent, f"{target.stem}-") if target.suffix == ".png" else (target, "")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in draw(run).items():
        paths.append(folder / f"{start}{name}.png")
        figure.savefig(paths[-1], dpi=_DOTS_AN_INCH)
    return paths
