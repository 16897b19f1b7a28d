"""Why the trials of a tuner must run as KerasTuner runs them, one by one."""

import os

import keras_tuner
from keras_tuner.engine import hypermodel as hypermodels

# What a subclass may have made its own, and what is called for each trial, epoch or batch that `fit` trains.
_OVERRIDABLE = (
    "run_trial",
    "_build_and_fit_model",
    "_try_build",
    "_run_and_update_trial",
    "_try_run_and_update_trial",
    "on_epoch_begin",
    "on_epoch_end",
    "on_batch_begin",
    "on_batch_end",
)
_OURS = ("keras_tuner.", "kerasdl.")


def in_parallel() -> bool:
    """Tells whether KerasTuner's environment variables make this process a chief or a worker."""
    return "KERASTUNER_ORACLE_IP" in os.environ


def obstacle(tuner: keras_tuner.Tuner) -> str | None:
    """Returns why no trial of a tuner can run in a pack, if so."""
    for name in _OVERRIDABLE:
        if name in vars(tuner) or not _defined_in(type(tuner), name).startswith(_OURS):
            return f"{type(tuner).__name__} has a {name} of its own"
    hypermodel = tuner.hypermodel
    if "fit" in vars(hypermodel) or type(hypermodel).fit is not hypermodels.HyperModel.fit:
        return f"{type(hypermodel).__name__} has a fit of its own"
    if tuner.distribution_strategy is not None:
        return "there is a distribution strategy"
    objective = tuner.oracle.objective
    if objective.name == "default_objective":
        return "there is no objective"
    if objective.name == "multi_objective":
        return "there are several objectives"
    return None


def _defined_in(kind: type, name: str) -> str:
    return next(one.__module__ for one in kind.__mro__ if name in vars(one))
