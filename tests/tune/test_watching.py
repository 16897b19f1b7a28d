"""The `[watch]` table: what every trial of a study shows, in packs and by `fit`, once and in order."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kerasdl.errors import UserError
from kerasdl.tune import Study

KEYS: dict[str, Any] = {"data": "xor?rows=80", "model": "mlp", "epochs": 2, "fixed": {"depth": 2, "width": 4}}


def test_every_trial_shows_its_gradients_epoch_by_epoch(backend_name: str, tmp_path: Path) -> None:
    space = {"learning_rate": [0.1, 0.01], "initializer": ["he_normal", "orthogonal"], "epochs": [1, 3]}
    keys = {name: value for name, value in KEYS.items() if name != "epochs"}
    study = Study(**keys, space=space, repeats=2, watch={"layers": ["dense_*"]})
    with study.run(tmp_path / "run", progress=False, export=False) as run:
        seen, trials = run.gradients(), run.trials()
        epochs = seen.groupby("trial")["epoch"].agg(set)
        assert set(epochs.index) == set(trials["trial"])
        asked = dict(zip(trials["trial"], trials["epochs"], strict=True))
        assert all(own == set(range(1, asked[trial] + 1)) for trial, own in epochs.items())
        one = seen[(seen["trial"] == 0) & (seen["epoch"] == 1)]
        assert list(one["layer"].unique()) == ["dense_1", "dense_2"]
        assert len(one) == 2 * 2 * 4
        norms = one[one["quantity"] == "gradient_norm"]
        assert (norms["p05"] <= norms["median"]).all() and (norms["median"] <= norms["maximum"]).all()
        few = run.gradients(1, ("update_ratio",), statistics=("median", "p95"))
        own = seen[(seen["epoch"] == 1) & (seen["quantity"] == "update_ratio")].reset_index(drop=True)
        pd.testing.assert_frame_equal(few, own.drop(columns=["mean", "p05", "maximum"]))
        # A trial that ends on the way of a longer one shows what that one shows.
        short, long = (trials[(trials["epochs"] == count) & (trials["seed"] == 0)] for count in (1, 3))
        first = seen[(seen["epoch"] == 1) & (seen["quantity"] == "gradient_norm")].groupby("trial")["median"].sum()
        np.testing.assert_allclose(sorted(first[short["trial"]]), sorted(first[long["trial"]]), rtol=1e-5)


def test_what_fit_trains_is_watched_too(backend_name: str, tmp_path: Path) -> None:
    import keras

    class Own(keras.Model):
        def train_step(self, *arguments: Any, **keywords: Any) -> Any:
            return super().train_step(*arguments, **keywords)

    def build(input_shape: Any, classes: int, width: int = 3) -> Any:
        inputs = keras.Input(input_shape)
        return Own(inputs, keras.layers.Dense(1, activation="sigmoid")(keras.layers.Dense(width)(inputs)))

    study = Study(data="xor?rows=80", model=build, epochs=2, space={"width": [2, 3]}, watch={"every": 2})
    with study.run(tmp_path / "run", progress=False, export=False) as run:
        assert run.trials()["how"].str.contains("train_step of its own").all()
        seen = run.gradients()
        assert set(zip(seen["trial"], seen["epoch"], strict=True)) == {(0, 1), (0, 2), (1, 1), (1, 2)}
        # Both models were built in one process, and each counts its layers from the first.
        assert set(seen["layer"]) == {"dense", "dense_1"}


def test_measures_along_the_gradient_are_kept_from_before_training(backend_name: str, tmp_path: Path) -> None:
    study = Study(**KEYS, space={"learning_rate": [0.1, 0.01]}, watch={"gradients": False, "along_gradient": True})
    with study.run(tmp_path / "run", progress=False, export=False) as run:
        assert run.gradients().empty
        measures = run.measures()
        assert set(zip(measures["trial"], measures["epoch"], strict=True)) == {(t, e) for t in (0, 1) for e in range(3)}
        assert (measures["loss_variation"] > 0).all()
        # The same seed: the same weights before training, the same rows.
        before = measures[measures["epoch"] == 0].set_index("trial")
        assert before.loc[0, "training_loss"] == pytest.approx(before.loc[1, "training_loss"], rel=1e-6)


def test_a_layer_that_is_not_there_is_named_before_training(backend_name: str, tmp_path: Path) -> None:
    study = Study(**KEYS, space={"learning_rate": [0.1]}, watch={"layers": ["dense_9"]})
    with pytest.raises(UserError, match=r"watch\.layers: the model has no layer 'dense_9'; did you mean"):
        study.run(tmp_path / "run", progress=False, export=False)
    assert not (tmp_path / "run" / "run.sqlite").exists()


@pytest.mark.backend_free
def test_what_the_table_cannot_hold_is_named() -> None:
    for table, words in (
        ({"every": 0}, r"watch\.every: .* greater than or equal to 1"),
        ({"evry": 2}, r"watch\.evry: no such key; did you mean 'every'"),
        ({"layers": []}, r"watch\.layers: .* at least 1 item"),
    ):
        with pytest.raises(UserError, match=words):
            Study(**KEYS, watch=table)
