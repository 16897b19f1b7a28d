"""Tables and findings of single rows and of masks."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kerasdl.report.evidence import Evidence
from kerasdl.report.finding import Finding
from kerasdl.report.overlaps import ClassOverlap
from kerasdl.report.rows import ROWS_OF_PAIR
from kerasdl.report.tables import Table
from kerasdl.report.words import number, plural, score

MOST_FEATURES = 10
MOST_CLASSES = 60


def find_disagreements(evidence: Evidence) -> Iterator[Finding]:
    """Counts the test rows that the best gets right and the worst wrong, and the other way round."""
    found = evidence.disagreements
    if found is None or not len(found.rows):
        return
    best, worst = (evidence.scores.describe(evidence.scores.configurations.index(n)) for n in (found.best, found.worst))
    yield Finding(
        f"Of {plural(found.total, 'test row')} the best ({best}) gets {len(found.rows):,} right that the worst "
        f"({worst}) gets wrong, and {found.reverse:,} the other way round (the best trial of each).",
        True,
        {
            "kind": "disagreement",
            "best": found.best,
            "worst": found.worst,
            "best_right": len(found.rows),
            "worst_right": found.reverse,
            "rows": found.total,
        },
    )


def find_overlaps(evidence: Evidence) -> Iterator[Finding]:
    """Says how well the winner's masks overlap the true ones."""
    found = evidence.overlaps
    if found is None:
        return
    images, mean = found.images, found.mean
    ranked = images.sort_values(["dice", "row"]).to_dict("records")
    worst, best = ranked[0], ranked[-1]
    text = (
        f"Over the pixels of {plural(len(images), 'test image')} the winner's Dice is {_score(mean.dice)} and its IoU "
        f"{_score(mean.iou)}, means over classes"
    )
    if len(images) > 1:
        text += (
            f"; image by image Dice is {_score(mean.image_dice)} on average (95\u00a0% interval over images "
            f"{_score(mean.low)} to {_score(mean.high)}), from {_score(worst['dice'])} (image {worst['row']:.0f}) to "
            f"{_score(best['dice'])} (image {best['row']:.0f})"
        )
    numbers = {
        "kind": "segmentation",
        "dice": mean.dice,
        "iou": mean.iou,
        "image_dice": mean.image_dice,
        "low": mean.low,
        "high": mean.high,
        "worst_image": int(worst["row"]),
        "best_image": int(best["row"]),
    }
    yield Finding(f"{text}.", True, numbers)


def disagreement_table(evidence: Evidence) -> Table | None:
    """Returns the rows that the best gets right and the worst wrong, or `None` where there are none."""
    found = evidence.disagreements
    if found is None or not len(found.rows):
        return None
    shown = found.shown.to_dict("records")
    features = _Features(evidence, [int(one["row"]) for one in shown])
    repeats = [_completed(evidence, configuration) for configuration in (found.best, found.worst)]
    rows = [
        [
            str(one["row"]),
            str(one["truth"]),
            f"{score('accuracy', one['best_probability'])}",
            _of(one["best_right"], repeats[0]),
            str(one["worst"]),
            f"{score('accuracy', one['worst_probability'])}",
            _of(one["worst_wrong"], repeats[1]),
            *features.of(int(one["row"])),
        ]
        for one in shown
    ]
    head = ["test row", "truth, as the best says", "its probability", "right in repeats", "the worst says"]
    head += ["its probability", "wrong in repeats", *features.head]
    left = f"The {len(rows)} most confident of {len(found.rows):,}. " if len(found.rows) > len(rows) else ""
    note = (
        f"{left}By the probability that each gives to what it says, added up; the best trial of each configuration "
        f"answers.{features.note}"
    )
    caption = "Test rows that the best gets right and the worst wrong"
    return Table(caption, head, rows, [True, False, True, False, False, True, False, *features.numeric], note=note)


