"""Checks that what a study goes by is computed."""

import keras

from kerasdl.data import Dataset
from kerasdl.errors import UserError, nearest
from kerasdl.train import Trial
from kerasdl.train.building import build
from kerasdl.train.frozen import dataset_of
from kerasdl.tune.study import Study


def check_computed(study: Study, trial: Trial, dataset: Dataset) -> None:
    """Refuses an objective, or a metric that ends trials early, which the model does not compute.

    Args:
        study: The study.
        trial: One of its trials.
        dataset: What it learns from.

    Raises:
        UserError: A metric is not computed.
    """
    try:
        names = _metric_names(build(trial), dataset)
    except UserError:
        raise
    except Exception:  # noqa: BLE001 - it fails again as a trial, where it is recorded
        return
    monitored = study.early_stopping.monitor if study.early_stopping else None
    for key, name in (("objective", study.goal.name), ("early_stopping.monitor", monitored)):
        if name is not None and name not in names:
            raise UserError(f"{key}: {name!r} is not computed; {nearest(name, names)}")


def _metric_names(model: keras.Model, dataset: Dataset) -> list[str]:
    dataset = dataset_of(model, dataset)
    x, y = dataset.train.x[:2], dataset.train.y[:2]
    names = ["loss", *model.compute_metrics(x, keras.ops.convert_to_tensor(y), model(x), None)]
    return [*dict.fromkeys(names), *(f"val_{name}" for name in dict.fromkeys(names) if len(dataset.validation))]
