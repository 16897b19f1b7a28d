"""Target files: what ships, and what is said about mistakes in the user's own."""

import pytest

from kerasdl.errors import UserError
from kerasdl.export import load_target, load_targets
from kerasdl.export.formats import format as module
from kerasdl.recipes import names

INT8 = 'format = "onnx"\nprecision = "int8"\n'


@pytest.fixture
def write(tmp_path):
    def apply(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return apply


SHIPPED = {
    "onnx": ("onnx", "float32", "model.onnx"),
    "onnx-fp16": ("onnx", "float16", "model-onnx-fp16.onnx"),
    "onnx-int8": ("onnx", "int8", "model-onnx-int8.onnx"),
    "torchscript": ("torchscript", "float32", "model-torchscript.pt"),
    "torch-export": ("torch-export", "float32", "model-torch-export.pt2"),
    "litert": ("litert", "float32", "model-litert.tflite"),
    "openvino": ("openvino", "float32", "model-openvino.xml"),
    "keras": ("keras", "float32", "model-keras.keras"),
}


def test_what_ships():
    assert set(names("export")) == set(SHIPPED)
    for name, expected in SHIPPED.items():
        target = load_target(name)
        assert (target.format, target.precision, target.file_name) == expected
        assert (target.name, target.benchmark.batch_sizes) == (name, [1, 8, 64, 256])
        assert target.reduced == (target.tolerance.beyond > 0)


def test_the_tolerance_of_reduced_precision(write):
    for name, precision in (("onnx-fp16", "float16"), ("onnx-int8", "int8")):
        own = load_target(write(f'format = "onnx"\nprecision = "{precision}"\n'))
        assert own.tolerance == load_target(name).tolerance
    own = load_target(write('format = "onnx"\nprecision = "int8"\n[tolerance]\nabsolute = 0.5\n'))
    assert (own.tolerance.absolute, own.tolerance.beyond) == (0.5, 0.0)


def test_the_shipped_target():
    target = load_target("onnx")
    assert (target.format, target.opset, target.input, target.output) == ("onnx", 18, "features", "auto")
    assert target.dynamic_batch
    assert (target.tolerance.absolute, target.tolerance.relative) == (1e-4, 1e-3)


def test_a_file_of_the_users_own(write):
    target = load_target(write('format = "onnx"\nopset = 20\n[tolerance]\nabsolute = 0.5\n'))
    assert (target.opset, target.tolerance.absolute, target.tolerance.relative) == (20, 0.5, 1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('format = "onnx"\nopst = 18', "key 'opst' is not known; did you mean 'opset'?"),
        ('format = "onnx"\n[tolerance]\nabsolut = 1', "key 'tolerance.absolut' is not known; did you mean 'absolute'?"),
        ('format = "onx"', "key 'format' is 'onx'; did you mean 'onnx'?"),
        ("opset = 18", "key 'format' is missing"),
        ('format = "onnx"\nopset = 12', "key 'opset' is 12; input should be greater than or equal to 18"),
        ('format = "onnx"\nopset = "18"', "key 'opset' is '18'; input should be a valid integer"),
        ('format = "onnx"\n[tolerance]\nrelative = -1.0', "key 'tolerance.relative' is -1.0"),
        ('format = "onnx', "not readable as TOML"),
        ('format = "torchscrip"', "key 'format' is 'torchscrip'; did you mean 'torchscript'?"),
        ('format = "onnx"\nname = "x"', "key 'name' is not known; a target is called as its file is"),
        ('format = "onnx"\nprecision = "int9"', "key 'precision' is 'int9'; did you mean 'int8'?"),
        ('format = "litert"\nprecision = "int8"', "key 'precision' is 'int8'; format 'litert' has float32, float16"),
        ('format = "litert"\nopset = 18', "key 'opset' is for formats made by way of ONNX"),
        ('format = "torchscript"\ninput = "x"', "key 'input' names nothing"),
        ('format = "onnx"\n[limit]\nmetric_drop = 0.1', "key 'limit' is for precision"),
        ('format = "onnx"\n[tolerance]\nbeyond = 0.1', "key 'tolerance.beyond' is for precision"),
        ('format = "onnx"\nprecision = "float16"\n[quantization]\nrows = 9', "key 'quantization' is for precision"),
        (INT8 + '[quantization]\nmetod = "static"', "key 'quantization.metod' is not known; did you mean 'method'?"),
        (INT8 + '[quantization]\nmethod = "statik"', "key 'quantization.method' is 'statik'; did you mean 'static'?"),
        ('format = "onnx"\n[benchmark]\nsecond = 1', "key 'benchmark.second' is not known; did you mean 'seconds'?"),
        ('format = "onnx"\n[benchmark]\nbatch_sizes = [0]', "key 'benchmark.batch_sizes.0' is 0"),
    ],
)
def test_mistakes_are_named(text, message, write):
    path = write(text)
    with pytest.raises(UserError) as error:
        load_target(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_unknown_names_and_paths():
    with pytest.raises(UserError, match="did you mean 'onnx'"):
        load_target("onxx")
    with pytest.raises(UserError, match="no such target file"):
        load_target("missing.toml")


def test_several_targets_have_files_of_their_own(write):
    assert [each.name for each in load_targets(["onnx", "keras"])] == ["onnx", "keras"]
    with pytest.raises(UserError, match="a second target named 'onnx'"):
        load_targets(["onnx", "onnx"])
    own = write('format = "onnx"')
    assert load_targets([own])[0].file_name == "model-mine.onnx"


@pytest.mark.parametrize(
    ("name", "extra"), [("torchscript", "torch"), ("torch-export", "torch"), ("litert", "litert"), ("openvino",) * 2]
)
def test_a_missing_converter_is_named_before_any_work(name, extra, monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda module: None)
    with pytest.raises(UserError, match=rf"not installed; install it: pip install 'kerasdl\[{extra}\]'"):
        load_targets(["onnx", name])
