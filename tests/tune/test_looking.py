"""What a run keeps of single rows is what its saved model answers and what its data hold."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasdl import data
from kerasdl.data import Dataset, Scaling, Split
from kerasdl.report.write import write_report
from kerasdl.runs import Run, answers
from kerasdl.tune import Study


def outputs(run: Run, x: np.ndarray) -> np.ndarray:
    import keras

    model = keras.saving.load_model(run.path / "best.keras")
    return np.asarray(keras.ops.convert_to_numpy(model(np.asarray(x), training=False)))


def noisy(input_shape: tuple[int, ...], classes: int, *, pixels: bool = False) -> Any:
    """Builds a small model whose images are made noisy while it trains, of rows or of pixels."""
    import keras

    inputs = keras.Input(input_shape)
    hidden = keras.layers.GaussianNoise(0.1, name="augment_1")(inputs)
    if not pixels:
        hidden = keras.layers.Flatten()(hidden)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(hidden))


def of_pixels(input_shape: tuple[int, ...], classes: int) -> Any:
    return noisy(input_shape, classes, pixels=True)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on digits whose worst learns nothing."""
    rates = {"learning_rate": [1e-6, 0.01]}
    study = Study(data="digits", model=noisy, epochs=4, batch_size=64, repeats=2, space=rates)
    directory = tmp_path_factory.mktemp("digits") / "run"
    study.run(directory, progress=False, export=False).close()
    return directory


def test_the_saved_model_is_right_on_every_disagreement(backend_name: str, digits: Path) -> None:
    dataset = data.load("digits")
    with Run.open(digits) as run:
        assert run.best is not None
        found, probabilities = run.disagreements(n=None), outputs(run, dataset.test.x)
        np.testing.assert_array_equal(run.truth, dataset.test.y)
        assert len(found) > 50
        rows = found["row"].to_numpy()
        said = probabilities.argmax(axis=1)
        np.testing.assert_array_equal(said[rows], dataset.test.y[rows])
        assert found["truth"].tolist() == [dataset.classes[label] for label in dataset.test.y[rows]]
        np.testing.assert_allclose(found["best_probability"], probabilities[rows].max(axis=1), atol=1e-5)
        # All answers, of the worst too, are those that its confusion matrix counted.
        trials = run.trials()
        for configuration, own in trials.groupby("configuration")["trial"]:
            matrix = np.zeros((10, 10), "int64")
            for trial in own:
                np.add.at(matrix, (dataset.test.y, run.answers(int(trial))["predicted"].astype("int64")), 1)
            np.testing.assert_array_equal(matrix, run.confusion(int(configuration)))
        worst = answers.ordered_trials(run, 0)[0]
        assert (run.answers(worst)["predicted"][rows] != dataset.test.y[rows]).all()
        for one in run.confused().to_dict("records"):
            wrong = np.asarray(one["rows"], dtype="int64")
            assert (said[wrong] == dataset.classes.index(one["predicted"])).all()
            assert (dataset.test.y[wrong] == dataset.classes.index(one["truth"])).all()


def test_kept_rows_are_raw_and_those_that_are_shown(backend_name: str, digits: Path) -> None:
    dataset = data.load("digits")
    with Run.open(digits) as run:
        samples = run.samples()
        confused = [row for rows in run.confused(6)["rows"] for row in rows[:4]]
        assert set(samples.rows) == {*confused, *run.disagreements(n=8)["row"]}
        for row, image in samples.rows.items():
            assert image.dtype == "uint8"
            np.testing.assert_allclose(image, dataset.scaling.invert(dataset.test.x[[row]])[0], atol=1e-3)
        assert samples.augmented is not None and samples.masks == {}
        originals, seen = samples.augmented
        assert originals.shape == seen.shape == (8, 8, 8, 1) and originals.dtype == seen.dtype == "uint8"
        training = {image.tobytes() for image in np.rint(dataset.scaling.invert(dataset.train.x)).astype("uint8")}
        assert all(image.tobytes() in training for image in originals)
        assert sum(not np.array_equal(one, other) for one, other in zip(originals, seen, strict=True)) > 4
        assert "samples" not in set(run.events()["kind"])


