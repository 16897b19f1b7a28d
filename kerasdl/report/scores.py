"""The scores of a run as a block design: configurations by seeds."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.errors import UserError
from kerasdl.report.words import describe, is_share

if TYPE_CHECKING:
    from kerasdl.runs import Run


@dataclass(frozen=True)
class Scores:
    """Who scored what.

    Attributes:
        objective: The objective's name.
        direction: `"max"` or `"min"`.
        varying: The settings that differ between configurations.
        configurations: The number of each configuration, `(configurations,)`.
        settings: The settings of each, in the same order.
        seeds: The seeds, sorted.
        values: float64, `(configurations, seeds)`; NaN where a trial did not complete.
        status: `(configurations, seeds)`: how each trial ended, `""` where there is none yet.
        parameters: float64, `(configurations,)`; NaN where unknown.
        step: The smallest difference that one score can show: 1 / rows for an accuracy, else 0.
        overlap: Validation rows by training rows where seeds are folds of a cross-validation, else 0.
    """

    objective: str
    direction: str
    varying: tuple[str, ...]
    configurations: tuple[int, ...]
    settings: tuple[dict[str, Any], ...]
    seeds: tuple[int, ...]
    values: np.ndarray
    status: np.ndarray
    parameters: np.ndarray
    step: float
    overlap: float = 0.0

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return 1 if self.direction == "max" else -1

    @property
    def means(self) -> np.ndarray:
        """The mean of the completed trials of each configuration, NaN where there is none."""
        known = np.isfinite(self.values)
        count = known.sum(axis=1)
        total = np.where(known, self.values, 0.0).sum(axis=1)
        return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)

    def describe(self, index: int) -> str:
        """Returns the configuration at an index in words."""
        return describe(self.settings[index], self.varying)

    def only(self, configurations: Collection[int]) -> "Scores":
        """Returns the scores of some configurations, by their numbers."""
        kept = [index for index, number in enumerate(self.configurations) if number in configurations]
        return replace(
            self,
            configurations=tuple(self.configurations[index] for index in kept),
            settings=tuple(self.settings[index] for index in kept),
            values=self.values[kept],
            status=self.status[kept],
            parameters=self.parameters[kept],
        )

    def levels(self, setting: str) -> list[Any]:
        """Returns the values of a setting: numbers in order, others in the order they came up."""
        found = {key(settings.get(setting)): settings.get(setting) for settings in self.settings}
        values = list(found.values())
        if is_numeric(values):
            return sorted(values)
        return sorted(values) if all(isinstance(value, bool) for value in values) else values

    def cells(self, settings: Sequence[str]) -> dict[str, dict[tuple[str, ...], int]]:
        """Groups configurations that differ in nothing but some settings.

        Args:
            settings: The settings in which members of a group may differ.

        Returns:
            For each combination of the other varying settings: the index of the configuration at each combination of
            `settings`, as a tuple of `key(value)`.
        """
        others = [name for name in self.varying if name not in settings]
        groups: dict[str, dict[tuple[str, ...], int]] = {}
        for index, own in enumerate(self.settings):
            group = groups.setdefault(key([own.get(name) for name in others]), {})
            group[tuple(key(own.get(name)) for name in settings)] = index
        return groups

    def matched(self, setting: str) -> bool:
        """Tells whether the levels of a setting were tried under the same other settings, as on a grid.

        Half of the configurations have a partner that differs in this setting only, and half of the levels come up
        under several combinations of the others. In a random search either fails, whatever its settings are.
        """
        cells = list(self.cells([setting]).values())
        if len(cells) == 1:
            return len(self.settings) > 1
        partners = sum(len(group) for group in cells if len(group) > 1)
        seen = [level for group in cells for level in group]
        often = Counter(seen)
        recurring = sum(count > 1 for count in often.values())
        return 2 * partners >= len(seen) and partners > 0 and 2 * recurring >= len(often)

    def rows_by_level(self, setting: str) -> list[tuple[Any, list[int]]]:
        """Returns each level of a setting with the configurations that have it, by their place in `settings`."""
        found: dict[str, tuple[Any, list[int]]] = {key(level): (level, []) for level in self.levels(setting)}
        for index, own in enumerate(self.settings):
            found[key(own.get(setting))][1].append(index)
        return list(found.values())


def key(value: Any) -> str:
    """Returns a text that is the same for the same value."""
    return json.dumps(value, sort_keys=True)


def is_numeric(values: Sequence[Any]) -> bool:
    """Tells whether all values are numbers (truth values are not)."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def load(run: "Run") -> Scores:
    """Reads the scores of a run.

    Args:
        run: The run.

    Returns:
        Its scores; configurations and seeds without any trial are left out.

    Raises:
        UserError: The run was stopped before it wrote down what it looks for.
    """
    try:
        objective, direction = run.objective
    except KeyError:
        raise UserError(f"{run.path}: nothing was recorded yet; run the study again to go on") from None
    trials = run.trials()
    settings = run.configurations()
    numbers = sorted({int(number) for number in trials["configuration"]})
    seeds = sorted({int(seed) for seed in trials["seed"]})
    values = np.full((len(numbers), len(seeds)), np.nan)
    status = np.full((len(numbers), len(seeds)), "", dtype=object)
    parameters = np.full(len(numbers), np.nan)
    for row in trials[["configuration", "seed", "status", "score", "parameters"]].to_dict("records"):
        index, column = numbers.index(int(row["configuration"])), seeds.index(int(row["seed"]))
        status[index, column] = row["status"]
        if row["status"] == "completed" and row["score"] is not None:
            values[index, column] = float(row["score"])
        if row["parameters"] is not None and np.isfinite(row["parameters"]):
            parameters[index] = float(row["parameters"])
    return Scores(
        objective,
        direction,
        tuple(run.varying),
        tuple(numbers),
        tuple(settings[number] for number in numbers),
        tuple(seeds),
        values,
        status,
        parameters,
        _step(run, objective),
        run.overlap,
    )


def _step(run: "Run", objective: str) -> float:
    split = next(
        (name for short, name in (("val_", "validation"), ("test_", "test")) if objective.startswith(short)), "train"
    )
    rows = run.data.get("rows", {}).get(split)
    return 1.0 / rows if rows and is_share(objective) else 0.0
