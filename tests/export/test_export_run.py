"""The winner of a run, and the command line."""

import json
import subprocess
import sys
import time

import keras
import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from kerasdl.errors import UserError
from kerasdl.export.__main__ import application
from kerasdl.export.run import export_run
from kerasdl.runs import RunWriter
from kerasdl.runs.writer import TrialResult

CLASSES = ["north", "south", "east", "west"]


@pytest.fixture
def run(small, scaling, tmp_path):
    directory = tmp_path / "run"
    rows = scaling.invert(np.random.default_rng(3).normal(size=(20, 6)))
    with RunWriter(directory, 'title = "Which way?"\n') as writer:
        writer.record_fact("objective", {"name": "val_accuracy", "direction": "max"})
        writer.record_fact(
            "data",
            {
                "name": "ways",
                "classes": CLASSES,
                "features": list("abcdef"),
                "scaling": {"offset": scaling.offset.tolist(), "scale": scaling.scale.tolist()},
                "source": "made up",
                "licence": "CC0",
                "fingerprint": "00",
            },
        )
        writer.record_array("sample", rows)
        writer.add_configurations(0, {0: {"rate": 0.1}})
        writer.start_trials([(0, 0, 0, "alone")])
        writer.record_epoch(1, {0: {"val_accuracy": 0.9}}, 0.1)
        writer.finish_trial(0, TrialResult(status="completed", score=0.9))
    small.save(directory / "best.keras")
    return directory


def call(*arguments):
    return CliRunner().invoke(application, [str(argument) for argument in arguments])


def test_the_winner_of_a_run(run):
    export = export_run(run)
    assert export.path == run / "best.onnx"
    assert export.argmax_agreement == 1.0
    properties = {each.key: each.value for each in onnx.load(export.path).metadata_props}
    assert json.loads(properties["classes"]) == CLASSES
    assert json.loads(properties["settings"]) == {"rate": 0.1}
    assert json.loads(properties["scores"])["mean"] == 0.9
    assert properties["title"] == "Which way?"
    assert (properties["source"], properties["licence"]) == ("made up", "CC0")


def test_a_run_without_a_winner(run, tmp_path):
    (run / "best.keras").unlink()
    with pytest.raises(UserError, match="the run has not ended"):
        export_run(run)
    with pytest.raises(UserError):
        export_run(tmp_path / "no run")


def test_the_command_on_a_run_may_rewrite_its_own_file(run):
    for _ in range(2):
        result = call(run)
        assert result.exit_code == 0, result.output
    assert f"wrote {run / 'best.onnx'}: 8 nodes of opset 18, by kerasdl" in result.stdout
    assert "same class for 100.00% of the rows; batches of 1, 7, 64" in result.stdout
    assert "compared on CPUExecutionProvider" in result.stdout.replace("CUDAExecutionProvider, ", "")


def test_the_command_overwrites_no_other_file(run, tmp_path):
    out = tmp_path / "mine.onnx"
    out.write_text("precious")
    result = call(run, "--out", out)
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: {out}: already there; give --force to overwrite it, or another --out\n",
    )
    assert out.read_text() == "precious"
    assert call(run, "--out", out, "--force").exit_code == 0
    assert onnx.load(out).producer_name == "kerasdl"


def test_the_command_on_a_model(small, tmp_path):
    small.save(tmp_path / "small.keras")
    assert call(tmp_path / "small.keras").exit_code == 0
    assert (tmp_path / "small.onnx").is_file()
    again = call(tmp_path / "small.keras")
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1)
    assert "already there" in again.stderr


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("missing", [], "no such run or model"),
        ("old.h5", [], "the old h5 format is not read"),
        ("model.txt", [], "not a .keras file"),
        ("broken.keras", [], "not a readable archive"),
        ("broken.keras", ["--target", "onxx"], "did you mean 'onnx'"),
        ("broken.keras", ["--backend", "tensorflw"], "'tensorflw'"),
    ],
)
def test_mistakes_end_in_one_line(name, options, message, tmp_path):
    path = tmp_path / name
    if name != "missing":
        path.write_text("nothing")
    result = call(path, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_lambda_layers_are_not_loaded(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / "m.keras")
    result = call(tmp_path / "m.keras")
    assert result.exit_code == 2
    assert "(Lambda) holds Python code" in result.stderr


def test_the_command_in_a_fresh_process(small, tmp_path):
    small.save(tmp_path / "small.keras")
    command = [
        sys.executable,
        "-m",
        "kerasdl.export",
        str(tmp_path / "small.keras"),
        "--backend",
        keras.backend.backend(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "by kerasdl" in done.stdout
    assert "CUDAExecutionProvider" not in done.stderr
    assert "Traceback" not in done.stderr


def test_help_is_quick():
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "kerasdl.export", "--help"], capture_output=True, text=True, check=True
    )
    assert "RUN_OR_MODEL" in done.stdout
    # A second on an idle machine; three where others share it.
    assert time.perf_counter() - started < 3
