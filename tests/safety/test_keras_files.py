"""What a `.keras` file may not hold: told before Keras is there to act on it."""

import subprocess
import sys

import pytest

from kerasdl.errors import UserError
from kerasdl.safety import check_keras
from tests.safety.attacks import ATTACKS

pytestmark = pytest.mark.backend_free


def test_a_plain_model_passes(keras_file):
    assert check_keras(keras_file()) == (3 * 2 + 2) * 4


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_what_reaches_out_is_refused_in_one_line(attack, keras_file, tmp_path):
    path, message = attack(keras_file, tmp_path / "marker")
    with pytest.raises(UserError, match=message) as refusal:
        check_keras(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 600
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("contents", "message"),
    [(b"", "not a readable archive"), (b"PK\x03\x04 cut off", "not a readable archive"), (None, "a folder")],
)
def test_what_is_no_model(contents, message, tmp_path):
    path = tmp_path / "model.keras"
    path.mkdir() if contents is None else path.write_bytes(contents)
    with pytest.raises(UserError, match=message):
        check_keras(path)


def test_a_class_that_is_not_known_is_named(keras_file):
    own = {"module": None, "class_name": "Mine", "config": {"name": "first"}, "registered_name": "Mine"}
    with pytest.raises(UserError, match="the class of layer 'first', Mine, is not Keras' own; custom layers need"):
        check_keras(keras_file([own]))


@pytest.mark.parametrize("place", ["config.json", "model.weights.h5"])
def test_damaged_members(place, keras_file):
    path = keras_file()
    contents = bytearray(path.read_bytes())
    contents[contents.index(place.encode()) + len(place) + 3] ^= 0xFF
    path.write_bytes(contents)
    with pytest.raises(UserError, match=r"damaged|cannot be read"):
        check_keras(path)


def test_the_check_imports_neither_keras_nor_a_backend(keras_file):
    heavy = ["keras", "torch", "tensorflow", "jax", "onnx", "onnxruntime"]
    code = (
        f"import sys; from kerasdl.safety import check_keras; check_keras({str(keras_file())!r});"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
