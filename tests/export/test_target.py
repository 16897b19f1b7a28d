"""Target files: what ships, and what is said about mistakes in the user's own."""

import pytest

from kerasdl.errors import UserError
from kerasdl.export import load_target


@pytest.fixture
def write(tmp_path):
    def apply(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return apply


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
