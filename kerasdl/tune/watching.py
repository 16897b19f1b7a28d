"""What a study watches while its trials train."""

from collections.abc import Iterator, Mapping, Sequence
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
        writer.record_gradients(epoch, _seen(names, rows))

    def tell_measures(epoch: int, names: Sequence[str], rows: Mapping[int, np.ndarray]) -> None:
        means = {trial: dict(zip(names, own.mean(axis=0).tolist(), strict=True)) for trial, own in rows.items()}
        writer.record_measures(epoch, means)

    def tell_unmeasured(trials: Sequence[int], why: str) -> None:
        numbers = ", ".join(map(str, trials))
        writer.record_event("watch", f"trial {numbers}: not measured along the gradient: {why}")

    return TrialWatch(
        watching.layers,
        watching.every,
        tell if watching.gradients else None,
        tell_measures if watching.along_gradient else None,
        tell_unmeasured,
    )


def _seen(names: "Names", rows: Mapping[int, np.ndarray]) -> Iterator[tuple[Any, ...]]:
    """Yields the rows of an epoch, as `RunWriter.record_gradients` takes them.

    Args:
        names: The weights.
        rows: For each trial by its number, `(steps, names, quantities)`, all of them trained in step.
    """
    from kerasdl.watch.reduction import QUANTITIES
    from kerasdl.watch.table import statistics

    # All at once: an epoch may last no longer than this takes trial by trial.
    numbers = statistics(np.stack(list(rows.values()), axis=1))
    columns = [values.reshape(len(rows), -1).tolist() for values in numbers.values()]
    seen = [
        (position, layer, variable, quantity)
        for position, (layer, variable) in enumerate(names)
        for quantity in QUANTITIES
    ]
    for index, trial in enumerate(rows):
        for what, *values in zip(seen, *(column[index] for column in columns), strict=True):
            yield (trial, *what, *values)
