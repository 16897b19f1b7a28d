"""What simpler models score on the same rows, and whether the winner is better on the test rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kerasdl.report.evidence import Evidence
from kerasdl.report.finding import Finding
from kerasdl.report.statistics import ALPHA, mcnemar
from kerasdl.report.tables import Table
from kerasdl.report.words import number, plural, score


@dataclass(frozen=True)
class Against:
    """The winner's saved model against a baseline, on the same test rows.

    Attributes:
        name: The baseline.
        total: How many test rows there are.
        winner: How many of them the winner gets right.
        baseline: How many the baseline does.
        only_winner: Those that the winner alone gets right.
        only_baseline: Those that the baseline alone does.
        p: McNemar's exact p-value.
    """

    name: str
    total: int
    winner: int
    baseline: int
    only_winner: int
    only_baseline: int
    p: float


def baseline_table(evidence: Evidence) -> Table | None:
    """Returns what the baselines score, the best first, or `None` where there are none."""
    found = evidence.run.baselines
    if not found:
        return None
    columns = {"accuracy": "training", "val_accuracy": "validation", "test_accuracy": "test"}
    ranked = sorted(found.items(), key=lambda item: -item[1].get("val_accuracy", 0.0))
    rows = [
        [
            _words(name),
            str(facts["model"]),
            *(score("accuracy", facts[column]) if column in facts else "n/a" for column in columns),
            number(facts["seconds"], 3),
        ]
        for name, facts in ranked
    ]
    head = ["baseline", "of scikit-learn", *(f"{name} accuracy" for name in columns.values()), "seconds"]
    note = "Trained once on the flattened, scaled features of the same training rows, with the settings named."
    if evidence.scores.overlap:
        note += " The rows are those of the first fold."
    return Table("Baselines", head, rows, [False, False, True, True, True, True], note=note)


def find_baselines(evidence: Evidence) -> Iterator[Finding]:
    """Compares the winner with each baseline, by McNemar's test on the test rows."""
    for one in _compared(evidence):
        apart = one.only_winner + one.only_baseline
        sure = one.p < ALPHA
        relation = ("fewer than", "as many as", "more than")[int(np.sign(one.winner - one.baseline)) + 1]
        yield Finding(
            f"The saved winner gets {one.winner} of {plural(one.total, 'test row')} right, {relation} "
            f"{_words(one.name)} with {one.baseline}: of {plural(apart, 'row')} that one of the two alone gets right, "
            f"{one.only_winner} are the winner's (McNemar's exact test, p = {_p(one.p)}).",
            sure,
            {"kind": "baseline", "baseline": one.name, "p": one.p, "winner": one.winner, "right": one.baseline},
        )


def _compared(evidence: Evidence) -> list[Against]:
    run, best = evidence.run, evidence.run.best
    if best is None or not run.baselines:
        return []
    own = run.answers(best.trial).get("predicted")
    if own is None:
        return []
    truth = run.truth
    found = []
    for name in run.baselines:
        theirs = run.baseline_answers(name)
        if theirs is None or len(theirs) != len(truth):
            continue
        ours_right, theirs_right = own == truth, theirs == truth
        only = int((ours_right & ~theirs_right).sum()), int((theirs_right & ~ours_right).sum())
        right = int(ours_right.sum()), int(theirs_right.sum())
        found.append(Against(name, len(truth), *right, *only, mcnemar(*only)))
    return found


def _words(name: str) -> str:
    return name.replace("_", " ")


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.2g}"
