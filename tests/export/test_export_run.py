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


def test_only_the_winner_can_be_exported(run):
    assert export_run(run, trial=0).path == run / "best.onnx"
    with pytest.raises(UserError, match=r"has no such trial; its trials are 0 to 0"):
        export_run(run, trial=5)
    with RunWriter(run, 'title = "Which way?"\n') as writer:
        writer.add_configurations(1, {1: {"rate": 0.2}})
        writer.start_trials([(1, 1, 0, "alone")])
        writer.record_epoch(1, {1: {"val_accuracy": 0.5}}, 0.1)
        writer.finish_trial(1, TrialResult(status="completed", score=0.5))
    with pytest.raises(UserError, match=r"trial 1: its weights were not kept; .* its winner's best: 0"):
        export_run(run, trial=1)


def test_the_command_on_a_run(run):
    result = call(run)
    assert result.exit_code == 0, result.output
    assert f"wrote {run / 'export'}" in result.stdout
    assert "model.onnx: 8 nodes of opset 18, " in result.stdout
    assert "same class for 100.00% of the rows; batches of 1, 7, 64" in result.stdout
    assert "(CPUExecutionProvider)" in result.stdout.replace("CUDAExecutionProvider, ", "")
    report = json.loads((run / "export" / "report.json").read_text())
    (export,) = report["exports"]
    assert (export["path"], export["target"], export["exporter"]) == ("model.onnx", "onnx", "kerasdl")
    assert [each["rows"] for each in export["batches"]] == [1, 7, 64]
    assert export["bytes"] == (run / "export" / "model.onnx").stat().st_size
    assert (report["refused"], report["versions"]["onnx"]) == ([], onnx.__version__)
    assert not (run / "best.onnx").exists()
    # What is there is replaced only where that is asked for.
    again = call(run)
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1)
    assert "already there; give --force to replace it" in again.stderr
    assert call(run, "--force", "--target", "keras").exit_code == 0
    assert not (run / "export" / "model.onnx").exists()


def test_the_command_replaces_nothing_but_exports(run, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    result = call(run, "--out", out, "--force")
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: {out}: holds something else than exports (no report.json); give another --out\n",
    )
    assert (out / "thesis.txt").read_text() == "precious"


def test_the_command_on_a_model(small, tmp_path):
    small.save(tmp_path / "small.keras")
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(90, 6)))
    result = call(
        tmp_path / "small.keras", "--rows", tmp_path / "rows.npy", "--target", "onnx", "--target", "onnx-fp16"
    )
    assert result.exit_code == 0, result.output
    folder = tmp_path / "small-export"
    assert {each.name for each in folder.glob("model*.onnx")} == {"model.onnx", "model-onnx-fp16.onnx"}
    assert (folder / "model.json").is_file()
    assert "float16: another class for 0.00% of 90 test rows" in result.stdout
    assert "note: no labels were given" in result.stdout


def test_a_refused_target_leaves_the_others(small, tmp_path):
    small.save(tmp_path / "small.keras")
    result = call(tmp_path / "small.keras", "--target", "onnx-int8", "--target", "onnx")
    assert result.exit_code == 2
    assert "refused: onnx-int8: target 'onnx-int8' needs rows" in result.stderr
    report = json.loads((tmp_path / "small-export" / "report.json").read_text())
    assert [each["target"] for each in report["exports"]] == ["onnx"]
    assert [each["target"] for each in report["refused"]] == ["onnx-int8"]
    alone = call(tmp_path / "small.keras", "--target", "onnx-int8", "--out", tmp_path / "none")
    assert alone.exit_code == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["small-export", "small.keras"]


