import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import kerasdl
from kerasdl.runs import Run
from kerasdl.tune import Study


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, from which new processes find the kerasdl that is tested."""
    tested = str(Path(kerasdl.__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [tested, os.environ.get("PYTHONPATH")])))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Callable[[str, str], Path]:
    """Writes a file into the current folder."""

    def write(name: str, text: str) -> Path:
        path = folder / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def study() -> Callable[..., Study]:
    """Makes a study of a small MLP that learns in a moment."""

    def make(**keys: Any) -> Study:
        return Study(**{"data": "xor?rows=60", "model": "mlp", "epochs": 2, "batch_size": 16, **keys})

    return make


@pytest.fixture
def tune(folder: Path) -> Callable[..., Result]:
    """Runs `python -m kerasdl.tune` in this process."""

    def run(*arguments: str) -> Result:
        from kerasdl.tune.__main__ import application

        return CliRunner().invoke(application, [*arguments, "--no-export"])

    return run


@pytest.fixture
def real_report() -> None:
    """Asked for by a test that wants the report itself."""


@pytest.fixture(autouse=True)
def quick_report(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares searches in this process the seconds that figures take; the report has tests of its own."""
    if "real_report" in request.fixturenames or request.node.get_closest_marker("backend_free"):
        return

    def write(run: Run) -> Path:
        path = run.path / "report.html"
        path.write_text("not drawn")
        return path

    monkeypatch.setattr("kerasdl.report.write_report", write)
