"""Every file format from every backend: raw features in, Keras' outputs out, and a damaged file is refused."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from kerasdl.errors import UserError
from kerasdl.export import ExportError, Target, export_model, load_target, verify
from kerasdl.export.formats import FORMATS
from kerasdl.export.formats.format import check_installed

layers = keras.layers
BACKEND = keras.backend.backend()


def needs(name):
    """Marks a target: skipped where its converter is not installed, slow where a fresh process converts."""
    form = FORMATS[name]
    try:
        check_installed(name)
    except UserError as error:
        return pytest.param(name, marks=pytest.mark.skip(reason=str(error)))
    return pytest.param(name, marks=[pytest.mark.slow] if form.backend not in {None, BACKEND} else [])


ALL = [needs(name) for name in ("torchscript", "torch-export", "litert", "openvino", "keras")]


def damage(path, bias):
    """Adds 1 to the first number of a bias where its bytes lie in the file."""
    weights = path.with_suffix(".bin") if path.suffix == ".xml" else path
    if path.suffix == ".keras":
        model = keras.saving.load_model(path)
        changed = model.layers[-1].layers[-1]
        changed.set_weights([changed.get_weights()[0], bias + np.float32([1, 0, 0, 0])])
        model.save(path)
        return
    contents, old = weights.read_bytes(), bias.astype("float32").tobytes()
    assert contents.count(old) == 1
    weights.write_bytes(contents.replace(old, (bias + np.float32([1, 0, 0, 0])).astype("float32").tobytes()))


@pytest.mark.parametrize("name", [pytest.param("onnx"), *ALL])
def test_raw_features_in_and_equal_outputs_out(name, small, scaling, tmp_path, capfd):
    target = load_target(name)
    path = tmp_path / target.file_name
    export = export_model(small, path, target, scaling=scaling, metadata={"source": "a test"})
    assert (export.format, export.target, export.batch_sizes) == (name, name, (1, 7, 64))
    assert export.max_abs_diff <= 5e-5
    assert export.argmax_agreement == 1.0
    assert [each.rows for each in export.batches] == [1, 7, 64]
    assert export.extremes["zeros"] == export.extremes["huge"] == export.extremes["ordinary"] == "equal"
    assert export.files[0] == path.name
    assert export.bytes == sum((tmp_path / each).stat().st_size for each in export.files)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(export.files)
    assert json.loads(json.dumps(export.as_dict()))["extremes"]["NaN"]
    assert capfd.readouterr().out == ""
    damage(path, small.layers[-1].get_weights()[1])
    with pytest.raises(ExportError):
        verify(path, small, target, scaling=scaling)


@pytest.mark.parametrize("name", [needs("openvino"), needs("litert")])
def test_names_of_the_ends(name, small, tmp_path):
    target = Target(format=name, input="x", output="y")
    path = tmp_path / target.file_name
    export_model(small, path, target)
    code = {
        "openvino": "import openvino; m = openvino.Core().read_model({0!r}); "
        "print(m.inputs[0].any_name, m.outputs[0].any_name)",
        "litert": "from ai_edge_litert.interpreter import Interpreter; s = Interpreter({0!r}).get_signature_list(); "
        "print(*s['serving_default']['inputs'], *s['serving_default']['outputs'])",
    }[name]
    done = subprocess.run([sys.executable, "-c", code.format(str(path))], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["x", "y"]


@pytest.mark.parametrize("name", ["onnx", needs("openvino")])
def test_classes_of_pixels_are_probabilities(name, shake, tmp_path):
    stack = [layers.Conv2D(4, 3, padding="same", activation="relu"), layers.Conv2D(1, 1, activation="sigmoid")]
    model = shake(keras.Sequential([keras.Input((6, 5, 2)), *stack]))
    export = export_model(model, tmp_path / load_target(name).file_name, name)
    # One probability for each pixel: the side of 0.5 is compared.
    assert export.argmax_agreement == 1.0


@pytest.mark.skipif(BACKEND != "torch", reason="a fresh process with torch converts, as the slow tests do")
@pytest.mark.parametrize("name", ["torchscript", pytest.param("torch-export", marks=pytest.mark.slow)])
def test_images_and_metadata_in_files_of_torch(name, shake, tmp_path):
    stack = [layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D()]
    last = [layers.Flatten(), layers.Dense(3, activation="softmax")]
    model = shake(keras.Sequential([keras.Input((8, 8, 1)), *stack, *last]))
    path = tmp_path / load_target(name).file_name
    export = export_model(model, path, name, classes=["a", "b", "c"])
    assert any("deprecated" in warning and ".pt2" in warning for warning in export.warnings) == (name == "torchscript")
    assert "keras" not in export.runtime
    with zipfile.ZipFile(path) as archive:
        # Conversions would tie the file to the device that it was traced on.
        code = [archive.read(each).decode() for each in archive.namelist() if each.endswith(".py")]
        assert bool(code) == (name == "torchscript")
        assert not any("torch.to(" in each for each in code)
        (inside,) = [each for each in archive.namelist() if each.endswith("metadata.json")]
        assert json.loads(archive.read(inside))["classes"] == ["a", "b", "c"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [needs(name) for name in ("torchscript", "torch-export", "litert", "openvino")])
def test_two_inputs_and_two_outputs(name, shake, tmp_path):
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    joined = layers.Dense(5, activation="relu")(layers.Concatenate()([left, right]))
    outputs = [layers.Dense(3, name="kind")(joined), layers.Dense(1, name="size")(joined)]
    model = shake(keras.Model({"left": left, "right": right}, outputs))
    path = tmp_path / load_target(name).file_name
    export = export_model(model, path, name)
    assert export.max_abs_diff < 1e-5
    assert export.argmax_agreement is None


@pytest.mark.slow
@pytest.mark.parametrize("name", [needs("litert")])
def test_what_litert_cannot_do_is_said_with_the_way_out(name, shake, tmp_path):
    model = shake(keras.Sequential([keras.Input((5, 3)), layers.LSTM(2), layers.Dense(2)]))
    with pytest.raises(UserError, match=r"TFLiteConverter failed .* a target with dynamic_batch = false may do"):
        export_model(model, tmp_path / "m.tflite", name)
    export = export_model(model, tmp_path / "m.tflite", Target(format=name, dynamic_batch=False))
    assert export.batch_sizes == (1,)


def test_the_suffix_belongs_to_the_format(small, tmp_path):
    with pytest.raises(UserError, match=r"a file of the format 'keras' ends in \.keras"):
        export_model(small, tmp_path / "model.onnx", "keras")


def test_a_keras_file_with_code_of_its_own_is_refused(tmp_path):
    class Own(layers.Layer):
        def call(self, x):
            return x * 2

    model = keras.Sequential([keras.Input((3,)), Own(name="own")])
    with pytest.raises(UserError, match=r"layer 'own' .* has code of its own"):
        export_model(model, tmp_path / "m.keras", "keras")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(BACKEND == "torch", reason="torch converts in this process")
def test_own_classes_cannot_go_to_torch(tmp_path):
    pytest.importorskip("torch")

    class Own(layers.Layer):
        def call(self, x):
            return x * 2

    model = keras.Sequential([keras.Input((3,)), Own(name="own")])
    with pytest.raises(UserError, match=r"layer 'own' .* cannot be loaded in a fresh process on torch"):
        export_model(model, tmp_path / "m.pt", "torchscript")


@pytest.mark.parametrize(
    "scale", [np.float32(255.0), np.full((1, 1, 2), 7, "float32"), np.full((4, 4, 2), 3, "float32")]
)
def test_scaling_of_any_shape_goes_in_front(scale, shake, tmp_path):
    from kerasdl.data.dataset import Scaling

    model = shake(keras.Sequential([keras.Input((4, 4, 2)), layers.Flatten(), layers.Dense(3)]))
    scaling = Scaling(scale * 100, scale)
    assert export_model(model, tmp_path / "m.keras", "keras", scaling=scaling).max_rel_diff < 1e-3
