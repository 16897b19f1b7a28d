"""What a network has to beat."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from kerasdl.errors import UserError
from kerasdl.report.baselines import baseline_table
from kerasdl.report.evidence import gather
from kerasdl.report.findings import find
from kerasdl.tune import Study


def study(**changes: object) -> Study:
    content = {"data": "digits", "model": "softmax", "epochs": 3, "batch_size": 32, "space": {"l2": [0.0, 0.1]}}
    return Study(**{**content, "baselines": ["majority", "logistic_regression"], **changes})


def test_baselines_learn_from_the_same_rows_once(tmp_path: Path) -> None:
    data = study().load_data()
    by_hand = LogisticRegression(max_iter=1000).fit(data.train.x.reshape(len(data.train), -1), data.train.y)
    right = by_hand.score(data.test.x.reshape(len(data.test), -1), data.test.y)
    with study().run(tmp_path / "run", export=False, progress=False) as run:
        found = run.baselines
        assert found["logistic_regression"]["test_accuracy"] == pytest.approx(right)
        assert found["majority"]["accuracy"] == pytest.approx(np.bincount(data.train.y).max() / len(data.train))
        table = baseline_table(gather(run))
        assert table is not None
        assert [row[0] for row in table.rows] == ["logistic regression", "majority"]
        against = {item.numbers["baseline"]: item for item in find(run) if item.numbers["kind"] == "baseline"}
        winner = run.answers(run.best.trial)["predicted"] == run.truth
        assert against["majority"].numbers["winner"] == winner.sum()
        assert against["majority"].sure
        seconds = {name: facts["seconds"] for name, facts in found.items()}
    with study().run(tmp_path / "run", export=False, progress=False) as run:
        assert {name: facts["seconds"] for name, facts in run.baselines.items()} == seconds


def test_a_baseline_that_is_not_known_is_refused() -> None:
    with pytest.raises(UserError, match="baselines"):
        study(baselines=["boosting"])


def test_pixels_have_no_baselines(tmp_path: Path) -> None:
    pytest.importorskip("nilearn")
    brain = study(data="brain?size=16", model="unet", objective="val_dice", space={"l2": [0.0]}, fixed={"filters": [4]})
    with pytest.raises(UserError, match=r"baselines: brain.* has a class for each pixel"):
        brain.run(tmp_path / "run", progress=False)