@pytest.fixture
def xor(shake, tmp_path):
    """A run on data that can be loaded again, and its winner."""
    from kerasdl import data

    spec = "xor?rows=300"
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(2, activation="softmax")]
    )
    dataset = data.load(spec, seed=3)
    directory = tmp_path / "xor"
    with RunWriter(directory, f'title = "XOR"\ndata = "{spec}"\nseed = 3\n') as writer:
        writer.record_fact("objective", {"name": "val_accuracy", "direction": "max"})
        writer.record_fact("data", dataset.facts())
        writer.record_array("sample", dataset.scaling.invert(dataset.test.x[:64]))
        writer.add_configurations(0, {0: {"rate": 0.1}})
        writer.start_trials([(0, 0, 0, "alone")])
        writer.record_epoch(1, {0: {"val_accuracy": 0.9}}, 0.1)
        writer.finish_trial(0, TrialResult(status="completed", score=0.9))
    shake(model).save(directory / "best.keras")
    return directory, dataset, model


def test_reduced_precision_is_measured_on_the_runs_test_rows(xor):
    directory, dataset, model = xor
    result = call(directory, "--target", "onnx-fp16")
    assert result.exit_code == 0, result.output
    report = json.loads((directory / "export" / "report.json").read_text())
    change = report["exports"][0]["change"]
    answers = keras.ops.convert_to_numpy(model(dataset.test.x)).argmax(-1)
    assert (change["metric"], change["rows"]) == ("accuracy", len(dataset.test))
    assert change["before"] == pytest.approx((answers == dataset.test.y).mean())
    assert change["low"] <= change["drop"] <= change["high"]


def test_eight_bits_are_fitted_to_the_runs_training_rows(xor, tmp_path):
    target = tmp_path / "loose.toml"
    target.write_text('format = "onnx"\nprecision = "int8"\n[limit]\nmetric_drop = 1.0\nchanged_classes = 1.0\n')
    target.write_text(target.read_text() + "[tolerance]\nabsolute = 1.0\n")
    export = export_run(xor[0], str(target))
    assert export.path == xor[0] / "best.onnx"
    assert export.warnings[0] == f"static, calibrated on {min(256, len(xor[1].train))} training rows"


def test_data_that_have_changed_are_refused(xor):
    directory, dataset, _ = xor
    with RunWriter(directory, (directory / "study.toml").read_text()) as writer:
        writer.record_fact("data", {**dataset.facts(), "fingerprint": "00"})
    result = call(directory, "--target", "onnx-fp16")
    assert result.exit_code == 2
    assert "not those of the run any more (another fingerprint)" in result.stderr
    assert call(directory).exit_code == 0


def test_benchmarks_are_dispatched(small, tmp_path, monkeypatch):
    import types

    from kerasdl.export import __main__ as module

    seen = []
    command = types.ModuleType("kerasdl.export.benchmark.command")
    command.main = seen.append
    monkeypatch.setitem(sys.modules, "kerasdl.export.benchmark", types.ModuleType("kerasdl.export.benchmark"))
    monkeypatch.setitem(sys.modules, "kerasdl.export.benchmark.command", command)
    monkeypatch.setattr(sys, "argv", ["export", "benchmark", "a.onnx", "--seconds", "1"])
    module.main()
    small.save(tmp_path / "small.keras")
    assert call(tmp_path / "small.keras", "--benchmark").exit_code == 0
    assert seen == [["a.onnx", "--seconds", "1"], [str(tmp_path / "small-export")]]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("missing", [], "no such run or model"),
        ("old.h5", [], "the old h5 format is not read"),
        ("model.txt", [], "not a .keras file"),
        ("broken.keras", [], "not a readable archive"),
        ("broken.keras", ["--target", "onxx"], "did you mean 'onnx'"),
        ("broken.keras", ["--target", "onnx", "--target", "onnx-fp61"], "did you mean 'onnx-fp16'"),
        ("broken.keras", ["--backend", "tensorflw"], "'tensorflw'"),
        ("broken.keras", ["--trial", "3"], "--trial is for a run"),
        ("broken.keras", ["--rows", "missing.npy"], "--rows missing.npy: not readable"),
        ("broken.keras", ["--out", "no/such/out"], "there is no folder"),
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
