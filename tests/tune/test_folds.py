"""Studies whose repeats are folds of a cross-validation."""

from pathlib import Path

import numpy as np
import pytest

from kerasdl.data import Folds
from kerasdl.errors import UserError
from kerasdl.tune import Study


def study(**changes: object) -> Study:
    content = {
        "data": "digits",
        "model": "softmax",
        "folds": 3,
        "epochs": 2,
        "batch_size": 64,
        "optimizer": "sgd",
        "space": {"learning_rate": [0.01, 0.1]},
    }
    return Study(**{**content, **changes})


def test_each_repeat_validates_on_a_fold_of_its_own(tmp_path: Path) -> None:
    whole = study().load_data()
    with study().run(tmp_path / "run", export=False, progress=False) as run:
        trials, table = run.trials(), run.table()
        facts = run.data
    assert len(trials) == 6
    assert set(trials["status"]) == {"completed"}
    # Trials of one fold share a pack, those of different folds do not.
    assert all(how.startswith("pack of 2") for how in trials["how"])
    one = Folds(whole, 3, 0).of(0)
    assert facts["rows"] == {"train": len(one.train), "validation": len(one.validation), "test": len(one.test)}
    assert "3-fold cross-validation" in facts["notes"][-1]
    # Student's interval, widened by the share of rows that folds have in common.
    best = table.iloc[0]
    own = trials[trials["configuration"] == best["configuration"]]["score"].to_numpy(dtype=float)
    half = 4.302652729911275 * own.std(ddof=1) * np.sqrt(1 / 3 + 1 / 2)
    assert np.isclose(best["high"] - best["low"], 2 * half)


@pytest.mark.slow
def test_a_fold_trains_as_a_study_of_its_rows_does(tmp_path: Path) -> None:
    whole = study().load_data()
    with study().run(tmp_path / "run", export=False, progress=False) as run:
        scores = run.trials().set_index(["configuration", "seed"])["score"]
    for seed in (0, 2):
        alone = study(data=Folds(whole, 3, 0).of(seed), folds=None, repeats=1, seed=seed)
        with alone.run(tmp_path / f"alone-{seed}", export=False, progress=False) as run:
            ours = run.trials().set_index("configuration")["score"]
        np.testing.assert_allclose(scores.xs(seed, level="seed"), ours, atol=1e-6)


@pytest.mark.backend_free
def test_repeats_are_as_many_as_folds_or_a_multiple() -> None:
    assert study().repeats == 3
    assert study(repeats=6).repeats == 6
    with pytest.raises(UserError, match=r"repeats: 4 is no multiple of folds \(3\)"):
        study(repeats=4)


def test_folds_that_rows_do_not_suffice_for_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"folds: 500 is more than class '.' has rows"):
        study(folds=500).run(tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "run.sqlite").exists()
