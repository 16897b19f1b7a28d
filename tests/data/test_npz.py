"""NPZ files of the user's own: both forms, tables and images, and every mistake."""

import numpy as np
import pytest

from kerasdl import data
from kerasdl.errors import UserError

RNG = np.random.default_rng(0)
X = RNG.normal((3, -50), (2, 7), size=(100, 2))
Y = np.arange(100) % 4
IMAGES = RNG.integers(0, 256, (60, 5, 6), dtype="uint8")
PARTS = {"x_train": X[:60], "y_train": Y[:60], "x_test": X[60:], "y_test": Y[60:]}


def stored(tmp_path, **arrays):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    return f"npz:{path}"


def test_a_table_is_split_and_standardized(tmp_path):
    dataset = data.load(stored(tmp_path, x=X, y=Y))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (64, 16, 20)
    np.testing.assert_allclose(dataset.train.x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(dataset.train.x.std(axis=0), 1, rtol=1e-5)
    assert dataset.classes == ("0", "1", "2", "3") and dataset.features == ("x1", "x2")
    assert dataset.train.x.dtype == np.float32 and dataset.train.y.dtype == np.int64


def test_names_of_classes_and_features(tmp_path):
    dataset = data.load(stored(tmp_path, x=X, y=Y, classes=np.array(list("abcd")), features=np.array(["u", "v"])))
    assert dataset.classes == tuple("abcd") and dataset.features == ("u", "v")


def test_given_splits_are_kept(tmp_path):
    parts = {"x_train": X[:60], "y_train": Y[:60], "x_val": X[60:70], "y_val": Y[60:70]}
    dataset = data.load(stored(tmp_path, **parts, x_test=X[70:], y_test=Y[70:]))
    for split, raw in ((dataset.train, X[:60]), (dataset.validation, X[60:70]), (dataset.test, X[70:])):
        np.testing.assert_allclose(dataset.scaling.invert(split.x), raw, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dataset.train.x.std(axis=0), 1, rtol=1e-5)


def test_validation_comes_from_the_training_rows(tmp_path):
    dataset = data.load(stored(tmp_path, **PARTS))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (54, 6, 40)
    np.testing.assert_allclose(dataset.scaling.invert(dataset.test.x), X[60:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("images", "channels"), [(IMAGES, 1), (np.stack([IMAGES] * 3, axis=-1), 3)])
def test_unsigned_images_are_scaled_by_their_range(tmp_path, images, channels):
    dataset = data.load(stored(tmp_path, x=images, y=np.arange(60) % 3))
    assert dataset.input_shape == (5, 6, channels) and dataset.features == ()
    assert dataset.train.x.max() <= 1 and dataset.scaling.scale.ravel().tolist() == [255]


def test_sixteen_bits_are_scaled_by_their_own_range(tmp_path):
    dataset = data.load(stored(tmp_path, x=IMAGES.astype("uint16"), y=np.arange(60) % 3))
    assert dataset.scaling.scale.ravel().tolist() == [65535]


def test_float_images_are_standardized_by_channel(tmp_path):
    dataset = data.load(stored(tmp_path, x=IMAGES.astype("float32"), y=np.arange(60) % 3))
    assert dataset.scaling.scale.shape == (1, 1, 1)
    assert abs(float(dataset.train.x.std()) - 1) < 1e-4


def test_unsigned_tables_are_standardized(tmp_path):
    dataset = data.load(stored(tmp_path, x=IMAGES.reshape(60, 30), y=np.arange(60) % 3))
    np.testing.assert_allclose(dataset.train.x.std(axis=0), 1, rtol=1e-4)


def test_labels_with_gaps_are_numbered_anew(tmp_path):
    dataset = data.load(stored(tmp_path, x=X, y=Y * 10 + 5))
    assert dataset.classes == ("5", "15", "25", "35") and set(dataset.train.y) == {0, 1, 2, 3}
    assert any("numbered anew" in note for note in dataset.notes)


def test_truth_values_are_labels(tmp_path):
    assert data.load(stored(tmp_path, x=X, y=Y > 1)).classes == ("0", "1")


def test_a_constant_column_is_noted(tmp_path):
    dataset = data.load(stored(tmp_path, x=np.c_[X, np.full(100, 0.1)], y=Y))
    assert dataset.scaling.scale[2] == 1 and any("x3" in note for note in dataset.notes)
    assert np.isfinite(dataset.train.x).all()


def test_the_seed_decides_every_bit(tmp_path):
    spec = stored(tmp_path, x=X, y=Y)
    first, again, other = (data.load(spec, seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def with_value(row, value):
    x = X.copy()
    x[row, 1] = value
    return x


BAD = {
    "objects": ({"x": X, "y": np.array(list("abcd") * 25, dtype=object)}, "'y' holds Python objects.*never unpickles"),
    "no y": ({"x": X}, "lacks y; it must hold"),
    "nothing": ({"a": X}, "lacks x, y"),
    "no x_test": ({key: PARTS[key] for key in ("x_train", "y_train", "y_test")}, "lacks x_test;"),
    "half a validation": ({**PARTS, "x_val": X}, "lacks y_val;"),
    "both forms": ({**PARTS, "x": X, "y": Y}, "keep one of the two forms"),
    "lengths": ({"x": X, "y": Y[:-1]}, "'x' has 100 rows and 'y' has 99"),
    "NaN": ({"x": with_value(7, np.nan), "y": Y}, r"'x', row 7 \(counted from 0\) holds NaN"),
    "infinity": ({"x": with_value(9, -np.inf), "y": Y}, "'x', row 9"),
    "beyond float32": ({"x": with_value(9, 1e39), "y": Y}, "infinite in float32"),
    "one dimension": ({"x": X[:, 0], "y": Y}, r"'x' has shape \(100,\)"),
    "five dimensions": ({"x": np.zeros((100, 1, 1, 1, 1)), "y": Y}, "'x' has shape"),
    "no columns": ({"x": np.zeros((100, 0)), "y": Y}, "'x' has shape"),
    "no rows": ({"x": X[:0], "y": Y[:0]}, "'x' has no rows"),
    "text": ({"x": X.astype(str), "y": Y}, "'x' is of type <U"),
    "complex": ({"x": X.astype(complex), "y": Y}, "'x' is of type complex128"),
    "float labels": ({"x": X, "y": Y.astype(float)}, "'y' has shape .* type float64; it must be one whole number"),
    "one-hot labels": ({"x": X, "y": np.eye(4, dtype=int)[Y]}, r"'y' has shape \(100, 4\)"),
    "negative": ({"x": X, "y": Y - 1}, r"'y', row 0 .* is -1, and 24 rows more are negative"),
    "one class": ({"x": X, "y": Y * 0}, "only one class, '0'"),
    "small class": ({"x": X, "y": np.r_[Y[:-2], 9, 9]}, "class '9' has 2 rows"),
    "constant": ({"x": np.ones((100, 2)), "y": Y}, "every feature is constant"),
    "classes too few": ({"x": X, "y": Y, "classes": np.array(["a", "b"])}, "label 3 has no name; 'classes' holds 2"),
    "class without rows": ({"x": X, "y": Y, "classes": np.array(list("abcde"))}, "class 'e' has 0 rows"),
    "classes of numbers": (
        {"x": X, "y": Y, "classes": np.arange(4)},
        "'classes' must be a one-dimensional array of text",
    ),
    "classes twice": ({"x": X, "y": Y, "classes": np.array(list("abca"))}, "'classes' holds 'a' twice"),
    "features too few": ({"x": X, "y": Y, "features": np.array(["a"])}, "'features' holds 1 names for 2 columns"),
    "shapes differ": ({**PARTS, "x_test": np.zeros((40, 3))}, "they must be equal"),
    "types differ": ({**PARTS, "x_test": X[60:].astype("float32")}, "they must be equal"),
    "class not in training": ({**PARTS, "y_test": np.full(40, 7)}, "class '7' has 0 rows"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line_that_names_the_file(tmp_path, case):
    arrays, words = BAD[case]
    spec = stored(tmp_path, **arrays)
    with pytest.raises(UserError, match=words) as caught:
        data.load(spec)
    assert str(caught.value).startswith(spec.removeprefix("npz:")) and "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", ["empty", "half", "text", "member", "npy"])
def test_damaged_files(tmp_path, cut):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, x=X, y=Y)
    whole = path.read_bytes()
    if cut == "npy":
        with path.open("wb") as stream:
            np.save(stream, X)
    else:
        middle = len(whole) // 3
        contents = {
            "empty": b"",
            "half": whole[: len(whole) // 2],
            "text": b"x,y\n1,2\n",
            "member": whole[:middle] + bytes(40) + whole[middle + 40 :],
        }
        path.write_bytes(contents[cut])
    with pytest.raises(UserError, match=r"not an NPZ file|damaged") as caught:
        data.load(f"npz:{path}")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
