"""A trial whose process is killed in the middle of an epoch goes on there."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kerasdl.errors import UserError
from kerasdl.tune import Study

Write = Callable[[str, str], Path]
Make = Callable[..., Study]

MODEL = """
    import os
    import time

    import keras


    class Slow(keras.Model):
        def train_step(self, *arguments):
            return super().train_step(*arguments)

        def make_train_function(self, force=False):
            super().make_train_function(force)
            quick = self.train_function

            def slow(*arguments):
                time.sleep(float(os.environ.get("SECONDS_A_BATCH", 0)))
                return quick(*arguments)

            self.train_function = slow


    def build(input_shape, classes):
        inputs = keras.Input(input_shape)
        hidden = keras.layers.Dropout(0.2)(keras.layers.Dense(8, activation="relu")(inputs))
        return Slow(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
"""

STUDY = """
    data = "xor?rows=400"
    model = "own.py:build"
    epochs = 3
    batch_size = 4
    learning_rate = 0.01
    [checkpoint]
    minutes = 0.0
"""


def standing(folder: Path) -> tuple[int, int]:
    """The epoch and the batch of the last checkpoint."""
    for path in folder.glob("*.npz"):
        try:
            with np.load(path, allow_pickle=False) as content:
                found = json.loads(content["facts"].tobytes())["standing"]
                return found["epoch"], found["batch"]
        except (OSError, ValueError, KeyError):
            break
    return 0, 0


def test_a_killed_process_leaves_a_trial_that_goes_on_within_its_epoch(
    backend_name: str, write: Write, folder: Path
) -> None:
    write("own.py", MODEL)
    path = write("own.toml", STUDY)
    command = [sys.executable, "-m", "kerasdl.tune", str(path), "--out", "killed", "--no-export"]
    slowly = {**os.environ, "SECONDS_A_BATCH": "0.01"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=slowly)
    while process.poll() is None and not standing(folder / "killed" / "checkpoints")[1]:
        time.sleep(0.005)
    time.sleep(random.Random().uniform(0, 0.1))
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert standing(folder / "killed" / "checkpoints")[1] > 0
    with Study.load(path).run("killed", progress=False, export=False) as run:
        trials, curves = run.trials(), run.curves().drop(columns="seconds")
        assert trials["status"].tolist() == ["completed"]
    assert not (folder / "killed" / "checkpoints").exists()
    with Study.load(path).run("whole", progress=False, export=False) as whole:
        pd.testing.assert_frame_equal(whole.curves().drop(columns="seconds"), curves)
        columns = ["score", "test_loss", "test_accuracy"]
        pd.testing.assert_frame_equal(whole.trials()[columns], trials[columns])


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"epochs": 0}, "checkpoint.epochs: .* greater than or equal to 1"),
        ({"epochs": 1.5}, "checkpoint.epochs"),
        ({"minutes": -1.0}, "checkpoint.minutes: .* greater than or equal to 0"),
        ({"hours": 1}, "checkpoint.hours: no such key; choose from epochs, minutes"),
    ],
)
def test_how_often_checkpoints_are_kept_is_checked(study: Make, keys: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        study(checkpoint=keys)


@pytest.mark.backend_free
def test_how_often_checkpoints_are_kept_is_no_part_of_a_run(study: Make) -> None:
    assert study(checkpoint={"epochs": 2, "minutes": 5.0}).frozen({}) == study().frozen({})
