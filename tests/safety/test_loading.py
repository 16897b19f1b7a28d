"""Whoever opens a model goes through the same check: the export command, a run, the gradient check."""

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from kerasdl.errors import UserError
from kerasdl.export import __main__ as export_command
from kerasdl.runs.best import Best
from kerasdl.safety import load_model
from kerasdl.watch.gradient_check.sources import of_model
from tests.safety.attacks import ATTACKS, cve_2024_3660_lambda
from tests.safety.conftest import dense, layer

layers = keras.layers


def test_a_plain_model_loads(keras_file):
    model = load_model(keras_file())
    outputs = keras.ops.convert_to_numpy(model(np.ones((1, 3), "float32")))
    np.testing.assert_allclose(outputs, [[3.0, 3.0]])


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_nothing_of_a_malicious_file_runs(attack, keras_file, tmp_path):
    path, message = attack(keras_file, tmp_path / "marker")
    result = CliRunner().invoke(export_command.application, [str(path), "--out", str(tmp_path / "m.onnx")])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    best = Best(configuration=0, trial=0, settings={}, scores={}, path=path)
    with pytest.raises(UserError, match=message):
        best.load()
    with pytest.raises(UserError):
        of_model(path, 8, 0, None, None)
    assert not (tmp_path / "marker").exists()
    assert not (tmp_path / "m.onnx").exists()


def test_the_payload_is_live_without_the_check(keras_file, tmp_path):
    marker = tmp_path / "marker"
    path, _ = cve_2024_3660_lambda(keras_file, marker)
    try:
        model = keras.saving.load_model(path, safe_mode=False)
        model(np.ones((1, 3), "float32"))
    except Exception:  # noqa: BLE001  what the code does to the backend's tracing is of no matter
        pass
    assert marker.exists()


def test_switching_safe_mode_off_changes_nothing(keras_file, tmp_path):
    path, message = cve_2024_3660_lambda(keras_file, tmp_path / "marker")
    keras.config.enable_unsafe_deserialization()
    try:
        with pytest.raises(UserError, match=message):
            load_model(path)
    finally:
        keras.src.saving.serialization_lib.enable_safe_mode = None
        keras.src.backend.common.global_state.set_global_attribute("safe_mode_saving", None)
    assert not (tmp_path / "marker").exists()


def test_a_configuration_larger_than_its_weights_is_refused_before_it_takes_memory(keras_file):
    first = keras.Variable.__init__
    with pytest.raises(
        UserError, match=r"its configuration asks for variables of [0-9,]+ bytes and its weights have 32"
    ):
        load_model(keras_file([dense(2_000_000_000)]))
    assert keras.Variable.__init__ is first


def test_what_the_user_has_registered_is_the_users_own(keras_file):
    @keras.saving.register_keras_serializable(package="safety")
    class Doubled(layers.Layer):
        def call(self, x):
            return x * 2

    entry = layer("Doubled", module="somewhere.else") | {"registered_name": "safety>Doubled"}
    path = keras_file([entry, dense()])
    outputs = keras.ops.convert_to_numpy(load_model(path)(np.ones((1, 3), "float32")))
    np.testing.assert_allclose(outputs, [[6.0, 6.0]])


def test_what_keras_itself_saves_passes(tmp_path):
    entry = keras.Input((8, 8, 3))
    hidden = layers.Conv2D(4, 3, padding="same", kernel_regularizer="l2", kernel_constraint="max_norm")(entry)
    hidden = keras.ops.concatenate([hidden + 1.0, hidden * 2], axis=-1)[:, 1:]
    hidden = layers.Activation(keras.ops.tanh)(layers.RandomFlip()(hidden))
    hidden = layers.GlobalAveragePooling2D()(hidden)
    model = keras.Model(entry, layers.Dense(3, activation="softmax", dtype="mixed_bfloat16")(hidden))
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    # Keras would count up the name with each optimizer that other tests made.
    optimizer = keras.optimizers.AdamW(schedule, name="adam_w")
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras", compile=True)
    assert loaded.optimizer.name == "adam_w"
    assert loaded.count_params() == model.count_params()


def test_a_vocabulary_in_the_archive_loads(tmp_path):
    pytest.importorskip("tensorflow", reason="Keras' IntegerLookup needs TensorFlow")
    model = keras.Sequential([keras.Input((2,), dtype="int64"), layers.IntegerLookup(vocabulary=[3, 5, 8])])
    model.save(tmp_path / "m.keras")
    assert len(load_model(tmp_path / "m.keras").layers[-1].get_vocabulary()) == 4
