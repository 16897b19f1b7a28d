"""Makes the trials of a study's configurations, and their blueprints."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import keras_tuner

from kerasdl.data import Dataset, Folds
from kerasdl.errors import UserError
from kerasdl.models import builders
from kerasdl.train import EarlyStopping, Trial
from kerasdl.train.building import LookedAt, building
from kerasdl.train.data_parallel import check_devices
from kerasdl.train.frozen import FrozenBodies, body_of
from kerasdl.train.trial import first_line
from kerasdl.train.watching import Watch
from kerasdl.tune.compiling import built_model, compile_classifier, own_settings, policy
from kerasdl.tune.planner import Blueprint, Pack, blueprint, plan
from kerasdl.tune.proposals import Proposals
from kerasdl.tune.settings import FINE_TUNING
from kerasdl.tune.space import Dimension, Encoding
from kerasdl.tune.study import Study


class TrialMaker:
    """What a study trains.

    Args:
        study: The study.
        dataset: What it learns from.
        watch: What is to be seen of each step.

    Raises:
        UserError: The study divides batches, which cannot be done here.
    """

    def __init__(self, study: Study, dataset: Dataset, watch: Watch | None = None) -> None:
        if study.data_parallel:
            check_devices()
        self._watch = watch
        self._study = study
        self._dataset = dataset
        self._folds = Folds(dataset, study.folds, study.seed)
        self._function = study.builder.load()
        self._bodies = FrozenBodies()
        # The origins whose models are compiled as the study says.
        self._compiled_here: set[str] = set()
        self._available: dict[str, Any] = {"input_shape": dataset.input_shape, "classes": len(dataset.classes)}

    def proposals(self) -> Proposals:
        """Returns the study's configurations, to be asked for."""
        return Proposals(self._study, self._declare if self._study.builder.takes_hp else None)

    def closer_proposals(self, space: dict[str, Dimension], trials: int, first: int) -> Proposals:
        """Returns configurations drawn at random from a narrower space, to be asked for.

        Args:
            space: The space.
            trials: How many.
            first: The number of the first.
        """
        changes = {"space": space, "search": "random", "trials": trials, "seed": self._study.seed + first}
        return Proposals(self._study.model_copy(update=changes), first=first)

    def _declare(self, hyperparameters: keras_tuner.HyperParameters) -> None:
        settings = self._study.settings(Encoding(self._study.space).decode(hyperparameters.values))
        own = own_settings(self._study.builder, settings)
        builders.call(self._function, own, {**self._available, "hp": hyperparameters})

    def model(self, settings: Mapping[str, Any]) -> Any:
        """Builds a configuration's compiled model, to be trained."""
        return self._model(settings, self._study.precision, self._dataset)

    def lasting_model(self, settings: Mapping[str, Any]) -> Any:
        """Builds a configuration's compiled model as it is kept: in float32 where training computed in less."""
        return self._model(settings, "float32" if self._study.precision else None, self._dataset)

    def _model(self, settings: Mapping[str, Any], precision: str | None, dataset: Dataset) -> Any:
        with building(), policy(precision):
            model = built_model(self._study, self._function, settings, self._available)
            if isinstance(model, keras.Model) and not model.compiled:
                compile_classifier(model, settings, dataset)
                self._compiled_here.add(self._origin(settings))
            return model

    def _origin(self, settings: Mapping[str, Any]) -> str:
        builder = self._study.builder
        seen = settings if builder.takes_hp else own_settings(builder, settings)
        return repr(sorted(seen.items()))

    @property
    def first_dataset(self) -> Dataset:
        """What the first repeat learns from."""
        return self._folds.of(0)

    def dataset_of(self, trial: Trial) -> Dataset:
        """Returns what a trial learns from."""
        return self._folds.of(trial.seed - self._study.seed)

    def trial(self, number: int, configuration: int, seed: int, settings: Mapping[str, Any]) -> Trial:
        """Makes one trial of a configuration."""
        rule = self._study.early_stopping
        stopping = None if rule is None else EarlyStopping(**rule.model_dump())
        fold = self._folds.number(seed - self._study.seed)
        origin = self._origin(settings)

        def build() -> Any:
            dataset = self._folds.of(fold)
            model = self._model(settings, self._study.precision, dataset)
            return self._bodies.parted(model, dataset, fold)

        def recompile(model: keras.Model) -> keras.Model | None:
            # A builder's own way to compile is not known, and a slow or frozen body is part of a model.
            alters = any(name in settings for name in FINE_TUNING) or body_of(model) is not None
            if alters or origin not in self._compiled_here:
                return None
            with policy(self._study.precision):
                compile_classifier(model, settings, self._folds.of(fold))
            return model

        return Trial(
            number,
            configuration,
            seed,
            build,
            settings["epochs"],
            settings["batch_size"],
            stopping,
            self._study.data_parallel,
            origin,
            recompile,
        )

    def trials(self, settings: Mapping[int, Mapping[str, Any]]) -> list[Trial]:
        """Makes every repeat of some configurations.

        Args:
            settings: Every setting of each configuration by its number.
        """
        repeats, seed = self._study.repeats, self._study.seed
        return [
            self.trial(configuration * repeats + repeat, configuration, seed + repeat, values)
            for configuration, values in settings.items()
            for repeat in range(repeats)
        ]

    def blueprints(self, trials: Sequence[Trial]) -> tuple[dict[int, Blueprint], dict[int, str]]:
        """Builds each configuration once.

        Returns:
            What each builds by its number, and the errors of those that cannot be built.
        """
        found: dict[int, Blueprint] = {}
        errors: dict[int, str] = {}
        models = LookedAt()
        for trial in trials:
            number = trial.configuration
            if number in found or number in errors:
                continue
            try:
                found[number] = blueprint(trial, self.dataset_of(trial), self._watch, models)
            except UserError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a user's builder raises is a result of the trial
                errors[number] = first_line(error)
        return found, errors

    def packs(
        self, trials: Sequence[Trial], blueprints: Mapping[int, Blueprint], memory: int | None = None
    ) -> list[Pack]:
        """Forms packs of trials that learn from the same rows, see `kerasdl.tune.planner.plan`.

        Args:
            trials: What is to be trained.
            blueprints: What each configuration builds, by its number; configurations without are left out.
            memory: Bytes that a pack may use; half of what is free where absent.
        """
        by_fold: dict[int, list[Trial]] = {}
        for trial in trials:
            if trial.configuration in blueprints:
                by_fold.setdefault(self._folds.number(trial.seed - self._study.seed), []).append(trial)
        return [pack for own in by_fold.values() for pack in plan(own, blueprints, memory)]
