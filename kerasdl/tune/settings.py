"""Which settings there are, to whom each belongs, and which values can be."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from kerasdl.errors import nearest
from kerasdl.models import Builder

# The arguments of Keras' optimizers that a study may set. They are written down, not looked up, because a study is
# checked before Keras is imported; a test holds the list against Keras.
_EVERY_OPTIMIZER = (
    "learning_rate",
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "gradient_accumulation_steps",
)
OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "sgd": ("momentum", "nesterov"),
    "adam": ("beta_1", "beta_2", "epsilon", "amsgrad"),
    "adamw": ("beta_1", "beta_2", "epsilon", "amsgrad"),
    "rmsprop": ("rho", "momentum", "epsilon", "centered"),
    "adagrad": ("initial_accumulator_value", "epsilon"),
    "adadelta": ("rho", "epsilon"),
    "adamax": ("beta_1", "beta_2", "epsilon"),
    "nadam": ("beta_1", "beta_2", "epsilon"),
    "lion": ("beta_1", "beta_2"),
}
OPTIMIZERS = {name: (*_EVERY_OPTIMIZER, *own) for name, own in OPTIMIZERS.items()}

# What a model is trained to make small; all but the first compare the pixels of images.
LOSSES = ("crossentropy", "dice", "dice_crossentropy")
TRAINING = ("epochs", "batch_size", "optimizer")
# How the learning rate changes while a trial trains; `learning_rate` is the highest.
SCHEDULES = ("constant", "cosine", "exp_range", "one_cycle", "triangular", "triangular2")
SCHEDULING = ("schedule", "cycles", "minimum_learning_rate")
# How the body of a model learns beside its head: its share of the learning rate, and how many epochs it takes until all
# of its layers learn. Of the shipped models these have one.
FINE_TUNING = ("body_rate", "unfreeze_epochs")
_WITH_BODY = ("transfer", "unet")
_NAMES = {"loss": LOSSES, "optimizer": tuple(OPTIMIZERS), "schedule": SCHEDULES}

_POSITIVE = ("body_rate", "cycles", "learning_rate", "epsilon", "clipnorm", "clipvalue", "global_clipnorm")
_SHARE = ("momentum", "rho", "beta_1", "beta_2")
_LEAST = {"epochs": 1, "batch_size": 1, "gradient_accumulation_steps": 2, "unfreeze_epochs": 1}
_SWITCH = ("nesterov", "amsgrad", "centered")


def known(builder: Builder, optimizers: Iterable[str]) -> set[str]:
    """Returns the names of the settings of a model, of the optimizers in play and of training."""
    return {
        *TRAINING,
        *SCHEDULING,
        "loss",
        *(FINE_TUNING if builder.name in _WITH_BODY or not builder.shipped else ()),
        *builder.settings,
        *(name for optimizer in optimizers for name in OPTIMIZERS[optimizer]),
    }


def owner_hint(name: str, builder: Builder, optimizers: Iterable[str]) -> str:
    """Says what to do about a setting that nobody knows."""
    elsewhere = [optimizer for optimizer, own in OPTIMIZERS.items() if name in own]
    if elsewhere:
        return f"it is a setting of {', '.join(elsewhere)}, not of {', '.join(optimizers)}"
    return nearest(name, known(builder, optimizers))


def check_value(name: str, value: Any, builder: Builder) -> Any:
    """Checks one value of one setting.

    Returns:
        The value, as its owner takes it (a whole number becomes a float where one is meant).

    Raises:
        ValueError: It cannot be; the message says what could.
    """
    if name in builder.settings:
        return builder.check(name, value)
    if name in _NAMES:
        if not isinstance(value, str) or value not in _NAMES[name]:
            raise ValueError(f"{value!r} is not {_article(name)}; {nearest(str(value), _NAMES[name])}")
        return value
    if name in _LEAST:
        if not isinstance(value, int) or isinstance(value, bool) or value < _LEAST[name]:
            raise ValueError(f"{value!r} is not a whole number of at least {_LEAST[name]}")
        return value
    if name in _SWITCH:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false")
        return value
    return _number(name, value)


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    if name in _POSITIVE and value <= 0:
        raise ValueError(f"{value!r} is not above 0")
    if name in _SHARE and not 0 <= value < 1:
        raise ValueError(f"{value!r} is not between 0 and 1 (1 excluded)")
    if value < 0:
        raise ValueError(f"{value!r} is below 0")
    return float(value)


def optimizer_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Picks the settings of the optimizer out of all of a configuration's."""
    return {name: settings[name] for name in OPTIMIZERS[settings["optimizer"]] if settings.get(name) is not None}
