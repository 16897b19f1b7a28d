"""Decides which trials run as one program."""

import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kerasdl.collection import uncollected
from kerasdl.data import Dataset
from kerasdl.train import Trial, numbers
from kerasdl.train.backends import current_backend
from kerasdl.train.body import starts_of
from kerasdl.train.building import LookedAt
from kerasdl.train.data_parallel import devices
from kerasdl.train.frozen import body_of, dataset_of
from kerasdl.train.scoring import SCORING_BYTES
from kerasdl.train.seats import Member
from kerasdl.train.watching import Watch

_CONVOLUTION = "conv"


@dataclass(frozen=True)
class Pack:
    """Members that run as one program.

    Attributes:
        members: What is trained side by side.
        how: A sentence on how they run, and why.
        fused: Whether the program is kerasdl's; else Keras' `fit` trains them one after another.
        timed: A name for what they build where steps must be timed to know whether running all at once is faster than
            one after another.
        share: An estimate of the memory that it needs, as a share of what a pack may use.
    """

    members: tuple[Member, ...]
    how: str
    fused: bool = True
    timed: str | None = None
    share: float = 1.0

    @property
    def narrow(self) -> bool:
        """Whether it leaves processors idle that another pack can use, as programs of small operations do."""
        return self.fused and self.timed is None

    @property
    def work(self) -> float:
        """How long it takes, compared with other packs of a study: about as many bytes are moved in each step."""
        longest = self.members[0].longest
        return self.share * max(member.longest.epochs for member in self.members) / longest.batch_size

    @property
    def trials(self) -> list[Trial]:
        """All trials of all members."""
        return [trial for member in self.members for trial in member.trials]

    def programs(self, *, together: bool = True) -> list[list[dict[int, int]]]:
        """Returns the epochs that each trial asks for by its number, by program and by member.

        Args:
            together: Whether one program runs all members at once, where kerasdl's own does.
        """
        members = [{trial.number: trial.epochs for trial in member.trials} for member in self.members]
        return [members] if self.fused and together else [[member] for member in members]


@dataclass(frozen=True)
class Blueprint:
    """What a configuration builds, to be compared.

    Attributes:
        architecture: Layers, optimizer, loss and metrics as one text, without the numbers that can be stacked and
            without what the weights start from.
        numbers: Those numbers.
        start: What the weights start from, but for the seed.
        obstacle: Why it cannot run as part of a program of kerasdl's, if so.
        timed: Whether only timing can tell if members are faster together.
        frozen: Whether only the head is trained, on features that a frozen body gave once.
        member_bytes: An estimate of the memory that one member needs.
    """

    architecture: str
    numbers: tuple[tuple[str, float], ...]
    start: str
    obstacle: str | None
    timed: bool
    frozen: bool
    member_bytes: int


