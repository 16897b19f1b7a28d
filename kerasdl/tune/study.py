"""A question about training, as a TOML file or in Python."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from kerasdl import data, models, recipes
from kerasdl.data import Dataset
from kerasdl.errors import UserError
from kerasdl.models import Builder
from kerasdl.track.finding import check_installed, check_names
from kerasdl.tune import toml
from kerasdl.tune.baselines import Baseline
from kerasdl.tune.changes import change
from kerasdl.tune.checks import check_conditions, check_metric_names, check_refinement, check_settings
from kerasdl.tune.explain import explain
from kerasdl.tune.keeping import Keeping
from kerasdl.tune.objective import Objective, Stopping, direction_of
from kerasdl.tune.reference import Reference
from kerasdl.tune.refine import Refinement
from kerasdl.tune.space import AnyDimension, Choices, Range
from kerasdl.tune.watching import Watching

if TYPE_CHECKING:
    from kerasdl.runs import Run


class Study(BaseModel):
    """A question about training: data, a model, what varies, how it is trained and how often it is repeated.

    Attributes:
        name: Names the run's directory; the file's name where it comes from a file.
        title: The report's heading.
        question: What the study wants to know.
        data: What to learn from: a specification for `kerasdl.data.load`, or a `Dataset`.
        model: A shipped model, `"file.py:function"`, or a function.
        objective: The metric to compare by.
        search: Which of KerasTuner's oracles proposes configurations.
        trials: How many configurations are tried at most; a grid without it is tried whole.
        repeats: How many seeds each configuration is trained with.
        folds: Cross-validation: training and validation rows are cut into so many parts, and each repeat validates on
            another of them. There are as many repeats then, or a multiple.
        seed: The first of these seeds; the split of the data and the oracle use it too.
        epochs: Epochs of each trial.
        batch_size: Rows in a batch.
        optimizer: Name of the optimizer.
        learning_rate: Its learning rate; Keras' default where absent.
        precision: `"mixed_float16"` or `"mixed_bfloat16"`, Keras' policies that compute in half precision and keep
            weights in float32; float32 throughout where absent. The winner is kept as a float32 model.
        data_parallel: Whether `fit` divides each batch among all devices, by `keras.distribution.DataParallel`, which
            JAX alone has; trials then run one after another, not as packs.
        space: What varies: for each setting a list of values or a range.
        fixed: Settings of model and optimizer that do not vary.
        early_stopping: When trials end before their last epoch.
        refine: Searches closer to the best that follow the first.
        watch: What is recorded of gradients while trials train.
        checkpoint: How often trials in training are kept. No part of what a run is.
        track: Trackers that follow the trials too: `"tensorboard"`, `"wandb"`, `"mlflow"`. No part of what a run is.
        class_weight: How much rows count in the loss, by their class' name; `"balanced"` lets all classes count the
            same.
        reference: Published figures to show beside ours.
        baselines: Models of scikit-learn to hold the winner against: `"majority"`, `"logistic_regression"`,
            `"gradient_boosting"`, trained once on the flattened features.

    Example:

    ```python
    study = Study(model="mlp", data="digits", space={"depth": [1, 2]}, repeats=3, epochs=5)
    run = study.run("runs/depth")
    print(run.table())
    ```
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    name: str = Field("study", pattern=r"^[^/\\]*[^/\\.][^/\\]*$")
    title: str = ""
    question: str = ""
    data: str | Dataset
    model: str | Callable[..., Any]
    objective: str | Objective = "val_accuracy"
    search: Literal["grid", "random", "bayesian", "hyperband"] = "grid"
    trials: int | None = Field(None, ge=1, strict=True)
    repeats: int = Field(1, ge=1, strict=True)
    folds: int | None = Field(None, ge=2, strict=True)
    seed: int = Field(0, ge=0, strict=True)
    epochs: int = Field(10, ge=1, strict=True)
    batch_size: int = Field(32, ge=1, strict=True)
    optimizer: str = "adam"
    learning_rate: float | None = Field(None, gt=0, allow_inf_nan=False, strict=True)
    precision: Literal["mixed_float16", "mixed_bfloat16"] | None = None
    data_parallel: bool = Field(False, strict=True)
    space: dict[str, AnyDimension] = Field(default_factory=dict)
    fixed: dict[str, Any] = Field(default_factory=dict)
    early_stopping: Stopping | None = None
    refine: Refinement | None = None
    watch: Watching | None = None
    checkpoint: Keeping | None = None
    track: list[str] = Field(default_factory=list)
    class_weight: Literal["balanced"] | dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = None
    reference: Reference | None = None
    baselines: list[Baseline] = Field(default_factory=list)

    _builder: Builder = PrivateAttr()
    _folder: Path = PrivateAttr(default=Path())

    def __init__(self, /, **values: Any) -> None:
        place = values.pop("__place__", "study")
        folder = values.pop("__folder__", Path())
        try:
            super().__init__(**_shorthand(values))
        except ValidationError as error:
            raise UserError(f"{place}: {explain(error, type(self), _TABLES)}") from error
        self._folder = folder
        try:
            self._check(values)
        except (UserError, ValueError) as error:
            raise UserError(f"{place}: {error}") from error

    @classmethod
    def load(cls, name_or_path: str | Path, changes: Mapping[str, Any] | None = None) -> "Study":
        """Reads a study.

        Args:
            name_or_path: A shipped study's name, or the path of a TOML file.
            changes: Keys to change, by name: those of a study, or the names of settings, which are then fixed;
                `"space.depth"` reaches into a table.

        Returns:
            The study, checked: what it names is there and can be.

        Raises:
            UserError: Something in it cannot be used; the message names the file, the key and the way out.
        """
        path = recipes.find("tuning", str(name_or_path))
        content = toml.read(path)
        content.pop("identity", None)
        content.setdefault("name", path.stem)
        for key, value in (changes or {}).items():
            change(content, key, value, cls.model_fields)
        return cls(__place__=str(path), __folder__=path.parent, **content)

    @property
    def builder(self) -> Builder:
        """What builds the model."""
        return self._builder

    @property
    def goal(self) -> Objective:
        """The objective with its direction."""
        return cast(Objective, self.objective)

    @property
    def optimizers(self) -> list[str]:
        """The optimizers that trials may use."""
        one = self.space.get("optimizer")
        return list(one.ends) if one else [self.fixed.get("optimizer", self.optimizer)]

    def _check(self, given: Mapping[str, Any]) -> None:
        self._builder = models.find(self.model, self._folder)
        if isinstance(self.data, str):
            data.check(self._located(self.data))
        self._settle_directions()
        check_settings(self, given)
        check_conditions(self)
        check_refinement(self)
        check_names(self.track)
        self._settle_repeats(given)
        if self.reference is not None:
            self.reference = self.reference.resolved(self._folder)

    def _settle_directions(self) -> None:
        objective, stopping = self.objective, self.early_stopping
        if self._builder.shipped:
            name = objective if isinstance(objective, str) else objective.name
            check_metric_names(self._builder.name, name, stopping.monitor if stopping else None)
        if isinstance(objective, str):
            self.objective = Objective(name=objective, direction=direction_of(objective, "objective"))
        if stopping is not None and stopping.direction is None:
            direction = direction_of(stopping.monitor, "early_stopping.monitor")
            self.early_stopping = stopping.model_copy(update={"direction": direction})

    def _settle_repeats(self, given: Mapping[str, Any]) -> None:
        if self.folds is None:
            return
        if "repeats" not in given:
            self.repeats = self.folds
        elif self.repeats % self.folds:
            raise UserError(
                f"repeats: {self.repeats} is no multiple of folds ({self.folds}), so that some would validate more "
                "often than others; leave repeats out"
            )

    def _located(self, specification: str) -> str:
        return data.located(specification, self._folder)

    def settings(self, varied: Mapping[str, Any]) -> dict[str, Any]:
        """Returns every setting of a configuration with its value.

        Args:
            varied: The values of the settings that vary.
        """
        complete = {
            **self._builder.defaults(),
            "optimizer": self.optimizer,
            "learning_rate": self.learning_rate,
            "batch_size": self.batch_size,
            "epochs": self.epochs,
            **self.fixed,
            **varied,
        }
        return {name: value for name, value in complete.items() if value is not None}

    def load_data(self) -> Dataset:
        """Loads what the study learns from."""
        given = self.data
        dataset = given if isinstance(given, Dataset) else data.load(self._located(given), seed=self.seed)
        return dataset if self.class_weight is None else data.with_class_weights(dataset, self.class_weight)

    def frozen(self, identity: Mapping[str, Any]) -> str:
        """Returns the study as TOML, complete, so that the same text means the same experiment.

        Args:
            identity: What else must be the same for a run to be gone on with: backend, fingerprints.
        """
        content = self.model_dump(exclude_none=True, exclude={"checkpoint", "track"})
        content["data"] = self._located(self.data) if isinstance(self.data, str) else self.data.name
        if self._builder.path is not None:
            content["model"] = f"{self._builder.path.absolute()}:{self._builder.name.rpartition(':')[2]}"
        elif not isinstance(self.model, str):
            content["model"] = self._builder.name
        if self._builder.fingerprint:
            identity = {**identity, "model": self._builder.fingerprint}
        return toml.write({**content, "identity": dict(identity)})

    def run(
        self,
        directory: str | Path | None = None,
        *,
        backend: str | None = None,
        progress: bool = True,
        fresh: bool = False,
        export: bool = True,
        memory: int | None = None,
        checkpoint: float | None = None,
        track: Sequence[str] | None = None,
    ) -> "Run":
        """Runs the study, or goes on with a run of it.

        Args:
            directory: The run's directory; `runs/NAME` by default.
            backend: `"torch"`, `"tensorflow"` or `"jax"`; else Keras' own rule.
            progress: Whether to show progress where there is a terminal.
            fresh: Whether a run that is there is moved aside and a new one started.
            export: Whether the winner is exported.
            memory: Bytes that trials which run as one program may use; half of what is free on the device where absent.
            checkpoint: The least time between two checkpoints of trials in training, in seconds; what the study says,
                or 30, where absent.
            track: Trackers, instead of those that the study names.

        Returns:
            The run.

        Raises:
            UserError: Something the study names cannot be used, or the directory holds something else.
            KeyboardInterrupt: It was interrupted; the same call goes on.
        """
        from kerasdl import backend as backends
        from kerasdl.tune.finished import finished_run

        trackers = check_installed(self.track if track is None else track)
        chosen = backends.choose(backend)
        target = Path(directory) if directory is not None else Path("runs") / self.name
        finished = None if fresh else finished_run(self, target, chosen, export=export)
        if finished is not None:
            return finished
        backends.start()
        # A file of the user's that cannot be imported leaves no run behind.
        self._builder.load()
        from kerasdl.tune.search import run_study

        return run_study(
            self, target, trackers, progress=progress, fresh=fresh, export=export, memory=memory, checkpoint=checkpoint
        )

    def explain(self, *, backend: str | None = None, memory: int | None = None) -> str:
        """Tells how the study would run, without training: its packs, its stages, and what is trained alone and why.

        Args:
            backend: As for `run`.
            memory: As for `run`.
        """
        from kerasdl import backend as backends

        backends.choose(backend)
        backends.start()
        from kerasdl.tune.forecast import forecast

        return forecast(self, memory)


def _shorthand(values: dict[str, Any]) -> dict[str, Any]:
    """Spells out the short forms: a bare list of values in `space`, a bare file name for `reference`."""
    content = dict(values)
    space = content.get("space")
    if isinstance(space, Mapping):
        content["space"] = {
            name: {"values": one} if isinstance(one, list | tuple) else one for name, one in space.items()
        }
    if isinstance(content.get("reference"), str):
        content["reference"] = {"file": content["reference"]}
    return content


_TABLES: dict[str, type[BaseModel]] = {
    "checkpoint": Keeping,
    "early_stopping": Stopping,
    "reference": Reference,
    "refine": Refinement,
    "watch": Watching,
    "objective": Objective,
    "Choices": Choices,
    "Range": Range,
}
