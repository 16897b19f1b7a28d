"""Cuts training and validation rows anew, fold by fold, for cross-validation."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np

from kerasdl.data.dataset import Dataset, Split
from kerasdl.errors import UserError

# How many folds' arrays are kept: one that trains, and one that is made ready meanwhile.
_KEPT = 2


class Folds:
    """The data of each repeat of a study: those it came with, or of k folds all but one for training.

    k-fold cross-validation: training and validation rows together are cut into k parts of equal size, each of which
    validates once what the others trained. Rows are dealt out at random, of each class the same share to each fold;
    where neighbours are alike (`Dataset.places`), a fold is a slab of neighbours, and training rows too near to it are
    left out. Test rows stay what they are.

    Args:
        dataset: The data as they came.
        count: k; `None` where repeats differ in nothing but their seed.
        seed: Deals out rows; each further round of k repeats is dealt anew.

    Raises:
        UserError: The data cannot be cut so.
    """

    def __init__(self, dataset: Dataset, count: int | None, seed: int) -> None:
        self._dataset, self.count, self._seed = dataset, count, seed
        self._made: OrderedDict[int, Dataset] = OrderedDict()
        if count is not None:
            _check(dataset, count)

    def number(self, repeat: int) -> int:
        """Returns which cut of the data a repeat sees: repeats of equal number share their rows."""
        if self.count is None:
            return 0
        # Slabs of neighbours are not dealt: every round has the same.
        return repeat if self._dataset.places is None else repeat % self.count

    def of(self, repeat: int) -> Dataset:
        """Returns what a repeat learns from.

        Args:
            repeat: 0 is the first.
        """
        if self.count is None:
            return self._dataset
        number = self.number(repeat)
        if number not in self._made:
            self._made[number] = self._cut(*divmod(number, self.count))
        self._made.move_to_end(number)
        while len(self._made) > _KEPT:
            self._made.popitem(last=False)
        return self._made[number]

    def _cut(self, deal: int, fold: int) -> Dataset:
        assert self.count is not None
        given = self._dataset
        whole = _joined(given.train, given.validation)
        held = _folds(given, whole, self.count, self._seed + deal) == fold
        kept = ~held
        if given.places is not None:
            places = np.concatenate(given.places)
            nearest = np.abs(places[:, np.newaxis] - places[held]).min(axis=1)
            kept &= nearest > given.gap
        weights = None if whole.weights is None else whole.weights[kept]
        near = int(len(held) - held.sum() - kept.sum())
        note = f"{self.count}-fold cross-validation: each repeat validates on another {int(held.sum())} rows"
        note += f"; {near} next to them are left out" if near else ""
        note += ", scaled as the data set came" if given.features else ""
        return replace(
            given,
            train=Split(whole.x[kept], whole.y[kept], weights),
            validation=Split(whole.x[held], whole.y[held]),
            notes=(*given.notes, note),
            places=None,
        )


def joined_weights(train: Split, validation: Split) -> np.ndarray | None:
    """Returns the weights of training and validation rows together: a validation row weighs as its class does.

    Args:
        train: Rows, weighted or not.
        validation: Rows without weights.

    Returns:
        float32, `(training rows + validation rows,)`; `None` where training rows have no weights.
    """
    if train.weights is None:
        return None
    by_class = {label: train.weights[train.y == label].mean() for label in np.unique(train.y)}
    own = np.array([by_class.get(label, 1.0) for label in validation.y], dtype="float32")
    return np.concatenate([train.weights, own])


def _joined(train: Split, validation: Split) -> Split:
    x, y = np.concatenate([train.x, validation.x]), np.concatenate([train.y, validation.y])
    return Split(x, y, joined_weights(train, validation))


def _folds(dataset: Dataset, whole: Split, count: int, seed: int) -> np.ndarray:
    """Returns the fold of each row, int64 `(rows,)`."""
    folds = np.empty(len(whole), dtype="int64")
    if dataset.places is not None:
        order = np.argsort(np.concatenate(dataset.places), kind="stable")
        for fold, rows in enumerate(np.array_split(order, count)):
            folds[rows] = fold
        return folds
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(whole))
    if dataset.task == "classification":
        order = order[np.argsort(whole.y[order], kind="stable")]
    # Dealt one by one from the first class to the last: no two folds differ by more than a row of any class.
    folds[order] = np.arange(len(whole)) % count
    return folds


def _check(dataset: Dataset, count: int) -> None:
    if dataset.mapped:
        raise UserError(
            f"folds: {dataset.name} is larger than memory and read from disk while training, and can be cut in one way "
            "only; leave folds out, or let it have more memory or fewer rows"
        )
    rows = len(dataset.train) + len(dataset.validation)
    least = rows
    if dataset.task == "classification":
        counts = np.bincount(np.concatenate([dataset.train.y, dataset.validation.y]), minlength=len(dataset.classes))
        least = int(counts[counts > 0].min())
        rare = dataset.classes[int(np.flatnonzero(counts == least)[0])]
        if least < count:
            raise UserError(f"folds: {count} is more than class {rare!r} has rows ({least}); give at most {least}")
    if least < count:
        raise UserError(f"folds: {count} is more than there are rows ({rows}); give at most {rows}")
