"""Slices of the brain: three tissues, and no slice of one split near one of another."""

import numpy as np
import pytest

from kerasdl import data
from kerasdl.data import brain
from kerasdl.errors import UserError

pytest.importorskip("nibabel", reason="the extra `images` is not installed")
pytest.importorskip("nilearn", reason="the extra `images` is not installed")


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_slices_of_each_axis(axis):
    dataset = data.load(f"brain?axis={axis}")
    assert dataset.task == "segmentation" and dataset.classes == ("background", "grey matter", "white matter")
    assert dataset.input_shape == (64, 64, 1) and dataset.train.y.dtype == "uint8"
    assert f"{len(dataset.train)} train, {len(dataset.validation)} validation" in dataset.notes[0]
    for split in (dataset.train, dataset.validation, dataset.test):
        share = np.bincount(split.y.ravel(), minlength=3) / split.y.size
        assert len(split) >= 8 and share[1] > 0.05 and share[2] > 0.02
        assert split.x.min() >= 0 and split.x.max() <= 1
        # In a T1-weighted picture white matter is the brightest.
        assert split.x[split.y == 2].mean() > split.x[split.y == 1].mean() > split.x[split.y == 0].mean()


@pytest.mark.parametrize("count", [60, 64, 119, 133, 167])
@pytest.mark.parametrize("seed", range(5))
def test_splits_are_apart(count, seed):
    usable = np.arange(20, 20 + count)
    splits, slabs = brain._slabs(usable, np.random.default_rng(seed))
    owners = {int(number): name for name, numbers in splits.items() for number in numbers}
    assert len(owners) == sum(map(len, splits.values())) and set(owners) <= set(usable.tolist())
    for number, owner in owners.items():
        near = {owners[other] for other in range(number - brain.GAP, number + brain.GAP + 1) if other in owners}
        assert near == {owner}
    assert len(splits["train"]) > len(splits["validation"]) > 0 and len(splits["test"]) > 0 and slabs % 5 == 0


def test_no_slice_has_its_mirror_in_another_split():
    whole = brain._volume("t1")
    assert np.array_equal(whole, whole[::-1])
    dataset = data.load("brain?axis=sagittal")
    rows = np.concatenate([split.x for split in (dataset.train, dataset.validation, dataset.test)])
    assert len(np.unique(rows.reshape(len(rows), -1), axis=0)) == len(rows)


def test_size_channels_and_seed():
    first, other = data.load("brain", size="48x80", channels=3), data.load("brain", size="48x80", channels=3, seed=1)
    assert first.input_shape == (48, 80, 3) and first.train.y.shape[1:] == (48, 80)
    assert first.fingerprint != other.fingerprint
    assert first.fingerprint == data.load("brain?size=48x80&channels=3&memory=1MB").fingerprint


def test_without_nilearn_the_way_to_it_is_told(monkeypatch):
    monkeypatch.setattr(brain, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'kerasdl\[images\]'"):
        data.load("brain")
