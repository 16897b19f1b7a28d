"""TensorBoard: scalars and hyperparameters, one folder a run, by the `tensorboard` package alone."""

import os
import platform
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub import errors
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from kerasdl.track.tracker import DIVERGED, FAILED, INTERRUPTED, Tracker, plain
from kerasdl.train.trial import Logs


class TensorBoard(Tracker):
    """Writes what TensorBoard shows as scalars, and its HParams plugin as a table of runs.

    Neither TensorFlow nor torch is imported. `keras.callbacks.TensorBoard`, which needs one of them, draws models and
    histograms too.

    Example:

    ```python
    model.fit(x, y, epochs=5, callbacks=[TensorBoard("logs", hyperparameters={"width": 32})])
    ```

    Args:
        directory: The folder that `tensorboard --logdir` is given; each run is a folder in it.
        name: See `Tracker`.
        hyperparameters: See `Tracker`.
    """

    def __init__(
        self,
        directory: str | Path = "logs",
        *,
        name: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, hyperparameters)
        self.directory = Path(directory)
        self._files: dict[str, Path] = {}

    def _begin(self, name: str, hyperparameters: Mapping[str, Any], told: int) -> int:
        there = list(_events(self.directory / name))
        self._files[name] = _new_file(self.directory / name)
        if not any(event.summary.value for event in there):
            settings = {key: plain(value) for key, value in hyperparameters.items()}
            self._write_summary(name, 0, hparams_pb(settings, trial_id=name))
        return max((event.step for event in there), default=0)

    def _log(self, name: str, epoch: int, metrics: Logs) -> None:
        values = [scalar_pb(metric, value).value[0] for metric, value in metrics.items()]
        self._write_summary(name, epoch, Summary(value=values))

    def _end(self, name: str, status: str, epoch: int, metrics: Logs) -> None:
        if status != INTERRUPTED:
            self._log(name, epoch, metrics)
            self._write_summary(name, epoch, _session_end(status))
        del self._files[name]

    def _conclude(self, hyperparameters: Mapping[str, Any], metrics: Logs) -> None:
        lines = [f"| {key} | {value} |" for key, value in {**hyperparameters, **metrics}.items()]
        self._files[""] = _new_file(self.directory)
        self._write_summary("", 0, text_pb("best", "\n".join(["| best | |", "| --- | --- |", *lines])))

    def _write_summary(self, name: str, step: int, summary: Summary) -> None:
        # A pack may have more runs than a process may have files open.
        with self._files[name].open("ab") as file:
            RecordWriter(file).write(Event(wall_time=time.time(), step=step, summary=summary).SerializeToString())


def _new_file(folder: Path) -> Path:
    """Begins a file of events, beside those that a folder has."""
    folder.mkdir(parents=True, exist_ok=True)
    now = time.time()
    path = folder / f"events.out.tfevents.{now:017.6f}.{platform.node()}.{os.getpid()}"
    with path.open("xb") as file:
        RecordWriter(file).write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    return path


def _events(folder: Path) -> Iterator[Event]:
    """Reads the events of a run, those of a file that broke off as far as they are whole."""
    for path in sorted(folder.glob("events.out.tfevents.*")):
        reader = PyRecordReader_New(str(path))
        while True:
            try:
                reader.GetNext()
            except (errors.OutOfRangeError, errors.DataLossError):
                break
            yield Event.FromString(reader.record())


def _session_end(status: str) -> Summary:
    code = api_pb2.STATUS_FAILURE if status in (DIVERGED, FAILED) else api_pb2.STATUS_SUCCESS
    end = plugin_data_pb2.SessionEndInfo(status=code, end_time_secs=time.time())
    described = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
    summary = Summary()
    summary.value.add(tag=metadata.SESSION_END_INFO_TAG, metadata=described, tensor=metadata.NULL_TENSOR)
    return summary