def confused_rows_table(evidence: Evidence) -> Table | None:
    """Returns rows of the most confused pairs of classes with their features, or `None` for images or without rows."""
    found = evidence.confused_rows
    if found is None or not evidence.run.data.get("features") or evidence.run.best is None:
        return None
    probability = evidence.run.answers(evidence.run.best.trial)["probability"]
    entries = [(one, int(row)) for one in found.to_dict("records") for row in one["rows"][:ROWS_OF_PAIR]]
    features = _Features(evidence, [row for _, row in entries])
    if not features.head:
        return None
    rows = [
        [str(row), one["truth"], one["predicted"], score("accuracy", float(probability[row])), *features.of(row)]
        for one, row in entries
    ]
    head = ["test row", "true class", "taken for", "its probability", *features.head]
    note = f"Of each pair those that the saved model is most confident of.{features.note}"
    return Table(
        "Rows of the pairs that the winner confuses most",
        head,
        rows,
        [True, False, False, True, *features.numeric],
        note=note,
    )


class _Features:
    """The columns that show a row's features, where these have names and were kept."""

    def __init__(self, evidence: Evidence, rows: Sequence[int]) -> None:
        self._samples = evidence.samples.rows
        names = [str(name) for name in evidence.run.data.get("features", [])]
        kept = bool(rows) and all(row in self._samples for row in rows)
        self.head = names[:MOST_FEATURES] if kept else []
        self.numeric = [True] * len(self.head)
        self.note = f" The first {MOST_FEATURES} of {len(names)} features." if len(names) > len(self.head) > 0 else ""

    def of(self, row: int) -> list[str]:
        """Returns the cells of a row."""
        if not self.head:
            return []
        return [number(float(content)) for content in np.ravel(self._samples[row])[: len(self.head)]]


def _completed(evidence: Evidence, configuration: int) -> int:
    trials = evidence.trials
    own = trials[(trials["configuration"] == configuration) & (trials["status"] == "completed")]
    return len(own)


def _of(share: float, repeats: int) -> str:
    return f"{round(share * repeats)} of {repeats}"


def overlap_table(evidence: Evidence) -> Table | None:
    """Returns Dice and IoU of each class, or `None` where the data give no class for each pixel."""
    found = evidence.overlaps
    if found is None:
        return None
    entries = [*found.classes[:MOST_CLASSES], found.mean]
    head = ["class", "Dice, all pixels", "IoU, all pixels", "images", "Dice, mean of images", "95\u00a0% interval"]
    head.append("IoU, mean of images")
    left = len(found.classes) - MOST_CLASSES
    note = (
        "All pixels: counted over the test set as one. Images: those that hold the class, in the mask or in the "
        "prediction. The interval is a percentile bootstrap over images (2,000 draws): it is about other images, not "
        f"about other seeds. Means over {plural(evidence.winner_repeats, 'repeat')}."
    )
    return Table(
        f"Dice and IoU of the winner on {plural(len(found.images), 'test image')}",
        head,
        [_overlap_row(one) for one in entries],
        [False, *(True for _ in head[1:])],
        note=f"{note} {left} more classes." if left > 0 else note,
    )


def _overlap_row(one: ClassOverlap) -> list[str]:
    interval = f"{_score(one.low)} to {_score(one.high)}" if np.isfinite(one.low) else "unknown"
    return [
        one.name or "mean of classes",
        _score(one.dice),
        _score(one.iou),
        f"{one.images:,}",
        _score(one.image_dice),
        interval,
        _score(one.image_iou),
    ]


def _score(content: Any) -> str:
    return f"{content:.3f}" if np.isfinite(content) else "n/a"


def disagreement_words(evidence: Evidence) -> list[str]:
    """Returns what a reader must know of the rows on which the best and the worst disagree."""
    return [finding.sentence for finding in find_disagreements(evidence)]


def overlap_words(evidence: Evidence) -> list[str]:
    """Returns in a sentence how well the winner's masks overlap the true ones."""
    return [finding.sentence for finding in find_overlaps(evidence)]
