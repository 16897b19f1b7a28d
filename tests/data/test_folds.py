import numpy as np
import pytest

from kerasdl import data
from kerasdl.data import Dataset, Folds, Scaling, Split
from kerasdl.data.folds import joined_weights
from kerasdl.errors import UserError


def _numbered(labels: list[int], validation: int, places: list[int] | None = None, gap: int = 0) -> Dataset:
    """Rows whose one feature is their number."""
    x = np.arange(len(labels), dtype="float32")[:, None]
    y = np.asarray(labels)
    first = len(labels) - validation
    split = (Split(x[:first], y[:first]), Split(x[first:], y[first:]), Split(x[:1] + 1000, y[:1]))
    where = None if places is None else (np.asarray(places[:first]), np.asarray(places[first:]))
    one = Scaling(np.zeros(1, "float32"), np.ones(1, "float32"))
    names = tuple("abc"[: max(labels) + 1])
    return Dataset("numbered", *split, names, ("number",), one, "here", "none", "0", places=where, gap=gap)


def _rows(split: Split) -> list[int]:
    return sorted(int(row) for row in split.x[:, 0])


@pytest.mark.parametrize("count", [2, 3, 5])
def test_every_row_validates_once_in_each_round_and_trains_else(count):
    dataset = _numbered([0] * 20 + [1] * 11 + [2] * 6, 9)
    folds = Folds(dataset, count, seed=3)
    for first in (0, count):
        cuts = [folds.of(repeat) for repeat in range(first, first + count)]
        assert sorted(row for cut in cuts for row in _rows(cut.validation)) == list(range(37))
        for cut in cuts:
            assert sorted([*_rows(cut.train), *_rows(cut.validation)]) == list(range(37))
            assert _rows(cut.test) == [1000]
            assert (cut.train.y == np.repeat([0, 1, 2], [20, 11, 6])[cut.train.x[:, 0].astype(int)]).all()
            # Of each class as many rows in every fold, but for one.
            shares = np.array([20, 11, 6]) / count
            assert (np.abs(np.bincount(cut.validation.y, minlength=3) - shares) < 1).all()
    assert _rows(folds.of(0).validation) != _rows(folds.of(count).validation)
    assert _rows(folds.of(1).validation) == _rows(Folds(dataset, count, seed=3).of(1).validation)


def test_neighbours_of_a_slab_neither_train_nor_validate():
    places = [*range(0, 40), *range(60, 80)]
    order = np.random.default_rng(0).permutation(60)
    dataset = _numbered([0, 1] * 30, 15, [places[number] for number in order], gap=2)
    folds = Folds(dataset, 4, seed=0)
    where = dict(enumerate(places[number] for number in order))
    seen = []
    for repeat in range(4):
        cut = folds.of(repeat)
        held = sorted(where[row] for row in _rows(cut.validation))
        kept = np.array([where[row] for row in _rows(cut.train)])
        seen += held
        assert held == places[15 * repeat : 15 * repeat + 15]
        # All that is farther away than the gap trains, and nothing else.
        far = [place for place in places if min(abs(place - other) for other in held) > 2]
        assert kept.tolist() == [place for place in kept.tolist() if place in far]
        assert len(kept) == len(far)
    assert sorted(seen) == places
    assert folds.number(5) == 1


def test_slices_of_a_brain_are_cut_into_slabs():
    pytest.importorskip("nilearn")
    dataset = data.load("brain?size=32", seed=1)
    assert dataset.places is not None
    assert [len(part) for part in dataset.places] == [len(dataset.train), len(dataset.validation)]
    cut = Folds(dataset, 5, seed=1).of(2)
    assert len(cut.train) + len(cut.validation) < len(dataset.train) + len(dataset.validation)
    assert "next to them are left out" in cut.notes[-1]


def test_without_folds_every_repeat_has_the_data_as_they_came():
    dataset = _numbered([0, 1] * 5, 4)
    assert Folds(dataset, None, 0).of(7) is dataset
    assert Folds(dataset, None, 0).number(7) == 0


def test_validation_rows_weigh_what_their_class_does():
    train = Split(np.zeros((3, 1), "float32"), np.array([0, 0, 1]), np.array([2.0, 2.0, 5.0], "float32"))
    weights = joined_weights(train, Split(np.zeros((2, 1), "float32"), np.array([1, 0])))
    assert weights is not None
    assert weights.tolist() == [2.0, 2.0, 5.0, 5.0, 2.0]


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(UserError, match=r"folds: 4 is more than class 'b' has rows \(3\); give at most 3"):
        Folds(_numbered([0] * 20 + [1] * 3, 5), 4, 0)
