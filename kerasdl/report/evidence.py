"""What findings, figures and the page all start from."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.report.classes import ClassAccuracy, class_accuracies
from kerasdl.report.comparisons import Comparison, Reversal, compare, reversals
from kerasdl.report.overlaps import Overlaps, read_overlaps
from kerasdl.report.rows import Disagreements, read_confused, read_disagreements
from kerasdl.report.scores import Scores, load
from kerasdl.report.winner import Standing, standing
from kerasdl.runs.samples import Samples
from kerasdl.runs.sharing import Place

if TYPE_CHECKING:
    import pandas as pd

    from kerasdl.runs import Run

_GRADIENT_QUANTITIES = ("gradient_norm", "update_ratio")


@dataclass(frozen=True)
class Evidence:
    """A run, read and computed once.

    Attributes:
        run: The run.
        scores: Its scores.
    """

    run: "Run"
    scores: Scores

    @cached_property
    def planned(self) -> Scores:
        """The scores of the first search: those round its best that follow are neither a grid nor independent draws."""
        rounds = self.run.rounds()
        if not self.run.study.get("refine") or _adaptive(self.run.study) or len(rounds) < 2:
            return self.scores
        return self.scores.only(set(rounds[min(rounds)]))

    @cached_property
    def table(self) -> "pd.DataFrame":
        """The ranking."""
        return self.run.table()

    @cached_property
    def trials(self) -> "pd.DataFrame":
        """The trials."""
        return self.run.trials()

    @cached_property
    def places(self) -> dict[int, Place]:
        """Where the trials ran."""
        return self.run.places()

    @cached_property
    def curves(self) -> "pd.DataFrame":
        """The epochs."""
        return self.run.curves()

    @cached_property
    def gradients(self) -> "pd.DataFrame":
        """What was seen of gradients."""
        return self.run.gradients(quantities=_GRADIENT_QUANTITIES, statistics=("median",))

    @cached_property
    def first_gradients(self) -> "pd.DataFrame":
        """What was seen of gradients in the first epoch: findings need no more, and all of them may be millions."""
        return self.run.gradients(1, _GRADIENT_QUANTITIES, statistics=("median",))

    @cached_property
    def measures(self) -> "pd.DataFrame":
        """What was measured between epochs."""
        return self.run.measures()

    @cached_property
    def winner(self) -> int | None:
        """The index of the first in the ranking, if it has a completed trial."""
        if self.table.empty or not self.table.iloc[0]["completed"]:
            return None
        return self.scores.configurations.index(int(self.table.iloc[0]["configuration"]))

    @cached_property
    def standing(self) -> Standing | None:
        """The winner against the others."""
        return None if self.winner is None else standing(self.scores, self.winner)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """The levels of each setting against one another."""
        return compare(self.planned, adaptive=_adaptive(self.run.study))

    @cached_property
    def reversals(self) -> list[Reversal]:
        """The settings whose effect surely changes its sign with another."""
        return reversals(self.planned)

    @cached_property
    def confusion(self) -> np.ndarray | None:
        """The winner's confusion matrix, if its test rows were counted."""
        if self.winner is None or not self.run.data.get("classes"):
            return None
        matrix = self.run.confusion(self.scores.configurations[self.winner])
        return matrix if matrix.any() else None

    @property
    def counted(self) -> str:
        """What a confusion matrix counts: `"rows"`, or of images that are segmented `"pixels"`."""
        return "pixels" if self.run.data.get("task") == "segmentation" else "rows"

    @cached_property
    def samples(self) -> Samples:
        """The single rows that were kept to be shown."""
        return self.run.samples()

    @cached_property
    def disagreements(self) -> Disagreements | None:
        """The test rows that the best gets right and the worst wrong, if both answers were kept."""
        return read_disagreements(self.run)

    @cached_property
    def confused_rows(self) -> "pd.DataFrame | None":
        """The pairs of classes that the winner confuses most, with their rows, if its answers were kept."""
        return read_confused(self.run)

    @cached_property
    def overlaps(self) -> Overlaps | None:
        """How well the winner's masks overlap the true ones, where the data give a class for each pixel."""
        return read_overlaps(self.run)

    @cached_property
    def winner_repeats(self) -> int:
        """How many completed trials the winner has."""
        return 0 if self.winner is None else int(np.isfinite(self.scores.values[self.winner]).sum())

    @cached_property
    def class_accuracies(self) -> list[ClassAccuracy]:
        """The winner's accuracy on each class."""
        # Pixels of an image are no independent rows: what Wilson's interval says of them would be too sure.
        if self.confusion is None or self.run.data.get("task") == "segmentation":
            return []
        return class_accuracies(self.confusion, [str(name) for name in self.run.data["classes"]], self.winner_repeats)


def gather(run: "Run") -> Evidence:
    """Reads the scores of a run; the rest is read when it is first asked for.

    Args:
        run: The run.

    Returns:
        Its evidence.

    Raises:
        UserError: The run was stopped before it wrote down what it looks for.
    """
    return Evidence(run, load(run))


def _adaptive(study: dict[str, Any]) -> bool:
    """Tells whether the study's search chooses configurations by earlier scores."""
    named = [study.get(name) for name in ("search", "tuner", "oracle")]
    words = [str(word.get("tuner", word.get("name", ""))) if isinstance(word, dict) else str(word) for word in named]
    return any(kind in word.lower() for word in words for kind in ("bayes", "hyperband"))
