"""Image sets are found where they may lie, in the order that is promised, and never unpickled."""

import gzip
import importlib
import pickle
import struct
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kerasdl import backend, data
from kerasdl.data import images
from kerasdl.errors import UserError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Gives each test a machine that holds no image set and has no network."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    facts = images._SETS["fashion_mnist"]
    nothing = replace(facts, wanted=replace(facts.wanted, debian=tmp_path / "debian"))
    monkeypatch.setitem(images._SETS, "fashion_mnist", nothing)
    monkeypatch.setattr(backend, "choose", lambda: "none")
    downloads = []

    class Offline:
        def __init__(self, module):
            self.module = module

        def load_data(self):
            downloads.append(self.module)
            raise Exception("URL fetch failure:\nno network")

    monkeypatch.setattr("kerasdl.data.places.import_module", Offline)
    return downloads


def drawn(train=200, test=50, shape=(28, 28), seed=0):
    generator = np.random.default_rng(seed)
    return {
        "x_train": generator.integers(0, 256, (train, *shape), dtype="uint8"),
        "y_train": np.arange(train, dtype="uint8") % 10,
        "x_test": generator.integers(0, 256, (test, *shape), dtype="uint8"),
        "y_test": np.arange(test, dtype="uint8") % 10,
    }


def put_idx(folder, arrays, zipped=True, joint="-"):
    folder.mkdir(parents=True, exist_ok=True)
    for key, stem in (("x_train", "train-images"), ("y_train", "train-labels"), ("x_test", "t10k-images"),
                      ("y_test", "t10k-labels")):  # fmt: skip
        array = arrays[key]
        content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
        name = f"{stem}{joint}idx{array.ndim}-ubyte"
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1))
        else:
            (folder / name).write_bytes(content)


