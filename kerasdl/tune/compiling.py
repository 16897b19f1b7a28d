"""Turns a configuration's settings into a compiled model."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import keras_tuner

from kerasdl.data import Dataset
from kerasdl.errors import UserError
from kerasdl.models import builders, segmentation
from kerasdl.train.body import slow_body
from kerasdl.tune.settings import FINE_TUNING, LOSSES, optimizer_settings
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


def built_model(
    study: Study, function: Callable[..., Any], settings: Mapping[str, Any], available: Mapping[str, Any]
) -> Any:
    """Builds a configuration's model.

    Args:
        study: The study.
        function: What builds the model.
        settings: Every setting of the configuration.
        available: What kerasdl gives a builder that asks for it: `input_shape`, `classes`.

    Returns:
        What the builder gives, compiled perhaps.
    """
    if study.builder.takes_hp:
        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.values = {**settings}
        available = {**available, "hp": hyperparameters}
    return builders.call(function, own_settings(study.builder, settings), available)


@contextmanager
def policy(name: str | None) -> Iterator[None]:
    """Makes a policy of precision Keras' own for as long as a model is built and compiled; layers keep theirs.

    Args:
        name: Its name; `None` leaves Keras' own.
    """
    before = keras.config.dtype_policy()
    if name is not None:
        keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def own_settings(builder: builders.Builder, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Picks the settings that are arguments of a builder out of all of a configuration's."""
    return {name: value for name, value in settings.items() if builder.any_setting or name in builder.settings}


def compile_classifier(model: keras.Model, settings: Mapping[str, Any], dataset: Dataset) -> None:
    """Compiles a classifier of rows or of pixels with its configuration's optimizer, loss and metrics.

    Args:
        model: It gives probabilities: one for each class, or one alone for the second of two.
        settings: `optimizer` and the optimizer's own settings, `schedule` and its own, `loss`, `body_rate`,
            `unfreeze_epochs`.
        dataset: What it learns from. Rows are scored by their accuracy; pixels by theirs and by the Dice score and the
            intersection over union of all images' pixels together, the mean over classes.

    Raises:
        UserError: The model does not give what the data ask for.
    """
    kind = OPTIMIZERS[settings["optimizer"]]
    own = optimizer_settings(settings)
    if settings.get("schedule", "constant") != "constant":
        own["learning_rate"] = schedule(settings, -(-len(dataset.train) // settings["batch_size"]))
    loss, metrics = _loss_and_metrics(model, settings.get("loss", LOSSES[0]), dataset)
    model.compile(optimizer=kind(**own), loss=loss, metrics=metrics)
    _slow_body(model, settings, dataset)


def _slow_body(model: keras.Model, settings: Mapping[str, Any], dataset: Dataset) -> None:
    given = [name for name in FINE_TUNING if name in settings]
    if not given:
        return
    steps = settings.get("unfreeze_epochs", 0) * -(-len(dataset.train) // settings["batch_size"])
    if not slow_body(model, settings.get("body_rate", 1.0), steps):
        raise UserError(f"{given[0]}: no model is nested in {model.name} whose layers would be its body; leave it out")


def _loss_and_metrics(model: keras.Model, name: str, dataset: Dataset) -> tuple[Any, list[Any]]:
    shape = model.output_shape if model.built else None
    axes = len(dataset.train.y.shape) + 1
    if isinstance(shape, tuple) and len(shape) != axes:
        wanted = "a class for each pixel, such as unet" if axes == 4 else "one class for each row, such as cnn or mlp"
        raise UserError(f"model: {model.name} gives {_outputs(shape)}; {dataset.name} asks for a model of {wanted}")
    if dataset.task == "segmentation":
        classes = len(dataset.classes)
        overlap = [segmentation.DiceScore(classes, name="dice"), segmentation.IntersectionOverUnion(classes)]
        return segmentation.segmentation_loss(name), ["accuracy", *overlap]
    if name != LOSSES[0]:
        raise UserError(f"loss: {name!r} compares the pixels of images, and {dataset.name} has none; leave loss out")
    binary = shape is not None and shape[-1] == 1
    return "binary_crossentropy" if binary else "sparse_categorical_crossentropy", ["accuracy"]


def _outputs(shape: tuple[int | None, ...]) -> str:
    return f"outputs of shape ({', '.join('rows' if side is None else str(side) for side in shape)})"


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
