"""What a training by Keras' `fit` keeps to go on, in the middle of an epoch too."""

from dataclasses import asdict, dataclass, field, fields

import keras
import numpy as np

from kerasdl.train.backends import current_backend, values
from kerasdl.train.checkpoint import Checkpoint
from kerasdl.train.trial import Progress

KIND = "fit"


@dataclass
class Standing:
    """How far a training is.

    Attributes:
        epoch: Epochs that were trained to their end.
        batch: Batches of the next one that were trained.
        seconds: What the whole epochs took.
        elapsed: Seconds that the next one has taken so far.
        waited: Seconds of these for which training waited for data.
    """

    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    elapsed: float = 0.0
    waited: float = 0.0


@dataclass(frozen=True)
class WithinEpoch:
    """What an epoch begins with that was interrupted.

    Attributes:
        metrics: The metrics' variables.
        drawn: The backend's random state.
    """

    metrics: list[np.ndarray] = field(default_factory=list)
    drawn: list[np.ndarray] = field(default_factory=list)

    def restore_metrics(self, model: keras.Model) -> None:
        """Lets metrics go on; Keras has reset them, as it does when an epoch begins."""
        _assign(model.metrics_variables, self.metrics)

    def restore_drawn(self) -> None:
        """Lets layers without a seed of their own draw what comes next."""
        if self.drawn:
            current_backend().restore_drawn(self.drawn)


def checkpoint_of(number: int, standing: Standing, model: keras.Model, progress: Progress) -> Checkpoint:
    """Returns all that a training is between two batches or two epochs.

    Args:
        number: The trial's.
        standing: How far it is.
        model: What is trained.
        progress: How it goes.
    """
    groups = {"state": values(_changing(model)), "best": progress.best_weights or []}
    if standing.batch:
        groups |= {"metric": values(model.metrics_variables), "drawn": current_backend().drawn_state()}
    arrays = {f"{name}.{place:05d}": one for name, own in groups.items() for place, one in enumerate(own)}
    facts = {"kind": KIND, "trials": [number], "standing": asdict(standing), "progress": progress.facts()}
    return Checkpoint(standing.epoch, facts, arrays)


def restore(
    found: Checkpoint, model: keras.Model, batch: tuple[np.ndarray, ...], progress: Progress
) -> tuple[Standing, WithinEpoch]:
    """Lets a model go on after a checkpoint.

    Args:
        found: The checkpoint.
        model: As it was built.
        batch: A training batch, to build what its first batch would.
        progress: How it goes; set as it was.

    Returns:
        How far it is, and what its next epoch begins with.

    Raises:
        ValueError: The checkpoint is of another model.
    """
    groups: dict[str, list[np.ndarray]] = {}
    for name in sorted(found.arrays):
        groups.setdefault(name.partition(".")[0], []).append(found.arrays[name])
    model._symbolic_build(data_batch=batch)
    _assign(_changing(model), groups.get("state", []))
    within = WithinEpoch(groups.get("metric", []), groups.get("drawn", []))
    standing = Standing(**{one.name: found.facts["standing"][one.name] for one in fields(Standing)})
    if standing.batch and len(within.metrics) != len(model.metrics_variables):
        raise ValueError("the checkpoint has other metrics than the model")
    progress.restore(found.facts["progress"], groups.get("best"))
    return standing, within


def _assign(variables: list[keras.Variable], arrays: list[np.ndarray]) -> None:
    for variable, value in zip(variables, arrays, strict=True):
        variable.assign(value)


def _changing(model: keras.Model) -> list[keras.Variable]:
    """All variables that change as a model is trained, but metrics; the states of random layers are among them."""
    return [*model.trainable_variables, *model.non_trainable_variables, *model.optimizer.variables]
