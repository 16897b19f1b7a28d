"""Weights & Biases: one run of theirs a run of ours, online or, with `WANDB_MODE=offline`, in files."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from kerasdl.track.tracker import COMPLETED, DIVERGED, Tracker
from kerasdl.train.trial import Logs


class WandB(Tracker):
    """Writes runs to Weights & Biases: settings as `config`, metrics by epoch, the end as `summary`.

    All that its environment variables settle (`WANDB_MODE`, `WANDB_ENTITY`, `WANDB_API_KEY`, ...) stays theirs.

    Example:

    ```python
    model.fit(x, y, epochs=5, callbacks=[WandB("rates", hyperparameters={"width": 32})])
    ```

    Args:
        project: The project; `WANDB_PROJECT` or theirs by default where absent.
        group: What runs are grouped by.
        directory: Where their folder `wandb` is made; the current folder where absent.
        name: See `Tracker`.
        hyperparameters: See `Tracker`.
    """

    def __init__(
        self,
        project: str | None = None,
        *,
        group: str | None = None,
        directory: str | Path | None = None,
        name: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, hyperparameters)
        # No name of a project may hold these.
        self.project = None if project is None else re.sub(r"[/\\#?%:]", "-", project)
        self.group = group
        # Their own process writes it, from the folder where that was started.
        self.directory = Path(directory or ".").absolute()
        self._runs: dict[str, wandb.Run] = {}

    def _begin(self, name: str, hyperparameters: Mapping[str, Any], told: int) -> int:
        identity = self._identity(name)
        there = any((self.directory / "wandb").glob(f"*-{identity}"))
        run = self._runs[name] = self._init(name, hyperparameters)
        # Offline nobody can be asked what the run holds; its steps are one more than its last epoch online.
        return told if there and run.offline else max(run.step - 1, 0)

    def _init(self, name: str, hyperparameters: Mapping[str, Any], kind: str = "trial") -> "wandb.Run":
        # The lines about each of many runs would stand in the middle of a study's progress.
        quiet = wandb.Settings(silent=True, console="off") if self.group is not None else None
        return wandb.init(
            project=self.project,
            group=self.group,
            id=self._identity(name),
            name=name,
            job_type=kind,
            resume="allow",
            reinit="create_new",
            dir=self.directory,
            config=dict(hyperparameters),
            settings=quiet,
        )

    def _identity(self, name: str) -> str:
        return hashlib.sha256(f"{self.group or ''}/{name}".encode()).hexdigest()[:16]

    def _log(self, name: str, epoch: int, metrics: Logs) -> None:
        self._runs[name].log(dict(metrics), step=epoch)

    def _end(self, name: str, status: str, epoch: int, metrics: Logs) -> None:
        run = self._runs.pop(name)
        run.summary.update({"status": status, **metrics})
        # A trial that diverged did what was asked of it.
        run.finish(exit_code=0 if status in (COMPLETED, DIVERGED) else 1)

    def _conclude(self, hyperparameters: Mapping[str, Any], metrics: Logs) -> None:
        self._runs["best"] = self._init("best", hyperparameters, "search")
        self._end("best", COMPLETED, 0, metrics)
