"""Picks the trials that can be compared pair by pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasdl.report.scores import Scores, key


@dataclass(frozen=True)
class Block:
    """Scores of several levels of a setting that agree in everything else.

    Attributes:
        levels: The levels, in order.
        values: float64, `(cells, levels, seeds)`: complete; a cell is one combination of the other settings.
        seeds: The seeds that are left, `(seeds,)`.
        possible: How many cells have a configuration at each of the levels, complete or not.
    """

    levels: list[Any]
    values: np.ndarray
    seeds: tuple[int, ...]
    possible: int

    @property
    def cells(self) -> int:
        """How many combinations of the other settings are left."""
        return int(self.values.shape[0])

    def by_seed(self) -> np.ndarray:
        """Returns the mean over cells, `(seeds, levels)`: the seed is the unit that repeats."""
        return np.asarray(self.values.mean(axis=0).T)


def block(scores: Scores, setting: str, levels: Sequence[Any], where: dict[str, Any] | None = None) -> Block | None:
    """Gathers the scores at some levels of a setting, matched in all other settings and in the seed.

    A missing score (a diverged trial) would leave one seed's mean without a configuration that the others have, and
    that configuration's own level would then look like spread between seeds. So only whole blocks stay: of all sets of
    seeds that some cell completed, the largest, and all cells that completed those seeds.

    Args:
        scores: The scores.
        setting: The setting whose levels are compared.
        levels: Its values.
        where: Other settings held at a value; all are averaged over where it is not given.

    Returns:
        The block, or `None` where no cell completed all levels with any seed.
    """
    held = {name: key(value) for name, value in (where or {}).items()}
    names = [(key(level),) for level in levels]
    cells = []
    for group in scores.cells([setting]).values():
        if not all(name in group for name in names):
            continue
        rows = [group[name] for name in names]
        if any(key(scores.settings[rows[0]].get(name)) != value for name, value in held.items()):
            continue
        cells.append(scores.values[rows])
    if not cells:
        return None
    stacked = np.stack(cells)
    whole = np.isfinite(stacked).all(axis=1)
    candidates = {tuple(bool(item) for item in mask) for mask in whole if mask.any()}
    if not candidates:
        return None

    def kept(mask: tuple[bool, ...]) -> np.ndarray:
        return np.asarray(whole[:, list(mask)].all(axis=1))

    best = max(sorted(candidates), key=lambda mask: (sum(mask), int(kept(mask).sum())))
    values = stacked[kept(best)][:, :, list(best)]
    return Block(
        list(levels), values, tuple(seed for seed, used in zip(scores.seeds, best, strict=True) if used), len(cells)
    )


def living_levels(scores: Scores, setting: str) -> list[Any]:
    """Returns the levels of a setting where at least half of the trials completed."""
    found = scores.rows_by_level(setting)
    return [level for level, rows in found if np.isfinite(scores.values[rows]).mean() >= 0.5]
