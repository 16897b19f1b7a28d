"""Single test rows: those that the best gets right and the worst wrong, and those of the most confused classes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kerasdl.errors import UserError
from kerasdl.runs.answers import extremes

if TYPE_CHECKING:
    import pandas as pd

    from kerasdl.runs import Run

# Pairs of classes that are looked at, and rows of each.
PAIRS = 6
ROWS_OF_PAIR = 4
MOST_DISAGREEMENTS = 8


@dataclass(frozen=True)
class Disagreements:
    """What the best configuration knows that the worst does not.

    Attributes:
        best: The number of the best configuration.
        worst: That of the worst that completed.
        rows: As `Run.disagreements` gives them, all.
        reverse: How many test rows the worst gets right and the best wrong.
        total: How many test rows there are.
    """

    best: int
    worst: int
    rows: "pd.DataFrame"
    reverse: int
    total: int

    @property
    def shown(self) -> "pd.DataFrame":
        """The rows that a report has room for."""
        return self.rows.head(MOST_DISAGREEMENTS)


def is_shown(run: "Run") -> bool:
    """Tells whether a row of the data can be shown: as an image, or as features that have names."""
    return bool(run.data.get("features")) or is_image(run)


def is_image(run: "Run") -> bool:
    """Tells whether the rows of the data are images, of colours or grey."""
    return not run.data.get("features") and len(run.data.get("input_shape", [])) in (2, 3)


def read_disagreements(run: "Run") -> Disagreements | None:
    """Reads what the best and the worst disagree on; `None` where there are not both, or no row can be shown."""
    ends = extremes(run.table())
    if ends is None or not is_shown(run):
        return None
    best, worst = ends
    try:
        rows, reverse = run.disagreements(best, worst, n=None), run.disagreements(worst, best, n=None)
    except UserError:
        # Runs of earlier versions keep no answers.
        return None
    return Disagreements(best, worst, rows, len(reverse), len(run.truth))


def read_confused(run: "Run") -> "pd.DataFrame | None":
    """Reads the pairs of classes that the winner confuses, with rows; `None` where there are none to show."""
    if not is_shown(run):
        return None
    try:
        found = run.confused(PAIRS)
    except UserError:
        return None
    found = found[found["rows"].map(len) > 0]
    return found if len(found) else None
