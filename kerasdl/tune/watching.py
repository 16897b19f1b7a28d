"""What a study watches while its trials train."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from kerasdl.runs import RunWriter
    from kerasdl.train.watching import Names
    from kerasdl.watch.trials import TrialWatch


class Watching(BaseModel):
    """The `[watch]` table of a study: what is recorded of every trial while it trains.

    Attributes:
        gradients: Whether the size of gradients, weights and updates is recorded.
        along_gradient: Whether, after each epoch, the loss is followed along its gradient and the layers' outputs are
            measured (`kerasdl.watch.along_gradient`).
        layers: The layers to watch: names, patterns such as `"dense*"`, or numbers in `model.layers`; all where absent.
            Keras' own names count from the start in each model: `"dense"`, `"dense_1"`, ...
        every: Record every so many steps of an epoch, its first among them.
    """

    model_config = ConfigDict(extra="forbid")

    gradients: bool = Field(default=True, strict=True)
    along_gradient: bool = Field(default=False, strict=True)
    layers: list[str | int] | None = Field(default=None, min_length=1)
    every: int = Field(default=1, ge=1, strict=True)


def trial_watch(watching: Watching | None, writer: "RunWriter") -> "TrialWatch | None":
    """Returns what watches the trials of a run and writes what it sees.

    Args:
        watching: What is asked for, if anything.
        writer: Who writes the run.
    """
    if watching is None:
        return None
    from kerasdl.watch.trials import TrialWatch

    def tell(epoch: int, names: "Names", rows: Mapping[int, np.ndarray]) -> None:
        writer.record_gradients(epoch, [row for trial, own in rows.items() for row in _statistics(trial, names, own)])

    def tell_measures(epoch: int, names: Sequence[str], rows: Mapping[int, np.ndarray]) -> None:
        means = {trial: dict(zip(names, own.mean(axis=0).tolist(), strict=True)) for trial, own in rows.items()}
        writer.record_measures(epoch, means)

    return TrialWatch(
        watching.layers,
        watching.every,
        tell if watching.gradients else None,
        tell_measures if watching.along_gradient else None,
    )


def _statistics(trial: int, names: "Names", rows: np.ndarray) -> list[dict[str, Any]]:
    from kerasdl.watch.reduction import QUANTITIES
    from kerasdl.watch.table import statistics

    numbers = statistics(rows)
    return [
        {
            "trial": trial,
            "position": position,
            "layer": layer,
            "variable": variable,
            "quantity": quantity,
            **{name: values[position, column].item() for name, values in numbers.items()},
        }
        for position, (layer, variable) in enumerate(names)
        for column, quantity in enumerate(QUANTITIES)
    ]
