"""What a run means: findings, figures, one HTML page. `python -m kerasdl.report RUN` writes it again."""

from pathlib import Path
from typing import TYPE_CHECKING

from kerasdl.report.finding import Finding

if TYPE_CHECKING:
    from kerasdl.runs import Run

__all__ = ["Finding", "find", "write_report"]


def find(run: "Run") -> list[Finding]:
    """Computes what a run shows, the sure findings first; see `kerasdl.report.findings.find`."""
    from kerasdl.report.findings import find as find_in

    return find_in(run)


def write_report(run: "Run") -> Path:
    """Writes `report.html` and `figures/*.png` into a run's directory; see `kerasdl.report.write.write_report`."""
    from kerasdl.report.write import write_report as write

    return write(run)