def put_npz(path, arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def put_binary(folder, arrays):
    folder.mkdir(parents=True, exist_ok=True)

    def spell(x, y):
        return np.concatenate([y[:, None], x.transpose(0, 3, 1, 2).reshape(len(x), -1)], axis=1).tobytes()

    parts = np.array_split(np.arange(len(arrays["x_train"])), 5)
    for number, rows in enumerate(parts, start=1):
        (folder / f"data_batch_{number}.bin").write_bytes(spell(arrays["x_train"][rows], arrays["y_train"][rows]))
    (folder / "test_batch.bin").write_bytes(spell(arrays["x_test"], arrays["y_test"]))


def assert_holds(dataset, arrays):
    """Checks that a data set has exactly these images, test rows in their order and training rows in any."""
    channels = arrays["x_test"].shape[3] if arrays["x_test"].ndim == 4 else 1
    assert dataset.input_shape == (*arrays["x_test"].shape[1:3], channels)
    back = np.round(dataset.scaling.invert(dataset.test.x)).astype("uint8")
    assert np.array_equal(back.reshape(arrays["x_test"].shape), arrays["x_test"])
    assert np.array_equal(dataset.test.y, arrays["y_test"].ravel())
    learnt = np.concatenate([dataset.train.x, dataset.validation.x])
    labels = np.concatenate([dataset.train.y, dataset.validation.y])
    rows = [(x.tobytes(), y) for x, y in zip(np.round(learnt * 255).astype("uint8"), labels, strict=True)]
    assert sorted(rows) == sorted((x.tobytes(), y) for x, y in zip(arrays["x_train"], arrays["y_train"], strict=True))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("joint", ["-", "."])
def test_idx_in_the_folder(tmp_path, nowhere, name, zipped, joint):
    arrays = drawn()
    put_idx(tmp_path / "mine", arrays, zipped, joint)
    dataset = data.load(name, folder=tmp_path / "mine")
    assert_holds(dataset, arrays)
    assert str(tmp_path / "mine") in dataset.source
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (180, 20, 50)
    assert np.bincount(dataset.validation.y).tolist() == [2] * 10
    assert not nowhere and not dataset.notes


@pytest.mark.parametrize(
    ("name", "below"),
    [("mnist", "mnist"), ("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw"), ("fashion_mnist", ".")],
)
def test_idx_below_the_folder(tmp_path, name, below):
    arrays = drawn()
    put_idx(tmp_path / "mine" / below, arrays, zipped=False)
    # As some archives unpack: a folder with the name of the file that it holds.
    (tmp_path / "mine" / below / "train-images-idx3-ubyte.gz").mkdir()
    assert_holds(data.load(name, folder=tmp_path / "mine"), arrays)


def test_named_sets_take_a_size_and_channels(tmp_path):
    arrays = drawn()
    put_idx(tmp_path, arrays)
    dataset = data.load("mnist?size=20x14&channels=3", folder=tmp_path)
    assert dataset.input_shape == (20, 14, 3) and dataset.scaling.scale.tolist() == [[[255.0]]]
    twice = data.load("mnist?size=56", folder=tmp_path).test.x
    means = twice.reshape(50, 28, 2, 28, 2).mean(axis=(2, 4)) * 255
    assert (
        np.abs(means - arrays["x_test"]).mean() < 40
        and np.corrcoef(means.ravel(), arrays["x_test"].ravel())[0, 1] > 0.9
    )
    put_npz(tmp_path / "cifar10.npz", drawn(shape=(32, 32, 3)))
    grey = data.load("cifar10?channels=1", folder=tmp_path).test.x
    exact = drawn(shape=(32, 32, 3))["x_test"] @ [0.299, 0.587, 0.114] / 255
    assert grey.shape == (50, 32, 32, 1) and np.abs(grey[..., 0] - exact).max() < 0.6 / 255


@pytest.mark.parametrize(
    ("name", "shape"), [("mnist", (28, 28)), ("fashion_mnist", (28, 28)), ("cifar10", (32, 32, 3))]
)
def test_npz_in_the_folder(tmp_path, name, shape):
    arrays = drawn(shape=shape)
    put_npz(tmp_path / "mine" / f"{name}.npz", arrays)
    assert_holds(data.load(f"{name}?folder={tmp_path / 'mine'}"), arrays)


@pytest.mark.parametrize("below", [".", "cifar-10-batches-bin"])
def test_the_binary_version_of_cifar10(tmp_path, below):
    arrays = drawn(shape=(32, 32, 3))
    put_binary(tmp_path / "mine" / below, arrays)
    dataset = data.load("cifar10", folder=tmp_path / "mine")
    assert_holds(dataset, arrays)
    assert dataset.classes[0] == "airplane"


def test_labels_may_stand_in_a_column(tmp_path):
    arrays = drawn(shape=(32, 32, 3))
    put_npz(tmp_path / "cifar10.npz", {**arrays, "y_train": arrays["y_train"][:, None]})
    assert_holds(data.load("cifar10", folder=tmp_path), arrays)


def test_the_order_of_places(tmp_path, nowhere):
    mine, debian, cache = drawn(seed=1), drawn(seed=2), drawn(seed=3)
    put_idx(tmp_path / "keras" / "datasets" / "fashion-mnist", cache)
    assert_holds(data.load("fashion_mnist"), cache)
    put_idx(tmp_path / "debian", debian)
    dataset = data.load("fashion_mnist")
    assert_holds(dataset, debian)
    assert "Debian" in dataset.source
    put_idx(tmp_path / "mine" / "fashion-mnist", mine)
    assert_holds(data.load("fashion_mnist", folder=tmp_path / "mine"), mine)
    assert not nowhere


def test_a_named_folder_without_the_data_is_told(tmp_path):
    arrays = drawn()
    put_npz(tmp_path / "keras" / "datasets" / "mnist.npz", arrays)
    (tmp_path / "mine").mkdir()
    dataset = data.load("mnist", folder=tmp_path / "mine")
    assert_holds(dataset, arrays)
    assert "Keras' cache" in dataset.source
    assert any(str(tmp_path / "mine") in note for note in dataset.notes)


def test_what_keras_downloads_is_used(monkeypatch):
    arrays = drawn()

    class Online:
        @staticmethod
        def load_data():
            return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])

    monkeypatch.setattr("kerasdl.data.places.import_module", lambda module: Online)
    dataset = data.load("mnist")
    assert_holds(dataset, arrays)
    assert "downloaded by Keras" in dataset.source


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fashion_mnist", ["apt install dataset-fashion-mnist", "train-images-idx3-ubyte.gz", "debian"]),
        ("mnist", ["mnist.npz", "train-images-idx3-ubyte.gz"]),
        ("cifar10", ["cifar10.npz", "data_batch_1.bin", "pickled"]),
    ],
)
def test_nothing_found_says_where_and_what_to_put(tmp_path, nowhere, name, words):
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError) as caught:
        data.load(name, folder=tmp_path / "mine")
    message = str(caught.value)
    for word in [*words, str(tmp_path / "mine"), str(tmp_path / "keras")]:
        assert word in message
    assert "\n" not in message
    assert nowhere == ([] if name == "cifar10" else [f"keras.datasets.{name}"])


