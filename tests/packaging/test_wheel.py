"""Builds the wheel, looks into it, and runs it from an empty folder."""

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from kerasdl import backend

ROOT = Path(__file__).resolve().parents[2]
QUICKEST = next((name for name in ("jax", "tensorflow", "torch") if name in backend.installed()), None)

pytestmark = pytest.mark.slow


def quiet(*command: str | Path, folder: Path, **variables: str) -> str:
    """Runs a command without this checkout on its path and returns what it prints on standard output."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**inherited, **variables},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def data_files() -> set[str]:
    """The files that are no Python, as the wheel names them."""
    package = {path for path in (ROOT / "kerasdl").rglob("*.*") if path.suffix in {".sql", ".css", ".j2"}}
    recipes = {path for kind in ("tuning", "export") for path in (ROOT / kind).rglob("*") if path.is_file()}
    recipes = {path for path in recipes if "__pycache__" not in path.parts}
    inside = {path.relative_to(ROOT).as_posix() for path in package}
    return inside | {f"kerasdl/_recipes/{path.relative_to(ROOT).as_posix()}" for path in recipes}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the source distribution and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    quiet(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The Python of an environment with the wheel in it; what kerasdl needs comes from the tests' own environment."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = Path(quiet(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip())
    quiet(sys.executable, "-m", "pip", "install", "--no-deps", "--target", site, wheel, folder=folder)
    # After the wheel's own folder on the path, so that an editable install of this checkout comes second.
    needs = [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    (site / "dependencies.pth").write_text("\n".join(needs))
    return python


def test_the_wheel_holds_every_module_and_every_data_file(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "kerasdl").rglob("*.py")}
    assert modules <= names
    assert data_files() <= names
    assert {"kerasdl/_recipes/tuning/mlp.toml", "kerasdl/runs/schema.sql", "kerasdl/report/page.html.j2"} <= names
    assert {"kerasdl/_recipes/export/serve/Dockerfile", "kerasdl/export/bundle/card.md.j2"} <= names


def test_the_wheel_holds_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"kerasdl", "kerasdl-0.1.0.dist-info"}
    assert not [name for name in names if "__pycache__" in name]


def test_the_source_distribution_holds_tests_and_examples(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/conftest.py", "examples/run_a_study.py", "LICENSE", "docs/report.png", "tuning/mlp.toml"} <= names


def test_an_installed_wheel_lists_its_studies_from_an_empty_folder(python, tmp_path):
    where = quiet(python, "-c", "import kerasdl; print(kerasdl.__file__)", folder=tmp_path)
    assert not Path(where.strip()).is_relative_to(ROOT)
    listed = quiet(python, "-m", "kerasdl.tune", "--list", folder=tmp_path)
    assert [line.split()[0] for line in listed.splitlines()] == sorted(path.stem for path in ROOT.glob("tuning/*.toml"))


@pytest.mark.skipif(QUICKEST is None, reason="no backend is installed")
def test_an_installed_wheel_runs_a_study_from_an_empty_folder(python, tmp_path):
    command = ["-m", "kerasdl.tune", "mlp", "--data", "xor?rows=200", "--set", "space.depth=[0, 1]", "--json"]
    small = ["--set", "width=4", "--set", "batch_norm=false", "--epochs", "1", "--repeats", "1"]
    summary = json.loads(quiet(python, *command, *small, folder=tmp_path, KERAS_BACKEND=QUICKEST or ""))
    assert summary["completed"] == 2
    assert Path(summary["onnx"]["path"]).is_relative_to(tmp_path)
    assert (tmp_path / "runs" / "mlp" / "report.html").is_file()


def test_an_editable_install_finds_the_recipes_of_the_checkout(tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=os.name != "nt")
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = Path(quiet(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=tmp_path).strip())
    editable = [sys.executable, "-c", f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})"]
    quiet(*editable, folder=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(site)
    shown = quiet(
        python,
        "-c",
        "from kerasdl import recipes; print(recipes.find('tuning', 'mlp')); print(recipes.find('export', 'onnx'))",
        folder=tmp_path,
    )
    assert shown.split("\n")[:2] == [str(ROOT / "tuning" / "mlp.toml"), str(ROOT / "export" / "onnx.toml")]


@pytest.mark.skipif(os.name == "nt", reason="hides the backends by an environment without them")
def test_without_a_backend_the_command_says_what_to_install(python, tmp_path):
    hide = "import sys, importlib.util as u; f = u.find_spec; "
    hide += "u.find_spec = lambda n, *a: None if n in ('torch', 'tensorflow', 'jax') else f(n, *a); "
    run = "sys.argv = ['tune', 'mlp']; from kerasdl.tune.__main__ import main; main()"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "KERAS_BACKEND")}
    done = subprocess.run(
        [python, "-c", hide + run], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'kerasdl[" in done.stderr
    assert done.stderr.count("\n") == 1
