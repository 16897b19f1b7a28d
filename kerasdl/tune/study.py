"""A question about training, as a TOML file or in Python."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from kerasdl import data, models, recipes
from kerasdl.data import Dataset
from kerasdl.errors import UserError, nearest
from kerasdl.models import Builder
from kerasdl.tune import toml
from kerasdl.tune.reference import Reference
from kerasdl.tune.settings import OPTIMIZERS, check_value, known, owner_hint
from kerasdl.tune.space import Choices, Dimension, Range, in_order

if TYPE_CHECKING:
    from kerasdl.runs import Run

Direction = Literal["min", "max"]

# Parts of the names of metrics, by the direction that is better.
_BETTER: dict[Direction, tuple[str, ...]] = {
    "min": ("loss", "error", "mse", "mae", "entropy", "divergence", "seconds"),
    "max": ("acc", "auc", "precision", "recall", "f1", "iou", "dice", "r2"),
}


class Objective(BaseModel):
    """What is compared.

    Attributes:
        name: A metric's name, `val_` before it for the validation rows.
        direction: Which values are better.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    direction: Direction


class Stopping(BaseModel):
    """The `[early_stopping]` table; see `kerasdl.train.EarlyStopping`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    monitor: str = "val_loss"
    direction: Direction | None = None
    patience: int = Field(5, ge=1)
    min_delta: float = Field(0.0, ge=0)
    restore_best_weights: bool = True


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
        seed: The first of these seeds; the split of the data and the oracle use it too.
        epochs: Epochs of each trial.
        batch_size: Rows in a batch.
        optimizer: Name of the optimizer.
        learning_rate: Its learning rate; Keras' default where absent.
        space: What varies: for each setting a list of values or a range.
        fixed: Settings of model and optimizer that do not vary.
        early_stopping: When trials end before their last epoch.
        reference: Published figures to show beside ours.

    Example:

    ```python
    study = Study(model="mlp", data="digits", space={"depth": [1, 2]}, repeats=3, epochs=5)
    run = study.run("runs/depth")
    print(run.table())
    ```
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    name: str = "study"
    title: str = ""
    question: str = ""
    data: str | Dataset
    model: str | Callable[..., Any]
    objective: str | Objective = "val_accuracy"
    search: Literal["grid", "random", "bayesian", "hyperband"] = "grid"
    trials: int | None = Field(None, ge=1)
    repeats: int = Field(1, ge=1)
    seed: int = Field(0, ge=0)
    epochs: int = Field(10, ge=1)
    batch_size: int = Field(32, ge=1)
    optimizer: str = "adam"
    learning_rate: float | None = Field(None, gt=0, allow_inf_nan=False)
    space: dict[str, Choices | Range] = Field(default_factory=dict)
    fixed: dict[str, Any] = Field(default_factory=dict)
    early_stopping: Stopping | None = None
    reference: Reference | None = None

    _builder: Builder = PrivateAttr()
    _folder: Path = PrivateAttr(default=Path())

    def __init__(self, **values: Any) -> None:
        place = values.pop("__place__", "study")
        folder = values.pop("__folder__", Path())
        try:
            super().__init__(**_shorthand(values, folder))
        except ValidationError as error:
            raise UserError(f"{place}: {_explain(error)}") from error
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
            _change(content, key, value, cls.model_fields)
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
        if isinstance(self.objective, str):
            self.objective = Objective(name=self.objective, direction=direction_of(self.objective, "objective"))
        stopping = self.early_stopping
        if stopping is not None and stopping.direction is None:
            direction = direction_of(stopping.monitor, "early_stopping.monitor")
            self.early_stopping = stopping.model_copy(update={"direction": direction})
        self._check_settings(given)
        self._check_conditions()
        if not self._builder.takes_hp and self._builder.function is not None:
            self._check_metric_names()
        if self.reference is not None:
            self.reference = self.reference.resolved(self._folder)

    def _located(self, specification: str) -> str:
        return data.located(specification, self._folder)

    def _check_settings(self, given: Mapping[str, Any]) -> None:
        twice = [name for name in self.space if name in self.fixed or (name in given and name not in ("space", "fixed"))]
        if twice:
            raise UserError(f"space.{twice[0]}: it varies and is set too; keep one of the two")
        if "optimizer" in self.fixed or "epochs" in self.fixed or "batch_size" in self.fixed:
            for name in ("optimizer", "epochs", "batch_size"):
                if name in self.fixed and name in given:
                    raise UserError(f"fixed.{name}: it is set at the top too; keep one of the two")
        settings = {"optimizer": [self.optimizer], **({"learning_rate": [self.learning_rate]} if self.learning_rate else {})}
        for name, values in settings.items():
            self._check_values(name, name, values)
        for name, value in self.fixed.items():
            self.fixed[name] = self._check_values(f"fixed.{name}", name, [value])[0]
        optimizer = self.space.get("optimizer")
        if optimizer is not None:
            self._check_values("space.optimizer", "optimizer", optimizer.ends)
        for name, one in self.space.items():
            values = self._check_values(f"space.{name}", name, one.ends)
            if isinstance(one, Choices):
                one.values = values

    def _check_values(self, key: str, name: str, values: list[Any]) -> list[Any]:
        try:
            if name != "optimizer":
                self._check_known(name)
            if self._builder.takes_hp and name not in known(self._builder, self.optimizers):
                return values
            if self._builder.any_setting and name not in known(self._builder, OPTIMIZERS):
                return values
            return [check_value(name, value, self._builder) for value in values]
        except ValueError as error:
            raise UserError(f"{key}: {error}") from error

    def _check_known(self, name: str) -> None:
        builder = self._builder
        if name in known(builder, self.optimizers) or builder.any_setting or builder.takes_hp:
            return
        raise ValueError(f"no such setting of {builder.name}, its optimizer or training; {self._owner_hint(name)}")

    def _owner_hint(self, name: str) -> str:
        return owner_hint(name, self._builder, self.optimizers)

    def _check_conditions(self) -> None:
        for name, one in self.space.items():
            for parent, wanted in (one.when or {}).items():
                other = self.space.get(parent)
                if other is None:
                    raise UserError(f"space.{name}.when: {parent!r} does not vary; {nearest(parent, self.space)}")
                for value in wanted if isinstance(wanted, list) else [wanted]:
                    if isinstance(other, Choices) and value not in other.values:
                        raise UserError(
                            f"space.{name}.when: {parent} is never {value!r}; it is one of {other.values}"
                        )
        in_order(self.space)

    def _check_metric_names(self) -> None:
        metrics = ["val_accuracy", "val_loss", "accuracy", "loss"]
        if self.goal.name not in metrics:
            raise UserError(f"objective: {self.goal.name!r} is not computed; {nearest(self.goal.name, metrics)}")
        monitor = self.early_stopping.monitor if self.early_stopping else "val_loss"
        if monitor not in metrics:
            raise UserError(f"early_stopping.monitor: {monitor!r} is not computed; {nearest(monitor, metrics)}")

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
        if isinstance(self.data, Dataset):
            return self.data
        return data.load(self._located(self.data), seed=self.seed)

    def frozen(self, identity: Mapping[str, Any]) -> str:
        """Returns the study as TOML, complete, so that the same text means the same experiment.

        Args:
            identity: What else must be the same for a run to be gone on with: backend, fingerprints.
        """
        content = self.model_dump(exclude_none=True)
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
    ) -> "Run":
        """Runs the study, or goes on with a run of it.

        Args:
            directory: The run's directory; `runs/NAME` by default.
            backend: `"torch"`, `"tensorflow"` or `"jax"`; else Keras' own rule.
            progress: Whether to show progress where there is a terminal.
            fresh: Whether a run that is there is moved aside and a new one started.
            export: Whether the winner is exported.

        Returns:
            The run.

        Raises:
            UserError: Something the study names cannot be used, or the directory holds something else.
            KeyboardInterrupt: It was interrupted; the same call goes on.
        """
        from kerasdl import backend as backends
        from kerasdl.tune.finished import finished_run

        chosen = backends.choose(backend)
        target = Path(directory) if directory is not None else Path("runs") / self.name
        finished = None if fresh else finished_run(self, target, chosen, export=export)
        if finished is not None:
            return finished
        backends.start()
        from kerasdl.tune.search import run_study

        return run_study(self, target, progress=progress, fresh=fresh, export=export)


def direction_of(metric: str, key: str) -> Direction:
    """Returns which values of a metric are better, by its name.

    Raises:
        UserError: The name does not tell.
    """
    name = metric.removeprefix("val_")
    for direction, parts in _BETTER.items():
        if any(part in name for part in parts):
            return direction
    raise UserError(f"{key}: whether {metric!r} is better low or high is not known; say {{name = {metric!r}, "
                    'direction = "min"}} or "max"')


def _shorthand(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Spells out the short forms: a bare list of values in `space`, a bare file name for `reference`."""
    content = dict(values)
    space = content.get("space")
    if isinstance(space, Mapping):
        content["space"] = {name: {"values": one} if isinstance(one, list | tuple) else one for name, one in space.items()}
    if isinstance(content.get("reference"), str):
        content["reference"] = {"file": content["reference"]}
    return content