def plan(trials: Sequence[Trial], blueprints: Mapping[int, Blueprint], memory: int | None = None) -> list[Pack]:
    """Forms packs.

    Trials share a pack when they build the same architecture with the same optimizer, loss, metrics and batch size and
    differ in their seed, in how weights are initialized and in numbers that can be stacked alone: learning rate, weight
    decay, L1, L2, the optimizer's betas, rho and epsilon (horizontal fusion, as in HFTA, Wang et al., MLSys 2021).
    Trials that differ in the number of epochs alone share their epochs.

    Args:
        trials: What is to be trained.
        blueprints: What each configuration builds, by its number.
        memory: Bytes that a pack may use; half of what is free where absent.

    Returns:
        Packs that hold each trial once, in the order in which to train them.
    """
    budget = memory or current_backend().free_memory() // 2
    groups: dict[Any, list[Member]] = {}
    for member in _members(trials, blueprints):
        built = blueprints[member.longest.configuration]
        key: Any = (built.architecture, member.longest.batch_size)
        if built.obstacle:
            key = (key, member.longest.number)
        groups.setdefault(key, []).append(member)
    packs = []
    for members in groups.values():
        built = blueprints[members[0].longest.configuration]
        size = max(1, int(budget // built.member_bytes))
        count = -(-len(members) // size)
        packs += [_pack(tuple(part), built, budget) for part in _even_parts(members, count)]
    # What takes long begins early, or it would be left to train with nothing beside it (Graham 1969,
    # https://doi.org/10.1137/0117039); what trains while nothing else may comes last.
    return sorted(packs, key=lambda pack: (not pack.narrow, -pack.work if pack.narrow else 0.0))


def _even_parts(members: list[Member], count: int) -> list[list[Member]]:
    ends = np.linspace(0, len(members), count + 1).astype(int)
    return [members[start:end] for start, end in itertools.pairwise(ends)]


def _members(trials: Sequence[Trial], blueprints: Mapping[int, Blueprint]) -> list[Member]:
    alike: dict[Any, list[Trial]] = {}
    for trial in trials:
        built = blueprints[trial.configuration]
        key = (built.architecture, built.numbers, built.start, trial.seed, trial.batch_size, trial.early_stopping)
        alike.setdefault(key, []).append(trial)
    return [Member(tuple(sorted(group, key=lambda trial: trial.epochs))) for group in alike.values()]


def _pack(members: tuple[Member, ...], built: Blueprint, budget: int) -> Pack:
    backend = keras.backend.backend()
    if built.obstacle:
        return Pack(members, f"alone, by Keras' fit on {backend}: {built.obstacle}", fused=False)
    shared = max(len(member.trials) for member in members)
    stages = f"; up to {shared} trials share their epochs" if shared > 1 else ""
    stages += "; the features of its frozen layers were computed once" if built.frozen else ""
    how = f"pack of {len(members)} on {backend}{stages}"
    if len(members) == 1:
        how = f"alone, as one program on {backend}: no other trial builds the same program{stages}"
    share = len(members) * built.member_bytes / budget
    return Pack(members, how, timed=built.architecture if built.timed else None, share=share)


def blueprint(trial: Trial, dataset: Dataset, watch: Watch | None = None, models: LookedAt | None = None) -> Blueprint:
    """Builds a trial's model and tells what it is made of.

    Args:
        trial: The trial; its builder may raise whatever it likes.
        dataset: What it learns from.
        watch: What is to be seen of each step.
        models: The models of trials that were looked at before.

    Raises:
        UserError: The model has nothing of what is to be watched.
    """
    with uncollected():
        model = (models or LookedAt()).model(trial)
    dataset = dataset_of(model, dataset)
    obstacle = _obstacle(trial, model, dataset)
    architecture = f"configuration {trial.configuration}"
    found: dict[str, float] = {}
    start = ""
    if obstacle is None:
        try:
            described, start, found = _describe(model)
            architecture = f"{architecture} {described}" if _says_too_little(model) else described
        except (NotImplementedError, TypeError, ValueError):
            # A model that cannot say what it is made of is like its own repeats alone.
            found = {"epochs": float(trial.epochs)}
    member_bytes = _member_bytes(model, trial, dataset) + (_watched_bytes(model, trial, dataset, watch) if watch else 0)
    frozen = body_of(model) is not None
    own = tuple(sorted(found.items()))
    return Blueprint(architecture, own, start, obstacle, _convolves(model), frozen, member_bytes)


def _watched_bytes(model: keras.Model, trial: Trial, dataset: Dataset, watch: Watch) -> int:
    """Returns what an epoch's numbers take, which wait on the device for its end."""
    observer = watch.observer(model)
    if observer is None:
        return 0
    return 4 * len(observer.names) * observer.numbers * -(-len(dataset.train) // trial.batch_size)


def _obstacle(trial: Trial, model: keras.Model, dataset: Dataset) -> str | None:
    if trial.data_parallel:
        return f"its batches are divided among {len(devices())} devices"
    if dataset.mapped:
        return "its data are larger than memory; they are read from disk batch by batch"
    kind = type(model)
    for name in ("fit", "train_step", "test_step"):
        if getattr(kind, name) is not getattr(keras.Model, name):
            return f"{kind.__name__} has a {name} of its own"
    if not model.built:
        return f"{kind.__name__} is built by its first batch; give it an Input or build it in the builder"
    return None


def _convolves(model: keras.Model) -> bool:
    return any(_CONVOLUTION in type(layer).__name__.lower() for layer in model._flatten_layers())


def _describe(model: keras.Model) -> tuple[str, str, dict[str, float]]:
    stackable = [*numbers.of_model(model), *numbers.of_optimizer(model.optimizer)]
    found = {number.name: float(number.value) for number in stackable}
    with numbers.replaced(stackable, [1.0] * len(stackable)):
        compiled, layers = model.get_compile_config(), model.get_config()
    optimizer = compiled["optimizer"]["config"]
    optimizer.pop("name", None)
    optimizer = optimizer.get("inner_optimizer", {}).get("config", optimizer)
    optimizer.pop("name", None)
    if isinstance(optimizer.get("learning_rate"), int | float):
        found["learning_rate"] = float(optimizer.pop("learning_rate"))
    layers = _without_names(layers)
    initializers = _take_initializers(layers)
    parts = {
        "class": f"{type(model).__module__}.{type(model).__qualname__}",
        "model": layers,
        "numbers": [number.name for number in stackable],
        "compile": compiled,
        "shapes": [list(variable.shape) for variable in model.variables],
        "trainable": [variable.trainable for variable in model.variables],
        "slow": starts_of(numbers.unscaled(model.optimizer), model.trainable_variables),
    }
    if (body := body_of(model)) is not None:
        parts["frozen body"] = body.fingerprint
    text, start = (json.dumps(part, sort_keys=True, default=_as_text) for part in (parts, initializers))
    return text, start, found


def _take_initializers(config: Any) -> list[Any]:
    """Takes out of a configuration, in place, what gives weights their first values: members may start differently."""
    taken = []
    parts = list(config.values()) if isinstance(config, dict) else config if isinstance(config, list | tuple) else []
    if isinstance(config, dict):
        taken = [(name, config.pop(name)) for name in sorted(config) if name.endswith("_initializer")]
    return [*taken, *(found for part in parts for found in _take_initializers(part))]


def _says_too_little(model: keras.Model) -> bool:
    """Whether a model holds code of the user's whose configuration need not tell all that it does.

    A function may hide numbers in its closure, and a class that inherits `get_config` says nothing of its own.
    """
    layers = [type(layer) for layer in model._flatten_layers()]
    own = [kind for kind in layers if not kind.__module__.startswith("keras.")]
    silent = any("get_config" not in vars(kind) for kind in own)
    return silent or _holds_code((model.get_config(), model.get_compile_config()), {kind.__name__ for kind in own})


def _holds_code(config: Any, layers: Collection[str]) -> bool:
    """Whether a configuration names a function or a class outside Keras, but for layers that speak for themselves."""
    if isinstance(config, dict):
        name = config.get("class_name")
        if name in ("function", "__lambda__"):
            return True
        outside = "registered_name" in config and not str(config.get("module") or "").startswith("keras")
        if outside and name not in layers:
            return True
        return any(_holds_code(value, layers) for value in config.values())
    if isinstance(config, list | tuple):
        return any(_holds_code(value, layers) for value in config)
    return callable(config)


def _as_text(value: Any) -> str:
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return repr(value)


def _without_names(config: dict[str, Any]) -> Any:
    """Replaces the names that Keras counts up from model to model by numbers of their own."""
    names: dict[str, str] = {}

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("name"), str):
                names.setdefault(value["name"], f"#{len(names)}")
            for one in value.values():
                collect(one)
        elif isinstance(value, list | tuple):
            for one in value:
                collect(one)

    def replace(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: replace(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [replace(one) for one in value]
        return names.get(value, value) if isinstance(value, str) else value

    collect(config)
    return replace(config)


def _member_bytes(model: keras.Model, trial: Trial, dataset: Dataset) -> int:
    """Estimates one member's memory: weights with gradient and optimizer slots, and activations forth and back."""
    weights = sum(int(np.prod(variable.shape)) for variable in model.variables)
    activations = 0
    for layer in model._flatten_layers(include_self=False):
        shape = getattr(getattr(layer, "output", None), "shape", None) if layer._inbound_nodes else None
        activations += int(np.prod([side or 1 for side in shape[1:]])) if shape else 0
    row = int(np.prod(dataset.input_shape))
    scoring = min(SCORING_BYTES, 4 * max(activations, 1) * len(dataset.validation))
    return 4 * (6 * weights + 3 * (activations + row) * trial.batch_size) + scoring
