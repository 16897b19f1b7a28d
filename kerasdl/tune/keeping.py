"""When trials in training are kept, to go on after the process was killed."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from kerasdl.train.checkpoint import Checkpoints

FOLDER = "checkpoints"
# Where neither a study nor its caller says how often.
SECONDS = 30.0


class Keeping(BaseModel):
    """The `[checkpoint]` table of a study: how often trials in training are kept. No part of what a run is.

    Where both are given, whichever comes first.

    Attributes:
        epochs: After each so many epochs.
        minutes: At the first batch's end after so many minutes, or epoch's end of trials that run as one program.
    """

    model_config = ConfigDict(extra="forbid")

    epochs: int | None = Field(default=None, ge=1, strict=True)
    minutes: float | None = Field(default=None, ge=0, allow_inf_nan=False, strict=True)


def checkpoints(keeping: Keeping | None, seconds: float | None, run: Path) -> "Checkpoints":
    """Returns who keeps a run's trials.

    Args:
        keeping: What the study says.
        seconds: What the caller says instead.
        run: The run's directory.
    """
    from kerasdl.train.checkpoint import Checkpoints

    if seconds is None and keeping is not None and (keeping.epochs or keeping.minutes is not None):
        return Checkpoints(run / FOLDER, None if keeping.minutes is None else 60 * keeping.minutes, keeping.epochs)
    return Checkpoints(run / FOLDER, SECONDS if seconds is None else seconds)
