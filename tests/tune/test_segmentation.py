"""Studies whose data give a class for each pixel."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasdl.data import Dataset, Scaling, Split
from kerasdl.errors import UserError
from kerasdl.models import segmentation
from kerasdl.tune import Study
from kerasdl.tune.settings import LOSSES


@pytest.fixture
def squares() -> Dataset:
    """Noisy images of 12 x 12 with a bright square; its pixels are the second class."""
    random = np.random.default_rng(0)

    def split(count: int) -> Split:
        y = np.zeros((count, 12, 12), "uint8")
        for image in y:
            top, left = random.integers(0, 6, 2)
            image[top : top + 6, left : left + 5] = 1
        x = (y + random.normal(scale=0.3, size=y.shape)).astype("float32")[..., None]
        return Split(x, y)

    scaling = Scaling(np.zeros(1, "float32"), np.ones(1, "float32"))
    names = ("background", "square")
    return Dataset("squares", split(48), split(12), split(14), names, (), scaling, "made by the test", "none", "0")


def study(data: Dataset, **keys: Any) -> Study:
    small = {"filters": [4, 8], "convolutions": 1}
    return Study(
        **{
            "data": data,
            "model": "unet",
            "objective": "val_dice",
            "epochs": 6,
            "batch_size": 8,
            "learning_rate": 0.02,
            "fixed": small,
            **keys,
        }
    )


def test_losses_are_those_of_the_models(backend_name: str) -> None:
    assert LOSSES == segmentation.LOSSES


def test_every_loss_finds_the_squares(backend_name: str, squares: Dataset, tmp_path: Path) -> None:
    run = study(squares, space={"loss": [*LOSSES]}).run(tmp_path / "run", export=False, progress=False)
    trials = run.trials()
    assert set(trials["status"]) == {"completed"}
    assert trials["val_dice"].min() > 0.85
    # What a run tells of the winner is what its file gives, computed by hand.
    import keras

    best = run.best
    assert best is not None
    model = keras.saving.load_model(run.path / "best.keras")
    found = keras.ops.convert_to_numpy(model(squares.test.x, training=False)).argmax(axis=-1)
    truth = squares.test.y
    matrix = run.confusion(best.configuration)
    counted = [[np.sum((truth == a) & (found == b)) for b in (0, 1)] for a in (0, 1)]
    np.testing.assert_array_equal(matrix, counted)
    own = trials.set_index("trial").loc[best.trial]
    both = np.diag(matrix)
    sides = matrix.sum(axis=0) + matrix.sum(axis=1)
    np.testing.assert_allclose(own["test_dice"], np.mean(2 * both / sides), rtol=1e-5)
    np.testing.assert_allclose(own["test_iou"], np.mean(both / (sides - both)), rtol=1e-5)
    np.testing.assert_allclose(own["test_accuracy"], both.sum() / truth.size, rtol=1e-5)
    # In a process that knows nothing of its losses yet.
    code = f"from kerasdl.runs import Run; run = Run.open({str(run.path)!r}); assert run.best.load().compiled"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_model_of_rows_is_refused_for_pixels_and_the_reverse(
    backend_name: str, squares: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"cnn gives outputs of shape \(rows, 1\); squares asks for .* such as unet"):
        study(squares, model="cnn", objective="val_loss", fixed={"filters": [2]}).run(tmp_path / "a", progress=False)
    with pytest.raises(UserError, match=r"unet gives outputs of shape .*; digits asks for .* such as cnn"):
        study("digits", fixed={"filters": [4]}).run(tmp_path / "b", progress=False)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="loss: 'dice' compares the pixels of images, and digits has none"):
        Study(data="digits", model="mlp", fixed={"loss": "dice"}).run(tmp_path / "c", progress=False)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"fixed": {"loss": "dise"}}, "fixed.loss: 'dise' is not a loss; did you mean 'dice'"),
        ({"objective": "val_dise"}, "objective: 'val_dise' is not computed; did you mean 'val_dice'"),
    ],
)
def test_misspelt_names_are_refused_before_anything_runs(keys: dict[str, Any], message: str, squares: Dataset) -> None:
    with pytest.raises(UserError, match=message):
        study(squares, **keys)
