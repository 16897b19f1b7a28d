"""Every shipped study: it can be read, it says what it asks, and it runs, made small, to its report."""

from pathlib import Path

import pytest

from kerasdl import backend, data, recipes
from kerasdl.tune import Study

NAMES = recipes.names("tuning")
# As few rows and epochs as keep each study's own space; what has to be downloaded is left to its own tests.
SMALL = {"epochs": 2, "repeats": 1, "data": "digits"}
SPACES = {
    "unet": {
        "data": "brain?size=24",
        "filters": [2, 4],
        "trials": 2,
        "space.epochs": [1, 2],
        "space.batch_size": [8, 16],
    },
    "digits-cnn": {"space.dense": [[8]]},
    "fashion-cnn": {"space.dense": [[8]], "padding": "same"},
    "mnist-cnn": {"space.dense": [[8]], "padding": "same"},
    "transfer": {
        "data": "digits?rows=100",
        "epochs": 1,
        "space.mode": ["probe", "fine-tune"],
        "space.learning_rate": [0.001],
    },
    "unet-cross-validation": {
        "data": "brain?size=24",
        "folds": 2,
        "repeats": 2,
        "space.filters": [[2], [2, 4]],
    },
    "batch-norm": {"space.batch_size": [64, 128], "space.learning_rate": [0.01, 0.1], "depth": 2},
    "batch-size": {"space.batch_size": [16, 128]},
    "deep": {"depth": 2, "space.initializer": ["he_normal"]},
    "depth-width": {"space.depth": [1, 2], "space.width": [8]},
    "epochs": {"space.epochs": [1, 2]},
    "mlp": {"space.depth": [1], "space.width": [8]},
    "softmax": {"space.batch_size": [64], "space.epochs": [1, 2]},
    "xor": {"data": "xor?rows=100", "space.depth": [0, 1], "space.width": [2]},
}


@pytest.mark.backend_free
@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_it_asks_and_fits_its_data(name: str) -> None:
    study = Study.load(name)
    assert study.title
    assert study.question.endswith("?")
    assert isinstance(study.data, str)
    data.check(study.data)


@pytest.mark.parametrize("name", NAMES)
def test_each_runs_to_its_end(backend_name: str, name: str, folder: Path) -> None:
    installed = backend.installed()
    if installed[NAMES.index(name) % len(installed)] != backend_name:
        pytest.skip("runs on another backend: all studies train by the same programs")
    changes = {**SMALL, **SPACES.get(name, {})}
    if "epochs" in Study.load(name).space:
        del changes["epochs"]
    with Study.load(name, changes).run(name, progress=False, export=False) as run:
        assert run.finished
        assert (run.trials()["status"] == "completed").any()
