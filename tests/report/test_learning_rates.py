"""How trials ended at each learning rate: made-up ends are counted as what they are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kerasdl.report.answer import answer
from kerasdl.report.evidence import gather
from kerasdl.report.findings import find_all
from kerasdl.report.learning_rates import ends, find_learning_rates, guessing_loss, learning_rate_table
from kerasdl.runs import Run

MakeRun = Callable[..., Run]

# Validation accuracies of three repeats. The made-up training loss is twice what is missing to 1: with two classes it
# is above that of guessing, 0.693, below an accuracy of 0.653.
SCORES: dict[float, tuple[float | None, ...]] = {
    1e-5: (0.66, 0.67, 0.68),
    1e-3: (0.9, 0.88, 0.89),
    1e-2: (0.8, 0.85, 0.89),
    1e-1: (0.75, 0.66, None),
    1.0: (0.5, None, 0.52),
}


def score(settings: dict[str, Any], seed: int, generator: np.random.Generator) -> float | None:
    return SCORES[settings["learning_rate"]][seed]


def test_ends_are_told_apart(make_run: MakeRun) -> None:
    evidence = gather(make_run([{"learning_rate": rate} for rate in SCORES], score))
    assert guessing_loss(evidence) == pytest.approx(np.log(2))
    found = {one.rate: (one.learned, one.short, one.diverged) for one in ends(evidence)}
    assert found == {1e-5: (0, 3, 0), 1e-3: (3, 0, 0), 1e-2: (3, 0, 0), 1e-1: (1, 1, 1), 1.0: (0, 0, 3)}
    (finding,) = find_learning_rates(evidence)
    assert finding.sentence == (
        "Every trial learns at learning rates 0.001; 0.01 (at least half of what the best does beyond guessing: "
        "validation accuracy of 70.00\u00a0%). Trials learn too little at 0.00001 (3 of 3 trials); 0.1 (1 of 3 "
        "trials). Trials diverge (the loss is not finite, or ends above 0.693, that of guessing all classes alike) at "
        "0.1 (1 of 3 trials); 1 (3 of 3 trials)."
    )
    assert finding.sentence in answer(evidence, find_all(evidence))
    table = learning_rate_table(evidence)
    assert table is not None
    assert [row[0] for row in table.rows] == ["0.00001", "0.001", "0.01", "0.1", "1"]
    assert table.rows[3][1].startswith("1 of 3 (")


def test_a_loss_with_a_penalty_is_not_held_against_guessing(make_run: MakeRun) -> None:
    evidence = gather(make_run([{"learning_rate": rate, "l2": 0.1} for rate in SCORES], score))
    assert guessing_loss(evidence) == np.inf
    last = ends(evidence)[-1]
    assert (last.short, last.diverged) == (2, 1)
    assert "of guessing all classes alike" not in next(find_learning_rates(evidence)).sentence


def test_nothing_is_said_where_every_trial_learns_or_nothing_is_known_of_guessing(make_run: MakeRun) -> None:
    rates = [{"learning_rate": rate} for rate in (1e-3, 1e-2, 1e-1)]
    evidence = gather(make_run(rates))
    assert not list(find_learning_rates(evidence))
    assert learning_rate_table(evidence) is not None
    assert not ends(gather(make_run(rates, objective="val_loss", direction="min")))
    assert not ends(gather(make_run(rates[:2])))
    assert not ends(gather(make_run([{"width": 1}, {"width": 2}, {"width": 3}])))
