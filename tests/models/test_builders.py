import functools
import textwrap
from pathlib import Path

import pytest

from kerasdl import models
from kerasdl.errors import UserError
from kerasdl.models.builders import call

pytestmark = pytest.mark.backend_free

SOURCE = """
    import json  # a file may import what it likes: finding it runs nothing

    raise_when_imported = []

    def build(input_shape, classes, units, *, rate=0.5, **others):
        return input_shape, classes, units, rate, others

    def search(hp):
        return hp
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(SOURCE))
    return path


def own(input_shape: tuple[int, ...], classes: int, units: int = 8, name: str = "x", scale=(1, 2), odd=None) -> object:
    return input_shape, classes, units


def test_shipped_models_are_found_by_name() -> None:
    assert models.names() == ["cnn", "mlp", "softmax", "transfer", "unet"]
    builder = models.find("mlp")
    assert builder.function is models.mlp
    assert builder.shipped
    assert builder.fingerprint is None
    assert builder.settings == ("depth", "width", "activation", "batch_norm", "dropout", "l2", "initializer")
    assert builder.defaults()["width"] == 64
    assert not builder.takes_hp
    assert builder.required == ()


def test_a_function_is_a_builder(tmp_path: Path) -> None:
    builder = models.find(own)
    assert builder.name == "own"
    assert builder.settings == ("units", "name", "scale", "odd")
    # What no file can hold is left to the function.
    assert builder.defaults() == {"units": 8, "name": "x"}
    assert builder.load() is own
    assert not builder.shipped
    assert len(builder.fingerprint or "") == 64
    assert models.find(functools.partial(own, units=3)).fingerprint is None


def test_a_file_is_found_without_running_it(file: Path) -> None:
    file.write_text(file.read_text() + "\nraise RuntimeError('it was run')\n")
    builder = models.find("mine.py:build", file.parent)
    assert builder.name == "mine.py:build"
    assert builder.settings == ("units", "rate")
    assert builder.required == ("units",)
    assert builder.any_setting
    assert models.find(f"{file}:search").takes_hp
    with pytest.raises(UserError, match="RuntimeError: it was run; mend the file"):
        builder.load()


def test_a_file_is_imported_once_and_called_with_what_it_asks_for(file: Path) -> None:
    builder = models.find(f"{file}:build")
    function = builder.load()
    assert function is builder.load()
    given = {"input_shape": (2,), "classes": 3, "hp": None}
    assert call(function, {"units": 4, "depth": 1}, given) == ((2,), 3, 4, 0.5, {"depth": 1})


def test_the_fingerprint_of_a_file_follows_its_text(file: Path) -> None:
    builder = models.find(f"{file}:build")
    before = builder.fingerprint
    file.write_text(file.read_text() + "\n")
    assert builder.fingerprint != before


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [("depth", 0, 0), ("dropout", 0, 0.0), ("width", [4, 8], [4, 8]), ("batch_norm", True, True)],
)
def test_values_are_taken_as_the_hints_have_them(name: str, value: object, taken: object) -> None:
    checked = models.find("mlp").check(name, value)
    assert (checked, type(checked)) == (taken, type(taken))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("depth", value) for value in (-1, 1.5, True, "two", [1])),
        *(("width", value) for value in (0, [4, 0], "64", 6.4)),
        *(("dropout", value) for value in (1.0, -0.1, "half", float("nan"))),
        *(("l2", value) for value in (-1e-9, float("inf"))),
        ("activation", "rleu"),
        ("batch_norm", 1),
        ("initializer", "zeros"),
    ],
)
def test_values_that_cannot_be_are_refused_with_the_value(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        models.find("mlp").check(name, value)
    assert str(caught.value).startswith(repr(value))
    assert "\n" not in str(caught.value)


def test_a_setting_without_a_hint_takes_anything() -> None:
    assert models.find(own).check("scale", "anything") == "anything"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("mpl", "'mpl' is not a shipped model; did you mean 'mlp'?, or give 'file.py:function'"),
        ("random_forest", "choose from cnn, mlp, softmax, transfer, unet"),
        ("mine.py", "is not a shipped model"),
        ("none.py:build", "none.py: no such file; give the path of a Python file"),
        ("mine.py:biuld", "mine.py: defines no function 'biuld'; did you mean 'build'?"),
        ("mine.py:", "defines no function ''"),
        ("empty.py:build", "defines no function at its top level"),
        ("broken.py:build", "broken.py, line 2: .*; the file must be valid Python"),
        ("latin.py:build", "latin.py: not UTF-8 text"),
    ],
)
def test_what_cannot_be_found_is_an_error_that_names_it(file: Path, model: str, message: str) -> None:
    (file.parent / "empty.py").write_text("")
    (file.parent / "broken.py").write_text("import os\ndef build(:\n")
    (file.parent / "latin.py").write_bytes(b"# \xe9\ndef build(): pass\n")
    with pytest.raises(UserError, match=message.replace("?", r"\?")) as caught:
        models.find(model, file.parent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise ValueError('first\\nsecond')", "ValueError: first second; mend the file"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"{text}\ndef build(): pass\n")
    builder = models.find(f"{path}:build")
    for _ in range(2):
        with pytest.raises(UserError, match=f"mine.py: importing it failed: {message}"):
            builder.load()
    path.write_text("def build(): return 'mended'\n")
    assert models.find(f"{path}:build").load()() == "mended"
