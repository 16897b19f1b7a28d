"""Turns a configuration's settings into a compiled model."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import keras_tuner

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
    study: Study, function: Callable[..., Any], settings: Mapping[str, Any], available: Mapping[str, Any]
) -> keras.Model:
    """Builds a configuration's model and compiles it, unless its builder did.

    Args:
        study: The study.
        function: What builds the model.
        settings: Every setting of the configuration.
        available: What kerasdl gives a builder that asks for it: `input_shape`, `classes`.

    Returns:
        A compiled model.
    """
    if study.builder.takes_hp:
        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.values = {**settings}
        available = {**available, "hp": hyperparameters}
    model = builders.call(function, own_settings(study.builder, settings), available)
    if isinstance(model, keras.Model) and not model.compiled:
        compile_classifier(model, settings)
    return model


def own_settings(builder: builders.Builder, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Picks the settings that are arguments of a builder out of all of a configuration's."""
    return {name: value for name, value in settings.items() if builder.any_setting or name in builder.settings}


def compile_classifier(model: keras.Model, settings: Mapping[str, Any]) -> None:
    """Compiles a classifier with its configuration's optimizer, cross-entropy and accuracy.

    Args:
        model: It gives probabilities: one for each class, or one alone for the second of two.
        settings: `optimizer` and the optimizer's own settings.
    """
    kind = OPTIMIZERS[settings["optimizer"]]
    binary = model.built and model.output_shape[-1] == 1
    model.compile(
        optimizer=kind(**optimizer_settings(settings)),
        loss="binary_crossentropy" if binary else "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
