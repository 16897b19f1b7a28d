"""The pair has its rows, half of each class, test rows from the official test set."""

import numpy as np
import pytest

from kerasdl import data
from kerasdl.data import images
from kerasdl.errors import UserError

CLASSES = images._SETS["fashion_mnist"].classes


@pytest.fixture
def folder(tmp_path):
    """A Fashion-MNIST of 900 and 250 rows a class, whose first pixels tell the class and the row."""
    arrays = {}
    for part, count in (("train", 900), ("test", 250)):
        y = np.arange(10 * count, dtype="uint16") % 10
        x = np.zeros((len(y), 28, 28), "uint8")
        rows = np.arange(len(y)) + (20_000 if part == "test" else 0)
        x[:, 0, 0], x[:, 0, 1], x[:, 0, 2] = y, rows // 256, rows % 256
        arrays |= {f"x_{part}": x, f"y_{part}": y.astype("uint8")}
    np.savez(tmp_path / "fashion_mnist.npz", **arrays)
    return tmp_path


def raw(split):
    pixels = np.round(split.x * 255).astype(int)[:, 0, :3, 0]
    return pixels[:, 0], pixels[:, 1] * 256 + pixels[:, 2]


@pytest.mark.parametrize(("pair", "names"), [(None, ("T-shirt/top", "shirt")), ("coat,bag", ("coat", "bag"))])
def test_rows_and_classes(folder, pair, names):
    dataset = data.load("fashion_pair", folder=folder, pair=pair)
    assert dataset.classes == names and dataset.input_shape == (28, 28, 1)
    seen = set()
    for split, count in ((dataset.train, 1400), (dataset.validation, 200), (dataset.test, 400)):
        label, row = raw(split)
        assert np.bincount(split.y).tolist() == [count // 2] * 2
        assert np.array_equal(np.array([CLASSES.index(name) for name in names])[split.y], label)
        assert ((row >= 20_000) == (split is dataset.test)).all()
        seen |= set(row.tolist())
    assert len(seen) == 2000
    assert "1600 of 9000 training rows" in dataset.notes[0]


def test_form_and_seed(folder):
    dataset = data.load("fashion_pair?size=32&channels=3", folder=folder)
    assert dataset.input_shape == (32, 32, 3)
    assert (dataset.train.x[..., 0] == dataset.train.x[..., 2]).all()
    assert dataset.fingerprint != data.load("fashion_pair?size=32&channels=3", folder=folder, seed=1).fingerprint


@pytest.mark.parametrize(
    ("pair", "words"),
    [("shirt,cot", "did you mean 'coat'"), ("shirt", "not two classes"), ("coat,coat", "not two classes")],
)
def test_other_pairs_are_refused(folder, pair, words):
    with pytest.raises(UserError, match=words):
        data.load("fashion_pair", folder=folder, pair=pair)
