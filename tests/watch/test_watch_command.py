"""`python -m kerasdl.watch gradients` says by its exit status what it found."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result


@pytest.fixture
def command(backend_name: str) -> Callable[..., Result]:
    """Runs `python -m kerasdl.watch gradients` in this process."""
    from kerasdl.watch.__main__ import application

    return lambda *arguments: CliRunner().invoke(application, ["gradients", *map(str, arguments)])


@pytest.fixture
def saved(backend_name: str, tmp_path: Path) -> Callable[..., Path]:
    """Saves a small model of some layers, and returns where."""
    import keras

    def save(*layers: Any, loss: str | None = "mean_squared_error") -> Path:
        model = keras.Sequential(layers, name="saved")
        if loss:
            model.compile("sgd", loss)
        path = tmp_path / "model.keras"
        model.save(path)
        return path

    return save


def test_a_saved_model_passes(command: Callable[..., Result], saved: Callable[..., Path]) -> None:
    import keras

    layers = keras.layers
    words = [keras.Input((None,)), layers.Embedding(30, 4), layers.GlobalMaxPooling1D(), layers.Dense(3, "softmax")]
    path = saved(*words, loss="sparse_categorical_crossentropy")
    result = command(path, "--rows", 5, "--samples", 4, "--seed", 3)
    assert result.exit_code == 0, result.output
    assert "5 random rows, as no --data was given" in " ".join(result.output.split())
    assert "model 'saved' on" in result.output
    assert "in inference mode: all gradients pass, within" in result.output
    assert re.search(r"embedding\w*/embeddings", result.output)
    assert command(path, "--rows", 5, "--samples", 4, "--seed", 3).output == result.output


def test_a_study_passes_in_training_mode(command: Callable[..., Result]) -> None:
    changes = ["--set", "space.depth=[1]", "--set", "width=4", "--set", "dropout=0.2"]
    result = command("mlp", "--data", "xor?rows=200", *changes, "--training", "--rows", 16, "--samples", 3)
    assert result.exit_code == 0, result.output
    words = " ".join(result.output.split())
    assert "study mlp with depth=1, batch_norm=False, untrained, 16 training rows of xor?rows=200" in words
    assert "in training mode: all gradients pass" in words


def test_a_wrong_gradient_is_exit_status_1(command: Callable[..., Result], saved: Callable[..., Path]) -> None:
    import keras

    @keras.ops.custom_gradient
    def negated(value: Any) -> Any:
        def gradient(*given: Any, upstream: Any = None) -> Any:
            return given[0] if upstream is None else upstream

        return -value, gradient

    @keras.saving.register_keras_serializable(package="tests")
    class Negated(keras.layers.Layer):
        def call(self, value: Any) -> Any:
            return negated(value)

    path = saved(keras.Input((3,)), keras.layers.Dense(4), Negated(), keras.layers.Dense(1))
    result = command(path)
    assert result.exit_code == 1, result.output
    assert "2 of 4 gradients wrong" in result.output


def test_misuse_is_exit_status_2_and_one_line(
    command: Callable[..., Result], saved: Callable[..., Path], tmp_path: Path
) -> None:
    import keras

    lossless = saved(keras.Input((3,)), keras.layers.Dense(1), loss=None)
    (tmp_path / "broken.keras").write_text("not a model")
    cases: list[tuple[tuple[Any, ...], str]] = [
        (("mpl",), "did you mean 'mlp'?"),
        ((tmp_path / "nothing.keras",), "nothing.keras: no such file"),
        ((tmp_path / "old.h5",), "old.h5: not a .keras file"),
        ((tmp_path / "broken.keras",), "broken.keras: not a readable archive"),
        ((lossless,), "saved without a loss; name one, such as --loss"),
        ((lossless, "--loss", "nonsense"), "Keras cannot load it"),
        ((lossless, "--set", "width=3"), "a .keras file has no settings to change"),
        (("mlp", "--loss", "mse"), "a study says its loss itself"),
        (("mlp", "--set", "width"), "not of the form KEY=VALUE"),
        (("mlp", "--data", "xor?rows=100", "--rows", 5000), "--rows 5000"),
        (("mlp", "--samples", 0), "--samples"),
        ((lossless, "--loss", "mse", "--data", "digits"), "cannot take these rows"),
    ]
    for arguments, words in cases:
        result = command(*arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert command(lossless, "--loss", "mean_squared_error").exit_code == 0


def test_rows_are_made_up_for_every_common_loss(backend_name: str) -> None:
    import keras

    from kerasdl.watch.gradient_check.rows import random_rows

    shapes = {
        "categorical_crossentropy": (6, 4),
        "sparse_categorical_crossentropy": (6,),
        "binary_crossentropy": (6, 4),
        "mean_absolute_error": (6, 4),
        "hinge": (6, 4),
        "kl_divergence": (6, 4),
        "huber": (6, 4),
    }
    for loss, shape in shapes.items():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "softmax")])
        model.compile("sgd", loss)
        x, y = random_rows(model, 6, 0)
        assert x.shape == (6, 3)
        assert y.shape == shape
        assert np.isfinite(float(keras.ops.convert_to_numpy(model.compute_loss(x, y, model(x)))))


@pytest.mark.backend_free
def test_help_answers_at_once_and_an_unknown_command_is_named() -> None:
    def seconds() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "kerasdl.watch", "--help"], capture_output=True, check=True)
        return time.perf_counter() - started

    assert min(seconds() for _ in range(3)) < 1
    code = "import kerasdl.watch.__main__, sys; print(*{'keras', 'torch', 'tensorflow', 'jax'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b""
    unknown = subprocess.run(
        [sys.executable, "-m", "kerasdl.watch", "gradient"], capture_output=True, text=True, check=False
    )
    assert unknown.returncode == 2
    assert unknown.stderr == "error: gradient: no such command; did you mean 'gradients'?\n"
