"""Runs each example as its reader would, with small settings."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from kerasdl.runs import Run

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SMALL = ["--epochs", "1", "--repeats", "2"]


@pytest.fixture
def run_example(tmp_path, monkeypatch, capsys, backend_name):
    """Runs an example in this process, where the backend is already up, from an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: str) -> str:
        path = EXAMPLES / f"{name}.py"
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_every_example_is_run_here():
    tested = {"run_a_study", "own_model", "own_csv", "serve_onnx", "compare_learning_rates"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


def test_run_a_study(run_example, tmp_path):
    printed = run_example("run_a_study", *SMALL, "--out", "mine")
    assert "depth" in printed
    assert (tmp_path / "mine" / "report.html").is_file()
    with Run.open(tmp_path / "mine") as run:
        assert len(run.table()) == 4
        assert (run.trials()["status"] == "completed").all()


def test_own_model_trains_both_builders(run_example, tmp_path):
    run_example("own_model", *SMALL)
    with Run.open(tmp_path / "runs" / "residual") as run:
        assert run.varying == ["blocks"]
        parameters = run.table().set_index("blocks")["parameters"]
        assert parameters[3] - parameters[1] == 2 * (32 * 32 + 32)
    with Run.open(tmp_path / "runs" / "tapered") as run:
        assert set(run.varying) <= {"first_width", "layers"}
        assert (run.trials()["status"] == "completed").all()


def test_own_csv_without_arguments_uses_the_wines(run_example, tmp_path):
    assert "alcohol" in run_example("own_csv", *SMALL)
    with Run.open(tmp_path / "runs" / "table") as run:
        assert run.data["classes"] == ["first", "second", "third"]


def test_own_csv_takes_a_file(run_example, tmp_path):
    lines = [f"{number % 7},{number % 5},{'even' if number % 2 else 'odd'}" for number in range(60)]
    (tmp_path / "mine.csv").write_text("\n".join(["first,second,parity", *lines]))
    run_example("own_csv", "mine.csv", "parity", *SMALL)
    with Run.open(tmp_path / "runs" / "table") as run:
        assert run.data["features"] == ["first", "second"]


def test_compare_learning_rates(run_example, tmp_path):
    assert "after each epoch" in run_example("compare_learning_rates", *SMALL)
    with Run.open(tmp_path / "runs" / "learning_rates") as run:
        assert len(run.table()) == 8


def test_serve_onnx_answers_with_class_names_and_imports_no_keras(run_example, tmp_path):
    run_example("own_csv", *SMALL)
    with Run.open(tmp_path / "runs" / "table") as run:
        row = ",".join(f"{value:.4f}" for value in run.sample[0])
        classes = run.data["classes"]
    program = (
        "import runpy, sys\n"
        f"runpy.run_path({str(EXAMPLES / 'serve_onnx.py')!r}, run_name='__main__')\n"
        "assert not {'keras', 'kerasdl', 'torch', 'tensorflow', 'jax'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "runs/table/best.onnx", row, row],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert any(f"{row}: {name} (" in done.stdout for name in classes)
