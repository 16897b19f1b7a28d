"""Checks that what a study names is there and can be, before Keras is imported."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kerasdl.errors import UserError, nearest
from kerasdl.runs.run import TABLE_COLUMNS, TRIAL_COLUMNS
from kerasdl.tune.settings import OPTIMIZERS, TRAINING, check_value, known, owner_hint
from kerasdl.tune.space import Choices, Dimension, Range, in_order, listed, plain

if TYPE_CHECKING:
    from kerasdl.tune.study import Study

# What the classifiers that kerasdl compiles tell after each epoch.
_METRICS = ("val_accuracy", "val_loss", "accuracy", "loss")
_OF_PIXELS = ("val_dice", "val_iou", "dice", "iou")


def check_settings(study: "Study", given: Mapping[str, Any]) -> None:
    """Checks the values of all settings, and writes them back as their owners take them.

    Args:
        study: The study.
        given: The keys of the study that were written down.

    Raises:
        UserError: A name is unknown or given twice, or a value cannot be.
    """
    _check_places(study, given)
    optimizer = study.space.get("optimizer")
    _check_values(study, "optimizer", "optimizer", [study.optimizer])
    if "optimizer" in study.fixed:
        _check_values(study, "fixed.optimizer", "optimizer", [study.fixed["optimizer"]])
    if optimizer is not None:
        _check_values(study, "space.optimizer", "optimizer", optimizer.ends)
    if study.learning_rate is not None:
        _check_values(study, "learning_rate", "learning_rate", [study.learning_rate])
    for name, value in study.fixed.items():
        study.fixed[name] = _check_values(study, f"fixed.{name}", name, [_plain(f"fixed.{name}", value)])[0]
    for name, one in study.space.items():
        values = _check_values(study, f"space.{name}", name, one.ends)
        if isinstance(one, Choices):
            # Values that were written differently may be the same number.
            study.space[name] = _again(f"space.{name}", one, values)
        _check_owner(study, name, one)
        _check_search(study, name, one)
    _check_required(study)


def _check_places(study: "Study", given: Mapping[str, Any]) -> None:
    training = (*TRAINING, "learning_rate")
    for name in study.space:
        if name in study.fixed or (name in training and name in given):
            raise UserError(f"space.{name}: it varies and is set too; keep one of the two")
        if name in (*TRIAL_COLUMNS, *TABLE_COLUMNS):
            raise UserError(f"space.{name}: the results have a column of this name; rename the builder's argument")
    for name in training:
        if name in study.fixed and name in given:
            raise UserError(f"fixed.{name}: it is set at the top too; keep one of the two")


def _plain(key: str, value: Any) -> Any:
    try:
        return plain(value)
    except ValueError as error:
        raise UserError(f"{key}: {error}") from error


def _again(key: str, choices: Choices, values: list[Any]) -> Choices:
    try:
        return Choices(values=values, when=choices.when)
    except ValueError as error:
        raise UserError(f"{key}: two of its values are the same number; list it once") from error


def _check_values(study: "Study", key: str, name: str, values: list[Any]) -> list[Any]:
    builder = study.builder
    try:
        if name != "optimizer":
            _check_known(study, name)
            if builder.takes_hp and name not in known(builder, study.optimizers):
                return values
            if builder.any_setting and name not in known(builder, OPTIMIZERS):
                return values
        return [check_value(name, value, builder) for value in values]
    except ValueError as error:
        raise UserError(f"{key}: {error}") from error


def _check_known(study: "Study", name: str) -> None:
    builder = study.builder
    if name in known(builder, study.optimizers) or builder.any_setting or builder.takes_hp:
        return
    hint = owner_hint(name, builder, study.optimizers)
    raise ValueError(f"no such setting of {builder.name}, its optimizer or training; {hint}")


def _check_owner(study: "Study", name: str, one: Dimension) -> None:
    """Refuses to vary a setting for optimizers that do not have it: the same trial would run several times."""
    owners = [optimizer for optimizer in study.optimizers if name in OPTIMIZERS[optimizer]]
    if not owners or name in study.builder.settings:
        return
    wanted = (one.when or {}).get("optimizer", study.optimizers)
    strangers = [optimizer for optimizer in listed(wanted) if optimizer in OPTIMIZERS and optimizer not in owners]
    if strangers:
        condition = f"when = {{optimizer = {owners}}}"
        raise UserError(f"space.{name}: {strangers[0]} has no such setting; add {condition} to say for whom it varies")


def _check_search(study: "Study", name: str, one: Dimension) -> None:
    if study.search == "hyperband" and name == "epochs":
        raise UserError("space.epochs: hyperband chooses the epochs; set epochs to the most that a trial may have")
    stepless = isinstance(one, Range) and one.step is None and not (one.whole and one.sampling == "linear")
    if study.search == "grid" and stepless:
        meaning = "the ratio of neighbours" if isinstance(one, Range) and one.sampling == "log" else "their distance"
        raise UserError(f"space.{name}: a grid needs a step ({meaning}) or a list of values; or choose another search")


def _check_required(study: "Study") -> None:
    builder = study.builder
    settings = study.settings(dict.fromkeys(study.space, ...))
    missing = [name for name in builder.required if name not in settings]
    if not missing:
        return
    hint = "" if builder.takes_hp else "; KerasTuner's HyperParameters are given to an argument called hp"
    raise UserError(
        f"model: {builder.name} needs {missing[0]!r}, which has no default value; set it under [fixed] or [space]{hint}"
    )


def check_conditions(study: "Study") -> None:
    """Checks that each `when` speaks of a setting that varies and of a value that it takes.

    Raises:
        UserError: One does not.
        ValueError: The conditions form a circle.
    """
    for name, one in study.space.items():
        for parent, wanted in (one.when or {}).items():
            other = study.space.get(parent)
            if other is None:
                raise UserError(f"space.{name}.when: {parent!r} does not vary; {nearest(parent, study.space)}")
            for value in listed(wanted):
                if isinstance(other, Choices) and value not in other.values:
                    raise UserError(f"space.{name}.when: {parent} is never {value!r}; it is one of {other.values}")
    in_order(study.space)


def check_refinement(study: "Study") -> None:
    """Checks that what searches round the best go on to vary has varied before.

    Raises:
        UserError: It has not.
    """
    named = study.refine.settings if study.refine else None
    for name in named or ():
        if name not in study.space:
            raise UserError(f"refine.settings: {name!r} does not vary; {nearest(name, study.space)}")


def check_metric_names(model: str, objective: str, monitor: str | None) -> None:
    """Checks metrics' names against those of the classifiers that kerasdl compiles.

    Args:
        model: The name of a shipped model.
        objective: The metric that trials are compared by.
        monitor: The metric that ends them early, if any.

    Raises:
        UserError: One is not computed.
    """
    for key, name in (("objective", objective), ("early_stopping.monitor", monitor)):
        known = (*_METRICS, *_OF_PIXELS) if model == "unet" else _METRICS
        if name is not None and name not in known:
            raise UserError(f"{key}: {name!r} is not computed; {nearest(name, known)}")
