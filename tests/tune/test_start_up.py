"""The command answers at once, and nothing heavy is imported before it is needed."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from kerasdl import backend, recipes

pytestmark = pytest.mark.backend_free

HEAVY = ("keras", "keras_tuner", "torch", "tensorflow", "jax", "matplotlib", "sklearn", "onnx", "onnxruntime")


def seconds(*arguments: str) -> float:
    """Returns the processor's time, which other work on the machine does not lengthen."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imported_by(statement: str) -> list[str]:
    code = f"{statement}\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.split()


@pytest.mark.parametrize(
    "statement",
    [
        "import kerasdl",
        "import kerasdl.runs",
        "import kerasdl.models",
        "import kerasdl.tune.__main__",
        "from kerasdl.tune import Study; Study.load('mlp')",
    ],
)
def test_nothing_heavy_is_imported(statement: str) -> None:
    assert imported_by(statement) == []


def test_importing_kerasdl_takes_less_than_a_third_of_a_second() -> None:
    bare = min(seconds("-c", "pass") for _ in range(3))
    assert min(seconds("-c", "import kerasdl") for _ in range(3)) - bare < 0.3


def test_help_takes_less_than_a_second() -> None:
    assert min(seconds("-m", "kerasdl.tune", "--help") for _ in range(3)) < 1


def test_the_list_names_the_shipped_studies_with_their_questions() -> None:
    command = [sys.executable, "-m", "kerasdl.tune", "--list"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == recipes.names("tuning")
    assert {"mlp", "softmax"} <= set(recipes.names("tuning"))
    assert all("?" in line for line in lines)
    assert result.stderr == ""


def test_without_a_backend_the_command_says_which_to_install() -> None:
    result = run_without_backends("mlp")
    assert result.returncode == 2
    assert result.stderr.startswith("error: no Keras backend is installed; install one: pip install 'kerasdl[")
    assert len(result.stderr.splitlines()) == 1


def test_a_backend_that_is_not_installed_is_named() -> None:
    result = run_without_backends("mlp", "--backend", "torch")
    assert result.returncode == 2
    assert result.stderr.startswith(
        "error: --backend: torch is not installed here; install it: pip install 'kerasdl[torch]'"
    )
    assert len(result.stderr.splitlines()) == 1


def run_without_backends(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import kerasdl.backend as backend; from kerasdl.tune.__main__ import main; "
        "backend.MODULES = dict.fromkeys(backend.MODULES, 'no_such_module'); main()"
    )
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.parametrize("name", [name for name in backend.installed() if name != "tensorflow"])
def test_a_study_on_another_backend_imports_no_tensorflow(name: str, tmp_path: Path) -> None:
    code = """
import sys
from kerasdl.tune import Study

with Study(data="xor?rows=60", model="mlp", epochs=1).run(sys.argv[1], progress=False):
    print("tensorflow" in sys.modules)
"""
    assert told(name, code, str(tmp_path / "run")) == ["False"]


@pytest.mark.skipif("tensorflow" not in backend.installed(), reason="TensorFlow is not installed")
@pytest.mark.parametrize("name", [name for name in backend.installed() if name != "tensorflow"])
def test_keras_knows_what_is_of_tensorflow_where_somebody_imported_it(name: str) -> None:
    code = """
import keras
import kerasdl.watch
import tensorflow

print(keras.saving.serialize_keras_object(tensorflow.float32))
"""
    assert told(name, code) == ["float32"]


def told(name: str, code: str, *arguments: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "KERAS_BACKEND": name},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.split()
