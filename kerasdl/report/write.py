"""Writes the report into the run's directory."""

import re
from typing import TYPE_CHECKING

from kerasdl.report.evidence import gather
from kerasdl.report.page import draw_all, render
from kerasdl.runs.database import readable_errors
from kerasdl.runs.writer import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from kerasdl.runs import Run

PAGE_NAME = "report.html"
FIGURES_NAME = "figures"
# Only figures of the report's own names are ever removed: a reader may keep pictures beside them.
_OWN_NAMES = re.compile(
    r"(ranking|curves|heatmap|parallel|regions|arms|gradients|gradient-epochs|confusion|classes|disagreements|confused|overlaps|overlays|"
    r"augmented|setting-\d+)\.png"
)


def write_report(run: "Run") -> "Path":
    """Writes `report.html`, one file that needs no other, and its figures as PNG files under `figures/`.

    Figures of an earlier report that this one does not draw are removed. Nothing is trained and no data are loaded.

    Args:
        run: The run, finished or not.

    Returns:
        The path of the page.

    Raises:
        UserError: The run holds nothing yet, or its directory cannot be written to.
    """
    from kerasdl.drawing import styled

    evidence = gather(run)
    folder = run.path / FIGURES_NAME
    with styled():
        pictures = draw_all(evidence)
        page = render(evidence, pictures)
        with readable_errors(folder):
            folder.mkdir(exist_ok=True)
        for picture in pictures:
            write_atomically(folder / f"{picture.name}.png", picture.png())
    kept = {f"{picture.name}.png" for picture in pictures}
    for path in folder.iterdir():
        if _OWN_NAMES.fullmatch(path.name) and path.name not in kept:
            path.unlink()
    write_atomically(run.path / PAGE_NAME, page.encode("utf-8"))
    return run.path / PAGE_NAME