def test_answers_beyond_the_bound_are_of_the_best_and_the_worst(
    backend_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MOST_BYTES", 0)
    monkeypatch.setattr(answers.to_drop, "__defaults__", (0,))
    rates = {"learning_rate": [0.001, 0.01, 0.02, 0.1]}
    study = Study(data="xor?rows=60", model="softmax", epochs=2, batch_size=16, repeats=2, space=rates)
    with study.run(tmp_path / "run", progress=False, export=False) as run:
        trials = run.trials()
        ends = answers.extremes(run.table())
        assert set(run.answer_sizes()) == set(trials.loc[trials["configuration"].isin(ends or ()), "trial"])
        # A table's rows are kept as they were, and hold no images.
        assert run.samples().augmented is None
        dataset = data.load("xor?rows=60")
        for row, features in run.samples().rows.items():
            np.testing.assert_allclose(features, dataset.scaling.invert(dataset.test.x[[row]])[0], rtol=1e-5)


@pytest.fixture
def squares() -> Dataset:
    """Noisy images of 10 x 10 with a bright square; its pixels are the second class."""
    random = np.random.default_rng(0)

    def split(count: int) -> Split:
        y = np.zeros((count, 10, 10), "uint8")
        for image in y:
            top, left = random.integers(0, 5, 2)
            image[top : top + 5, left : left + 4] = 1
        noise = random.uniform(0, 60, (count, 1, 1)) * random.normal(size=y.shape)
        return Split((np.rint(np.clip(100 * y + noise + 60, 0, 255)) / 255).astype("float32")[..., None], y)

    scaling = Scaling(np.zeros((1, 1, 1), "float32"), np.full((1, 1, 1), 255, "float32"))
    names = ("background", "square")
    return Dataset("squares", split(40), split(10), split(15), names, (), scaling, "made by the test", "none", "0")


def test_masks_are_those_of_the_saved_model(backend_name: str, squares: Dataset, tmp_path: Path) -> None:
    study = Study(
        data=squares, model=of_pixels, objective="val_dice", epochs=5, batch_size=4, repeats=2, learning_rate=0.1
    )
    with study.run(tmp_path / "run", progress=False, export=False) as run:
        best = run.best
        assert best is not None
        predicted, truth = outputs(run, squares.test.x).argmax(axis=-1), squares.test.y
        scores = run.image_scores()
        own = scores[scores["trial"] == best.trial].set_index("row")
        assert set(scores["trial"]) == {0, 1} and scores["trial"].iloc[0] == best.trial and len(own) == 15
        for row, (mask, found) in enumerate(zip(truth, predicted, strict=True)):
            both = ((mask == 1) & (found == 1)).sum()
            assert own.loc[row, "dice_square"] == pytest.approx(2 * both / ((mask == 1).sum() + (found == 1).sum()))
        means = run.class_scores().groupby("trial")[["dice", "iou"]].mean()
        tests = run.trials().set_index("trial")[["test_dice", "test_iou"]]
        np.testing.assert_allclose(means.to_numpy(), tests.to_numpy(), rtol=1e-5)
        samples = run.samples()
        ranked = own["dice"].sort_values(ascending=False).to_numpy()
        assert [own.loc[row, "dice"] for row in samples.masks] == [ranked[0], ranked[7], ranked[-1]]
        for row, (mask, found) in samples.masks.items():
            np.testing.assert_array_equal(mask, truth[row])
            np.testing.assert_array_equal(found, predicted[row])
            np.testing.assert_array_equal(samples.rows[row], np.rint(255 * squares.test.x[row]))
        assert samples.augmented is not None and samples.augmented[0].shape == (8, 10, 10, 1)
        assert not np.array_equal(*samples.augmented)


def test_the_report_is_drawn_again_without_the_data(backend_name: str, digits: Path) -> None:
    def drawn() -> tuple[str, list[str]]:
        # Layouts differ in the last digit, and with it the names in the drawings.
        page = re.sub(r"base64,[^\"]*", "", (digits / "report.html").read_text(encoding="utf-8"))
        return page, sorted(path.name for path in (digits / "figures").iterdir())

    first = drawn()
    assert {"disagreements.png", "confused.png", "augmented.png"} <= set(first[1])
    (digits / "report.html").unlink()
    shutil.rmtree(digits / "figures")
    with Run.open(digits) as run:
        write_report(run)
    assert drawn() == first
