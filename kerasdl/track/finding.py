"""Finds trackers by the names that studies call them by."""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kerasdl.errors import UserError, nearest

if TYPE_CHECKING:
    from kerasdl.track.tracker import Tracker

# Each is also the name of the package that it needs, and of kerasdl's extra that brings it.
NAMES = ("tensorboard", "wandb", "mlflow")


def check_names(names: Sequence[str]) -> None:
    """Refuses names that no tracker has.

    Args:
        names: What was asked for.

    Raises:
        UserError: One of them is unknown.
    """
    for name in names:
        if name not in NAMES:
            raise UserError(f"track: {name!r} is no tracker; {nearest(name, NAMES)}")


def check_installed(names: Sequence[str], where: str = "track") -> Sequence[str]:
    """Refuses trackers that are unknown or whose package is not installed.

    Args:
        names: Trackers.
        where: Where they were asked for.

    Returns:
        The names.

    Raises:
        UserError: A name is unknown, or a package is missing; the message names the extra that brings it.
    """
    check_names(names)
    for name in names:
        found = importlib.util.find_spec(name)
        # A folder of that name, such as the one that W&B makes, is no package.
        if found is None or found.origin is None:
            raise UserError(f"{where}: {name} is not installed here; install it: pip install 'kerasdl[{name}]'")
    return names


def study_tracker(name: str, directory: Path, study: str, key: str) -> "Tracker":
    """Makes a tracker for the trials of a run.

    Projects and addresses are the environment's where it names them, as each tracker's own documentation says:
    `WANDB_PROJECT`, `WANDB_MODE`, `MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME`.

    Args:
        name: One of `NAMES`.
        directory: The run's directory.
        study: The study's name.
        key: Tells the run from all others.
    """
    group = f"{directory.absolute().name}-{key}"
    if name == "tensorboard":
        from kerasdl.track.tensorboard import TensorBoard

        return TensorBoard(directory / "tensorboard")
    if name == "wandb":
        from kerasdl.track.wandb import WandB

        return WandB(os.environ.get("WANDB_PROJECT") or study, group=group, directory=directory)
    from kerasdl.track.mlflow import MLflow, local_store

    uri = os.environ.get("MLFLOW_TRACKING_URI") or local_store(directory / "mlflow")
    return MLflow(uri, os.environ.get("MLFLOW_EXPERIMENT_NAME") or study, group=group)
