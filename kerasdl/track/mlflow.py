"""MLflow: one run of theirs a run of ours, on a server or in a local database."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from kerasdl.track.tracker import COMPLETED, FAILED, INTERRUPTED, Tracker, plain
from kerasdl.train.trial import Logs

GROUP, NAME, STATUS = "kerasdl.group", "kerasdl.name", "kerasdl.status"
# What their page nests runs by.
PARENT = "mlflow.parentRunId"


class MLflow(Tracker):
    """Writes runs to MLflow: settings as parameters, metrics by epoch, the status as a tag.

    Example:

    ```python
    model.fit(x, y, epochs=5, callbacks=[MLflow(experiment="rates", hyperparameters={"width": 32})])
    ```

    Args:
        uri: The server or the store; `MLFLOW_TRACKING_URI` or theirs by default where absent.
        experiment: The experiment, made where it is missing.
        group: What runs are grouped by: they stand under a run of this name.
        name: See `Tracker`.
        hyperparameters: See `Tracker`.
    """

    def __init__(
        self,
        uri: str | None = None,
        experiment: str = "kerasdl",
        *,
        group: str | None = None,
        name: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, hyperparameters)
        self.uri = uri
        self.experiment = experiment
        self.group = group
        self._made: MlflowClient | None = None
        self._parent = ""
        self._runs: dict[str, str] = {}

    def _begin(self, name: str, hyperparameters: Mapping[str, Any], told: int) -> int:
        if self.group is not None and not self._parent:
            self._parent = self._run(self.group, {}).info.run_id
        run = self._run(name, {PARENT: self._parent} if self._parent else {})
        self._runs[name] = identity = run.info.run_id
        client = self._client
        client.log_batch(identity, params=_parameters(hyperparameters))
        steps = [one.step for metric in run.data.metrics for one in client.get_metric_history(identity, metric)]
        return max(steps, default=0)

    @property
    def _client(self) -> MlflowClient:
        if self._made is None:
            # It tells of each table of a new database.
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
            self._made = MlflowClient(self.uri)
        return self._made

    def _run(self, name: str, tags: Mapping[str, str]) -> Run:
        """Finds a run by its tags, or begins it."""
        client, own = self._client, {GROUP: self.group or "", NAME: name}
        experiment = self._experiment()
        condition = " and ".join(f"tags.`{tag}` = '{_quoted(value)}'" for tag, value in own.items())
        found = client.search_runs([experiment], condition, max_results=1)
        if found:
            client.update_run(found[0].info.run_id, status="RUNNING")
            return found[0]
        return client.create_run(experiment, tags={**own, **tags}, run_name=name)

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        return found.experiment_id if found else self._client.create_experiment(self.experiment)

    def _log(self, name: str, epoch: int, metrics: Logs) -> None:
        self._client.log_batch(self._runs[name], metrics=_metrics(metrics, epoch))

    def _end(self, name: str, status: str, epoch: int, metrics: Logs) -> None:
        self._finish(self._runs.pop(name), status, epoch, metrics)

    def _conclude(self, hyperparameters: Mapping[str, Any], metrics: Logs) -> None:
        self._client.log_batch(self._parent, params=_parameters(hyperparameters))
        self._finish(self._parent, COMPLETED, 0, metrics)
        self._parent = ""

    def close(self) -> None:
        """Ends the runs that are open as interrupted, and the one that they stand under."""
        super().close()
        if self._parent:
            self._guarded(self._finish, self._parent, INTERRUPTED, 0, {})

    def _finish(self, identity: str, status: str, epoch: int, metrics: Logs) -> None:
        self._client.log_batch(identity, metrics=_metrics(metrics, epoch), tags=[RunTag(STATUS, status)])
        code = {FAILED: "FAILED", INTERRUPTED: "KILLED"}.get(status, "FINISHED")
        self._client.set_terminated(identity, code)


def local_store(directory: Path) -> str:
    """Returns the address of a store of one's own in a folder, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(directory / 'mlflow.db').absolute()}"


def _quoted(value: str) -> str:
    return value.replace("'", "\\'")


def _parameters(hyperparameters: Mapping[str, Any]) -> list[Param]:
    return [Param(name, str(plain(value))) for name, value in hyperparameters.items()]


def _metrics(metrics: Logs, epoch: int) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, value, now, epoch) for name, value in metrics.items()]
