"""One callback each for Keras' own `fit`."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [
    pytest.mark.usefixtures("backend_name", "folder"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:(mlflow|sqlalchemy|alembic)"),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
]

Read = Callable[[str, Path], Mapping[str, Any]]
X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
Y = (X.sum(axis=1) > 0).astype("int32")


def model() -> Any:
    import keras

    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
    made.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made


def callback(tracker: str, **keys: Any) -> Any:
    from kerasdl import track

    if tracker == "tensorboard":
        return track.TensorBoard("tensorboard", **keys)
    if tracker == "wandb":
        return track.WandB("own/project", **keys)
    return track.MLflow(experiment=os.environ["MLFLOW_EXPERIMENT_NAME"], **keys)


def test_fit_writes_its_epochs_and_what_other_callbacks_add(tracker: str, written: Read) -> None:
    from kerasdl.watch import GradientMagnitude

    settings = {"width": 2, "activation": "softmax"}
    watch = GradientMagnitude(logs=["gradient_norm"])
    own = callback(tracker, name="first", hyperparameters=settings)
    history = model().fit(X, Y, epochs=3, verbose=0, validation_split=0.25, callbacks=[watch, own]).history
    (found,) = written(tracker, Path()).values()
    assert found.settings["activation"] == "softmax"
    assert float(found.settings["width"]) == 2
    assert any(name.startswith("gradient_norm/") for name in history)
    assert found.curves.keys() == history.keys()
    for name, values in history.items():
        steps, told = zip(*found.curves[name], strict=True)
        assert steps == (1, 2, 3)
        assert told == pytest.approx(values, rel=1e-5)
    assert found.status in ("completed", "success")


def test_each_fit_is_a_run_and_a_named_one_goes_on(tracker: str, written: Read) -> None:
    own, trained = callback(tracker), model()
    for _ in range(2):
        trained.fit(X, Y, epochs=1, verbose=0, callbacks=[own])
    assert len(written(tracker, Path())) == 2
    trained.fit(X, Y, epochs=2, verbose=0, callbacks=[callback(tracker, name="named")])
    again = callback(tracker, name="named")
    if tracker != "wandb":
        with pytest.warns(UserWarning, match="run 'named' holds epochs up to 2; it goes on after them"):
            trained.fit(X, Y, epochs=4, initial_epoch=2, verbose=0, callbacks=[again])
    else:
        trained.fit(X, Y, epochs=4, initial_epoch=2, verbose=0, callbacks=[again])
    assert [step for step, _ in written(tracker, Path())["named"].curves["loss"]] == [1, 2, 3, 4]


def test_what_a_tracker_raises_does_not_end_fit(tracker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = callback(tracker)

    def gone(*arguments: Any) -> None:
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(own, "_log", gone)
    with pytest.warns(UserWarning, match="is switched off, and training goes on: ConnectionError: nobody answers"):
        history = model().fit(X, Y, epochs=3, verbose=0, callbacks=[own]).history
    assert len(history["loss"]) == 3


def test_a_run_that_was_killed_while_it_wrote_is_read_as_far_as_it_is_whole(written: Read) -> None:
    pytest.importorskip("tensorboard")
    model().fit(X, Y, epochs=2, verbose=0, callbacks=[callback("tensorboard", name="named")])
    (path,) = Path("tensorboard/named").iterdir()
    content = path.read_bytes()
    # The end of the session and a part of the last epoch are gone.
    path.write_bytes(content[: content.rindex(b"loss") + 2])
    own = callback("tensorboard", name="named")
    own.begin("named", {})
    for epoch in (1, 2, 3):
        own.epoch("named", epoch, {"loss": 1.0 / epoch})
    assert [step for step, _ in written("tensorboard", Path())["named"].curves["loss"]] == [1, 2, 3]


@pytest.mark.slow
def test_tensorboard_is_written_without_tensorflow_and_torch(backend_name: str) -> None:
    pytest.importorskip("tensorboard")
    code = (
        "import sys\n"
        "from kerasdl import backend\n"
        "backend.start = lambda: None\n"
        "before = set(sys.modules)\n"
        "from kerasdl.track import TensorBoard\n"
        "own = TensorBoard('logs')\n"
        "own.begin('a', {'width': 2})\n"
        "own.epoch('a', 1, {'loss': 0.5})\n"
        "own.end('a', 'completed', {})\n"
        "own.conclude({'width': 2}, {'score': 1.0})\n"
        "own = TensorBoard('logs')\n"
        "own.begin('a', {'width': 2})\n"
        "print(*{'torch', 'tensorflow'} & set(sys.modules))\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": backend_name}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert set(done.stdout.split()) <= {backend_name}
    assert len(list(Path("logs/a").iterdir())) == 2
