"""Batches divided among devices: two of JAX' own making on this processor, in a process of its own."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kerasdl.errors import UserError
from kerasdl.tune import Study

PROGRAM = """
    import json, sys
    from kerasdl.tune import Study

    study = Study(
        data="xor?rows=101", model="mlp", epochs=3, batch_size=16, repeats=2, seed=1, optimizer="sgd",
        data_parallel=sys.argv[1] == "divided",
        fixed={"dropout": 0.2, "batch_norm": True}, space={"learning_rate": [0.05, 0.1]},
    )
    run = study.run(sys.argv[2], export=False, progress=False)
    trials = run.trials()
    import keras
    model = keras.saving.load_model(run.path / "best.keras")
    print(json.dumps({
        "how": sorted(set(trials["how"])), "values": trials[["val_loss", "val_accuracy"]].values.tolist(),
        "weights": [float(abs(weight).sum()) for weight in model.get_weights()],
    }))
"""


@pytest.fixture
def run(backend_name: str, folder: Path) -> Callable[[str], dict]:
    if backend_name != "jax":
        pytest.skip("Keras divides batches on JAX alone")

    def run(kind: str) -> dict:
        environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
        ended = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), kind, str(folder / kind)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout.splitlines()[-1])

    return run


@pytest.mark.slow
def test_trials_on_two_devices_equal_those_on_one(run: Callable[[str], dict]) -> None:
    divided, whole = run("divided"), run("whole")
    (how,) = divided["how"]
    assert "its batches are divided among 2 devices" in how
    assert all("pack of" in how for how in whole["how"])
    np.testing.assert_allclose(divided["values"], whole["values"], rtol=1e-4)
    np.testing.assert_allclose(divided["weights"], whole["weights"], rtol=1e-4, atol=1e-5)


def test_without_several_devices_nothing_is_trained(
    backend_name: str, study: Callable[..., Study], tmp_path: Path
) -> None:
    reason = "there is one device here" if backend_name == "jax" else f"on JAX alone, and this is {backend_name}"
    with pytest.raises(UserError, match=reason):
        study(data_parallel=True).run(tmp_path / "run", progress=False)