def _change(content: dict[str, Any], key: str, value: Any, fields: Mapping[str, Any]) -> None:
    first, dot, rest = key.partition(".")
    if dot:
        table = content.setdefault(first, {})
        if not isinstance(table, dict):
            raise UserError(f"--set {key}: {first} is not a table")
        _change(table, rest, value, {rest: None})
        return
    space = content.get("space", {})
    if key in space and isinstance(space, dict):
        # A setting that varied is fixed from now on; a list of values goes on varying.
        if isinstance(value, list):
            space[key] = value
            return
        del space[key]
    if key in fields:
        content[key] = value
    else:
        content.setdefault("fixed", {})[key] = value


def _explain(error: ValidationError) -> str:
    """Says the first thing that is wrong, in a line."""
    first = error.errors()[0]
    # Pydantic names the member of a union it tried; the key in the file has no such part.
    path = [str(part) for part in first["loc"] if part not in ("Choices", "Range", "str", "Objective")]
    path = [part for part in path if not part.startswith(("is-instance", "callable", "function"))]
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        fields = _fields_at(path)
        hint = nearest(path[-1], fields)
        settings = "; settings of the model or the optimizer belong under [fixed] or [space]" if len(path) == 1 else ""
        return f"{key}: no such key; {hint}{settings if 'did you mean' not in hint else ''}"
    if first["type"] == "missing":
        return f"{key}: missing; it must be given"
    message = first["msg"].removeprefix("Value error, ")
    shown = repr(first["input"])
    return f"{key}: {message} (it is {shown[:60]})"


def _fields_at(path: list[str]) -> list[str]:
    if len(path) == 1:
        return [*Study.model_fields]
    tables: dict[str, type[BaseModel]] = {"early_stopping": Stopping, "reference": Reference, "objective": Objective}
    if path[0] == "space":
        return [*Range.model_fields, "values"]
    return [*tables[path[0]].model_fields] if path[0] in tables else []


__all__ = ["Dimension", "Objective", "Stopping", "Study", "direction_of"]
