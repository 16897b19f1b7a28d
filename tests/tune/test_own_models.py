"""Searches over models and data of the user's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasdl import data
from kerasdl.runs import Run
from kerasdl.tune import Study

pytestmark = pytest.mark.usefixtures("backend_name")

Write = Callable[[str, str], Path]
Make = Callable[..., Study]


def run_of(study: Study) -> Run:
    return study.run("run", progress=False, export=False)


BUILDERS = """
    import keras

    def build(input_shape, classes, units=4):
        if units == 3:
            raise RuntimeError("three is no number of units\\nand more")
        return keras.Sequential([
            keras.Input(input_shape), keras.layers.Dense(units, "relu"), keras.layers.Dense(1, "sigmoid"),
        ])

    def search(hp, input_shape, classes):
        model = keras.Sequential([keras.Input(input_shape)])
        for number in range(hp.Int("layers", 1, 2)):
            model.add(keras.layers.Dense(hp.Choice("units", [2, 4]), "relu"))
        model.add(keras.layers.Dense(1, "sigmoid"))
        return model

    def compiled(input_shape, classes, rate=0.1):
        model = build(input_shape, classes)
        metrics = ["accuracy", keras.metrics.AUC(name="auc")]
        model.compile(keras.optimizers.SGD(rate), "binary_crossentropy", metrics=metrics)
        return model

    def any_setting(input_shape, classes, **settings):
        return build(input_shape, classes, settings["neurons"])
"""


@pytest.fixture
def mine(write: Write) -> Path:
    return write("mine.py", BUILDERS)


def test_a_builder_that_raises_for_one_configuration(study: Make, mine: Path) -> None:
    with run_of(study(model="mine.py:build", space={"units": [2, 3, 4]}, repeats=2)) as run:
        trials = run.trials()
        failed = trials[trials["units"] == 3]
        assert failed["status"].tolist() == ["failed", "failed"]
        assert (failed["message"] == "RuntimeError: three is no number of units").all()
        assert (trials[trials["units"] != 3]["status"] == "completed").all()
        assert run.table()["units"].iloc[2] == 3
        assert run.summary()["failed"] == 2


def test_a_builder_that_declares_its_own_space(study: Make, mine: Path) -> None:
    with run_of(study(model="mine.py:search", space={"learning_rate": [0.1, 0.01]})) as run:
        assert sorted(run.varying) == ["layers", "learning_rate", "units"]
        settings = run.configurations().values()
        found = {(one["layers"], one["units"], one["learning_rate"]) for one in settings}
        assert found == {(layers, units, rate) for layers in (1, 2) for units in (2, 4) for rate in (0.1, 0.01)}
        assert (run.trials()["status"] == "completed").all()
        by_layers = run.trials().groupby(["layers", "units"])["parameters"].unique()
        assert by_layers.loc[(1, 2)].tolist() == [2 * 2 + 2 + 2 + 1]
        assert by_layers.loc[(2, 4)].tolist() == [2 * 4 + 4 + 4 * 4 + 4 + 4 + 1]
        assert run.best is not None
        run.best.load()


def test_a_model_that_compiles_itself(study: Make, mine: Path) -> None:
    made = study(model="mine.py:compiled", space={"rate": [0.1, 1.0]}, objective="val_auc", repeats=2)
    with run_of(made) as run:
        assert run.objective == ("val_auc", "max")
        trials = run.trials()
        assert (trials["status"] == "completed").all()
        assert trials["score"].tolist() == trials["val_auc"].tolist()
        assert "test_auc" in trials.columns
        assert trials["loss"].nunique() == 4


def test_a_builder_that_takes_any_setting(study: Make, mine: Path) -> None:
    with run_of(study(model="mine.py:any_setting", space={"neurons": [2, 4]}, epochs=1)) as run:
        assert run.trials()["parameters"].tolist() == [2 * 2 + 2 + 3, 2 * 4 + 4 + 5]


def test_a_function_and_a_data_set_from_python(folder: Path) -> None:
    import keras

    def build(input_shape: tuple[int, ...], classes: int, units: int = 4, sizes: tuple[int, ...] = (1, 2)) -> Any:
        assert sizes == (1, 2)
        return keras.Sequential(
            [
                keras.Input(input_shape),
                keras.layers.Flatten(),
                keras.layers.Dense(units, "relu"),
                keras.layers.Dense(classes, "softmax"),
            ]
        )

    dataset = data.load("digits?rows=200")
    for _ in range(2):
        study = Study(model=build, data=dataset, space={"units": np.array([4, 8]).tolist()}, epochs=2)
        with run_of(study) as run:
            assert run.trials()["parameters"].tolist() == [64 * 4 + 4 + 50, 64 * 8 + 8 + 90]
            assert run.data["fingerprint"] == dataset.fingerprint
            assert run.confusion(0).shape == (10, 10)


def test_a_file_may_import_what_lies_beside_it(write: Write, folder: Path) -> None:
    write("widths_beside.py", "WIDTH = 5")
    write("layers_beside.py", "import keras\n\ndef last():\n    return keras.layers.Dense(1, 'sigmoid')\n")
    text = """
        import keras
        from widths_beside import WIDTH

        def build(input_shape, classes, rate=0.1):
            from layers_beside import last

            return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(WIDTH, "relu"), last()])
    """
    write("beside.py", text)
    with run_of(Study(data="xor?rows=40", model="beside.py:build", epochs=1)) as run:
        assert run.trials()["parameters"].tolist() == [2 * 5 + 5 + 5 + 1]