@pytest.mark.parametrize("place", ["mine", "keras/datasets"])
def test_pickled_batches_are_never_opened(tmp_path, place):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    folder = tmp_path / place / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "data_batch_1").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "mine").mkdir(exist_ok=True)
    with pytest.raises(UserError, match="cifar-10-batches-py is pickled, which kerasdl does not open"):
        data.load("cifar10", folder=tmp_path / "mine")
    assert not (tmp_path / "sprung").exists()


def test_an_incomplete_folder_is_told(tmp_path):
    put_idx(tmp_path / "mine", drawn())
    (tmp_path / "mine" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match=r"mine lacks t10k-labels-idx1-ubyte\.gz"):
        data.load("mnist", folder=tmp_path / "mine")


def changed(**arrays):
    return {**drawn(), **arrays}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (changed(x_train=np.zeros((200, 27, 28), "uint8")), r"images of shape \(27, 28, 1\)"),
        (changed(x_train=np.zeros((200, 28), "uint8")), r"images of shape \(28,\)"),
        (changed(x_train=np.zeros((200, 28, 28), "float32")), "pixels of type float32"),
        (changed(x_train=np.zeros((200, 28, 28), "uint16")), "of two types"),
        (changed(y_train=np.zeros((200, 10), "uint8")), r"labels of shape \(200, 10\)"),
        (changed(y_train=np.zeros(200)), "labels of shape .* type float64"),
        (changed(y_test=np.zeros(49, "uint8")), "50 images but 49 labels"),
        (changed(y_test=np.full(50, 10, "uint8")), "row 0 has label 10"),
        (changed(y_train=np.arange(200, dtype="uint8") % 9), "class '9' has 0 rows"),
        (changed(y_train=np.array([None] * 200)), "holds Python objects"),
        ({"x_train": drawn()["x_train"]}, "lacks y_train, x_test, y_test"),
    ],
)
def test_other_arrays_are_refused(tmp_path, arrays, words):
    put_npz(tmp_path / "mnist.npz", arrays)
    with pytest.raises(UserError, match=words) as caught:
        data.load("mnist", folder=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_cut_batch_is_refused(tmp_path):
    put_binary(tmp_path, drawn(shape=(32, 32, 3)))
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"data_batch_3\.bin: .* not whole records of 3073"):
        data.load("cifar10", folder=tmp_path)


def test_rows_are_a_stratified_sample(tmp_path):
    put_npz(tmp_path / "mnist.npz", drawn())
    dataset = data.load("mnist?rows=100", folder=tmp_path)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (90, 10, 50)
    assert np.bincount(np.concatenate([dataset.train.y, dataset.validation.y])).tolist() == [10] * 10
    assert any("100 of 200" in note for note in dataset.notes)
    with pytest.raises(UserError, match="rows=201 is out of range; there are 200 training rows"):
        data.load("mnist", folder=tmp_path, rows=201)


def test_the_seed_decides_the_split(tmp_path):
    put_npz(tmp_path / "mnist.npz", drawn())
    first, again, other = (data.load("mnist", folder=tmp_path, seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert np.array_equal(first.test.x, other.test.x)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_real_fashion_mnist():
    importlib.reload(images)
    start = time.perf_counter()
    dataset = data.load("fashion_mnist")
    assert time.perf_counter() - start < 30
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (54_000, 6_000, 10_000)
    assert dataset.input_shape == (28, 28, 1) and dataset.licence == "MIT"
    assert np.bincount(dataset.validation.y).tolist() == [600] * 10
    assert np.bincount(dataset.test.y).tolist() == [1000] * 10
    assert dataset.classes[dataset.test.y[0]] == "ankle boot"
    assert dataset.train.x.min() == 0 and dataset.train.x.max() == 1
    assert abs(float(dataset.train.x.mean()) - 0.286) < 0.002


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_loading_holds_little_more_than_the_result():
    import tracemalloc

    importlib.reload(images)
    tracemalloc.start()
    try:
        dataset = data.load("fashion_mnist")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = sum(split.x.nbytes for split in (dataset.train, dataset.validation, dataset.test))
    assert peak < 3 * size
