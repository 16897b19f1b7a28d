"""Programs that JAX compiled are kept on disk: the same study compiles them once, and finds the same."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kerasdl.runs import Run

STUDY = """
data = "digits"
model = "softmax"
epochs = 2
[space]
learning_rate = [0.1, 0.01]
"""


@pytest.fixture
def tune(backend_name: str, tmp_path: Path) -> Any:
    """Runs the study in a process of its own, with more variables of the environment."""
    if backend_name != "jax":
        pytest.skip("other backends' programs cannot be kept")
    (tmp_path / "study.toml").write_text(STUDY)

    def run(name: str, **environment: str) -> None:
        command = [sys.executable, "-m", "kerasdl.tune", "study.toml", "--no-export", "--out", name]
        own = {key: value for key, value in os.environ.items() if not key.startswith(("JAX_COMPILATION", "KERASDL"))}
        ended = subprocess.run(
            command, cwd=tmp_path, env={**own, **environment}, capture_output=True, text=True, check=False
        )
        assert (ended.returncode, ended.stderr) == (0, "")

    return run


def programs(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("programs/*/*-cache")}


def losses(folder: Path) -> list[float]:
    with Run.open(folder) as run:
        return run.curves().sort_values(["trial", "epoch"])["val_loss"].tolist()


def test_the_same_study_compiles_once_and_finds_the_same(tune: Any, tmp_path: Path) -> None:
    kept = {"KERASDL_CACHE": str(tmp_path / "cache")}
    tune("first", **kept)
    made = programs(tmp_path / "cache")
    assert any(name.startswith("jit_epoch") for name in made)
    tune("again", **kept)
    assert programs(tmp_path / "cache") == made
    assert losses(tmp_path / "again") == losses(tmp_path / "first")


def test_where_nothing_can_be_written_nothing_is_kept_or_said(tune: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    tune("run", KERASDL_CACHE=str(tmp_path / "file"))


def test_a_damaged_program_is_made_again(tune: Any, tmp_path: Path) -> None:
    kept = {"KERASDL_CACHE": str(tmp_path / "cache")}
    tune("first", **kept)
    for path in (tmp_path / "cache").glob("programs/*/*-cache"):
        path.write_bytes(path.read_bytes()[:100])
    tune("again", **kept)
    assert losses(tmp_path / "again") == losses(tmp_path / "first")


def test_a_folder_of_the_users_choice_stays(tune: Any, tmp_path: Path) -> None:
    tune("run", KERASDL_CACHE=str(tmp_path / "cache"), JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"))
    assert not programs(tmp_path / "cache")


@pytest.mark.parametrize(("release", "kept"), [("0.4.38", False), ("0.10.2", True)])
def test_releases_that_cannot_read_programs_keep_none(tune: Any, tmp_path: Path, release: str, kept: bool) -> None:
    code = (
        f"import os; from kerasdl import compiled; compiled.version = lambda name: {release!r}; "
        "compiled.keep_programs(); print(os.environ.get('JAX_COMPILATION_CACHE_DIR', ''))"
    )
    environment = {**os.environ, "KERASDL_CACHE": str(tmp_path)}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.startswith(str(tmp_path)) == kept
