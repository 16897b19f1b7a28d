"""The winner of a run."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasdl.safety import load_model

if TYPE_CHECKING:
    import keras
    import pandas as pd

BEST_NAME = "best.keras"


@dataclass(frozen=True)
class Best:
    """The winner of a run.

    Attributes:
        configuration: Its number.
        trial: The repeat whose weights are in `best.keras`.
        settings: Every setting with its value.
        scores: `mean`, `std`, `low`, `high` of the objective, and `test` with the mean of each test metric.
        path: Where the Keras model is.
    """

    configuration: int
    trial: int
    settings: dict[str, Any]
    scores: dict[str, Any]
    path: Path

    def load(self) -> "keras.Model":
        """Loads the Keras model; its file is checked first, so that no code comes out of it.

        Raises:
            FileNotFoundError: The run has not ended, so no winner was saved.
            UserError: The file would do more than hold a model.
        """
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: not there; the run has not ended: run the study again to go on")
        from kerasdl.backend import choose

        choose()
        # They register the schedules, losses and metrics that the winner may have been compiled with.
        for module in ("kerasdl.watch.schedules", "kerasdl.models.segmentation"):
            importlib.import_module(module)
        return load_model(self.path, compile=True)


def best_trial(scores: "pd.DataFrame", configuration: int, direction: str) -> int:
    """Returns the number of a configuration's completed trial that scored best.

    Args:
        scores: As `Run.scores` gives them.
        configuration: Its number.
        direction: `"max"` or `"min"`: which scores are better.
    """
    own = scores[(scores["configuration"] == configuration) & (scores["status"] == "completed")]
    place = own["score"].argmax() if direction == "max" else own["score"].argmin()
    return int(own["trial"].iloc[place])
