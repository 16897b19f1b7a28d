"""Turns a configuration's settings into a compiled model."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import keras_tuner

from kerasdl.errors import UserError
from kerasdl.models import builders
from kerasdl.tune.settings import optimizer_settings
from kerasdl.tune.study import Study

# Keras' classes by the names that studies use.
OPTIMIZERS: dict[str, type[keras.Optimizer]] = {
    "sgd": keras.optimizers.SGD,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "adagrad": keras.optimizers.Adagrad,
    "adadelta": keras.optimizers.Adadelta,
    "adamax": keras.optimizers.Adamax,
    "nadam": keras.optimizers.Nadam,
    "lion": keras.optimizers.Lion,
}


def compiled_model(
    study: Study,
    function: Callable[..., Any],
    settings: Mapping[str, Any],
    available: Mapping[str, Any],
    rows: int,
    precision: str | None = None,
) -> keras.Model:
    """Builds a configuration's model and compiles it, unless its builder did.

    Args:
        study: The study.
        function: What builds the model.
        settings: Every setting of the configuration.
        available: What kerasdl gives a builder that asks for it: `input_shape`, `classes`.
        rows: How many rows an epoch has.
        precision: Name of the policy of layers that have none of their own; Keras' own where absent.

    Returns:
        A compiled model.
    """
    with _policy(precision):
        return _compiled_model(study, function, settings, available, rows)


@contextmanager
def _policy(name: str | None) -> Iterator[None]:
    """Makes a policy Keras' own for as long as a model is built; layers keep theirs."""
    before = keras.config.dtype_policy()
    if name is not None:
        keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _compiled_model(
    study: Study, function: Callable[..., Any], settings: Mapping[str, Any], available: Mapping[str, Any], rows: int
) -> keras.Model:
    if study.builder.takes_hp:
        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.values = {**settings}
        available = {**available, "hp": hyperparameters}
    model = builders.call(function, own_settings(study.builder, settings), available)
    if isinstance(model, keras.Model) and not model.compiled:
        compile_classifier(model, settings, rows)
    return model


def own_settings(builder: builders.Builder, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Picks the settings that are arguments of a builder out of all of a configuration's."""
    return {name: value for name, value in settings.items() if builder.any_setting or name in builder.settings}


def compile_classifier(model: keras.Model, settings: Mapping[str, Any], rows: int) -> None:
    """Compiles a classifier with its configuration's optimizer, cross-entropy and accuracy.

    Args:
        model: It gives probabilities: one for each class, or one alone for the second of two.
        settings: `optimizer` and the optimizer's own settings, `schedule` and its own.
        rows: How many rows an epoch has.
    """
    kind = OPTIMIZERS[settings["optimizer"]]
    own = optimizer_settings(settings)
    if settings.get("schedule", "constant") != "constant":
        own["learning_rate"] = schedule(settings, -(-rows // settings["batch_size"]))
    binary = model.built and model.output_shape[-1] == 1
    model.compile(
        optimizer=kind(**own),
        loss="binary_crossentropy" if binary else "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )


def schedule(settings: Mapping[str, Any], steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Makes a configuration's learning rate schedule, which lasts as long as its training.

    Args:
        settings: `schedule`, `learning_rate` (the highest), `epochs`, and perhaps `minimum_learning_rate` (0 where
            absent) and `cycles` (1 where absent).
        steps_per_epoch: Batches of an epoch.

    Raises:
        UserError: No learning rate is set.
    """
    from kerasdl.watch import schedules

    name = settings["schedule"]
    if "learning_rate" not in settings:
        raise UserError(f"schedule: {name!r} needs a highest learning rate; set learning_rate")
    highest, lowest = settings["learning_rate"], settings.get("minimum_learning_rate", 0.0)
    steps = settings["epochs"] * steps_per_epoch
    if name == "cosine":
        return keras.optimizers.schedules.CosineDecay(highest, steps, alpha=lowest / highest)
    if name == "one_cycle":
        return schedules.OneCycle(highest, steps)
    half = steps / (2 * settings.get("cycles", 1.0))
    if name == "exp_range":
        # The height falls to a tenth by the end.
        return schedules.ExpRange(lowest, highest, half, gamma=0.1 ** (1 / steps))
    kinds = {"triangular": schedules.Triangular, "triangular2": schedules.Triangular2}
    return kinds[name](lowest, highest, half)
