"""What models of two features predict over the plane, for the report's pictures of decision boundaries."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import keras
import numpy as np

from kerasdl.data import Dataset
from kerasdl.runs.regions import ENDS, PREFIX, ROWS
from kerasdl.runs.writer import load_weights

if TYPE_CHECKING:
    from kerasdl.runs import Run, RunWriter
    from kerasdl.tune.trials import TrialMaker

# Points along each side of the plane, and training rows that are shown with it.
SIDE = 80
SHOWN = 400
# With more classes than this the regions are a map, not a picture of a boundary.
MOST_CLASSES = 10


class Regions:
    """Keeps what the first repeat of each configuration predicts over the plane, where there is one.

    Args:
        writer: Who writes the run.
        read: The same run, to read.
        maker: Builds its models.
        dataset: What they learn from.
    """

    def __init__(self, writer: "RunWriter", read: "Run", maker: "TrialMaker", dataset: Dataset) -> None:
        self._writer, self._read, self._maker, self._dataset = writer, read, maker, dataset
        self._drawable = dataset.input_shape == (2,) and len(dataset.classes) <= MOST_CLASSES

    def keep(self, trials: Iterable[int]) -> None:
        """Keeps the regions of some trials that have ended, those with a configuration's first seed.

        Args:
            trials: Their numbers; their weights are still there.
        """
        if not self._drawable:
            return
        rows = self._read.trials()
        done = rows[rows["trial"].isin([*trials]) & (rows["status"] == "completed")]
        done = done[done["seed"] == rows["seed"].min()]
        if len(done):
            self._keep_plane()
        for trial, configuration in zip(done["trial"], done["configuration"], strict=True):
            model = self._maker.model(self._read.configurations()[int(configuration)])
            model.set_weights(load_weights(self._writer.directory, int(trial)))
            outputs = np.asarray(keras.ops.convert_to_numpy(model(self._plane())), dtype="float32")
            # One output is the probability of the second of two classes; of several, the largest is the class.
            shown = outputs[:, 0] if outputs.shape[1] == 1 else outputs.argmax(axis=1) / (outputs.shape[1] - 1)
            self._writer.record_array(f"{PREFIX}{configuration}", shown.reshape(SIDE, SIDE).astype("float16"))

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        x = self._dataset.train.x
        low, high = x.min(axis=0), x.max(axis=0)
        room = 0.05 * (high - low)
        return low - room, high + room

    def _plane(self) -> np.ndarray:
        low, high = self._ends()
        across, up = (np.linspace(low[axis], high[axis], SIDE, dtype="float32") for axis in (0, 1))
        return np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)

    def _keep_plane(self) -> None:
        train, scaling = self._dataset.train, self._dataset.scaling
        self._writer.record_array(ENDS, scaling.invert(np.stack(self._ends())))
        points = scaling.invert(train.x[:SHOWN])
        self._writer.record_array(ROWS, np.column_stack([points, train.y[:SHOWN]]).astype("float32"))
