"""Half precision and gathered gradients, asked for by a study."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasdl.errors import UserError
from kerasdl.tune import Study

Make = Callable[..., Study]


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_trials_compute_in_half_precision_and_the_winner_is_kept_in_float32(
    backend_name: str, study: Make, tmp_path: Path, precision: str
) -> None:
    import keras

    from kerasdl import data
    from kerasdl.tune.trials import TrialMaker

    asked = study(precision=precision, repeats=2, data="xor?rows=200", epochs=10, learning_rate=0.02)
    before = keras.config.dtype_policy().name
    model = TrialMaker(asked, data.load("xor?rows=200")).model(asked.settings({}))
    assert {layer.compute_dtype for layer in model.layers} == {precision.removeprefix("mixed_")}
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}

    run = asked.run(tmp_path / "half", export=True, progress=False)
    assert keras.config.dtype_policy().name == before
    trials = run.trials()
    assert set(trials["status"]) == {"completed"}
    assert all("pack of 2" in how for how in trials["how"])
    winner = keras.saving.load_model(run.path / "best.keras")
    assert {layer.compute_dtype for layer in winner.layers} == {"float32"}
    assert (run.path / "best.onnx").is_file()
    # Rounding costs a few rows at the border, not the fit.
    whole = study(repeats=2, data="xor?rows=200", epochs=10, learning_rate=0.02).run(
        tmp_path / "whole", export=False, progress=False
    )
    np.testing.assert_allclose(run.table()["mean"], whole.table()["mean"], atol=0.1)
    assert run.trials()["val_loss"].tolist() != whole.trials()["val_loss"].tolist()


def test_gathered_gradients_equal_larger_batches(backend_name: str, study: Make, tmp_path: Path) -> None:
    # 128 training rows: whole batches of either size, and a loss that is a mean over rows.
    common: dict[str, Any] = {"data": "xor?rows=128", "optimizer": "sgd", "learning_rate": 0.5, "epochs": 3}
    gathered = study(**common, batch_size=16, fixed={"gradient_accumulation_steps": 4})
    runs = [
        one.run(tmp_path / str(i), export=False, progress=False)
        for i, one in enumerate((gathered, study(**common, batch_size=64)))
    ]
    losses = [run.trials()["val_loss"].to_numpy() for run in runs]
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.backend_free
@pytest.mark.parametrize("steps", [1, 0, 2.5, True, "3"])
def test_gradients_of_at_least_two_batches_are_gathered(study: Make, steps: object) -> None:
    with pytest.raises(UserError, match=r"fixed.gradient_accumulation_steps: .* is not a whole number of at least 2"):
        study(fixed={"gradient_accumulation_steps": steps})
