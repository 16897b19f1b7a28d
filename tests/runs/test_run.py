import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kerasdl.errors import UserError
from kerasdl.runs import Run, RunWriter, TrialResult
from kerasdl.runs.database import SCHEMA_VERSION
from kerasdl.runs.summary import write_summary

Open = Callable[..., Run]


def test_importing_runs_imports_no_keras_and_no_backend() -> None:
    heavy = "keras torch tensorflow jax pandas scipy matplotlib"
    code = f"import sys, kerasdl.runs; print([name for name in {heavy.split()} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_the_best_is_the_repeat_with_the_best_score_of_the_best_mean(run_of: Open) -> None:
    run = run_of([[0.9, 0.1, 0.2], [0.6, 0.8, 0.7]])
    best = run.best
    assert best is not None
    assert (best.configuration, best.trial) == (1, 4)
    assert best.settings == {"depth": 2, "epochs": 2}
    assert best.scores["mean"] == pytest.approx(0.7)
    assert best.scores["std"] == pytest.approx(0.1)
    assert best.scores["test"] == {"accuracy": pytest.approx(0.35), "loss": pytest.approx(0.3)}
    with pytest.raises(FileNotFoundError, match="run the study again to go on"):
        best.load()


def test_the_best_of_an_objective_that_is_better_low(run_of: Open) -> None:
    best = run_of([[0.9, 0.1, 0.2], [0.6, 0.8, 0.7]], "min").best
    assert best is not None
    assert (best.configuration, best.trial) == (0, 1)


@pytest.mark.parametrize("ends", [[], [["diverged", "failed"]]])
def test_without_a_completed_trial_there_is_no_best(run_of: Open, ends: list[list[str]]) -> None:
    run = run_of(ends)
    assert run.best is None
    assert run.summary()["best"] is None
    assert len(run.table()) == len(ends)


def test_the_winner_never_diverged_if_another_never_did(run_of: Open) -> None:
    best = run_of([[0.99, "diverged", 0.99], [0.5, 0.6, 0.7]]).best
    assert best is not None
    assert best.configuration == 1


@pytest.mark.parametrize("direction", ["max", "min"])
def test_the_standing_is_the_table_without_settings(run_of: Open, direction: str) -> None:
    run = run_of([[0.5, 0.7], ["diverged", 0.9], ["failed", "failed"], [0.6, 0.7]], direction)
    table, standing = run.table(), run.standing()
    assert [*standing.columns] == [
        name for name in table.columns if name not in run.varying and not name.startswith("test_")
    ]
    pd.testing.assert_frame_equal(standing, table[standing.columns])
    scores = run.scores()
    pd.testing.assert_frame_equal(scores, run.trials()[scores.columns])


def test_the_summary_has_exactly_the_promised_keys(run_of: Open) -> None:
    run = run_of([[0.5, 0.7], ["diverged", 0.9], ["failed", "failed"]])
    summary = write_summary(run)
    assert json.loads((run.path / "summary.json").read_text()) == summary
    assert list(summary) == [
        *("study", "backend", "configurations", "trials", "completed", "diverged", "failed"),
        *("seconds", "objective", "best", "onnx", "sharing", "ways"),
    ]
    assert summary["study"] == "depths"
    assert summary["backend"] == "jax"
    assert [summary[key] for key in ("configurations", "trials", "completed", "diverged", "failed")] == [3, 6, 3, 1, 2]
    assert summary["objective"] == "val_accuracy"
    assert list(summary["best"]) == ["settings", "mean", "std", "repeats", "test"]
    assert summary["best"]["mean"] == pytest.approx(0.6)
    assert summary["best"]["repeats"] == 2
    assert summary["onnx"] is None


def test_the_summary_tells_of_the_export(directory: Path, run_of: Open) -> None:
    run_of([[0.5]]).close()
    study = (directory / "study.toml").read_text()
    with RunWriter(directory, study) as writer:
        export = {"path": "best.onnx", "max_abs_diff": 1e-7, "providers": ["CPUExecutionProvider"], "other": 1}
        writer.record_fact("export", export)
    with Run.open(directory) as run:
        assert list(run.summary()["onnx"]) == ["path", "max_abs_diff", "providers"]
        assert Path(run.summary()["onnx"]["path"]).name == "best.onnx"


def test_one_repeat_has_no_spread_in_the_summary(run_of: Open) -> None:
    summary = run_of([[0.5]]).summary()
    assert summary["best"]["std"] is None
    assert summary["best"]["mean"] == 0.5


def test_varying_settings_follow_what_is_added(writer: RunWriter) -> None:
    with Run.open(writer.directory) as run:
        writer.add_configurations(0, {0: {"depth": 1, "epochs": 2}})
        assert run.varying == []
        writer.add_configurations(1, {1: {"depth": 2, "epochs": 2}})
        assert run.varying == ["depth"]
        writer.add_configurations(2, {2: {"depth": 2, "epochs": 4, "momentum": 0.9}})
        assert run.varying == ["depth", "epochs", "momentum"]


def test_settings_keep_their_columns_whatever_metrics_are_called(writer: RunWriter) -> None:
    writer.record_fact("objective", {"name": "val_loss", "direction": "min"})
    writer.add_configurations(0, {0: {"loss": "huber", "seed": 99}})
    writer.start_trials([(0, 0, 3, "alone")])
    writer.record_epoch(1, {0: {"loss": 0.25}}, 0.1)
    with Run.open(writer.directory) as run:
        (trial,) = run.trials().to_dict("records")
        assert (trial["loss"], trial["seed"]) == ("huber", 3)
        assert run.curves()["loss"].tolist() == [0.25]


def test_an_empty_run_has_empty_tables(writer: RunWriter) -> None:
    writer.record_fact("objective", {"name": "val_loss", "direction": "min"})
    with Run.open(writer.directory) as run:
        assert run.trials().empty
        assert run.curves().empty
        assert run.table().empty
        assert run.standing().empty
        assert run.scores().empty
        assert run.events().empty
        assert {"trial", "status", "score", "epochs_done"} <= set(run.trials().columns)


def test_reading_writes_nothing(directory: Path, run_of: Open) -> None:
    run_of([[0.5]]).close()
    before = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    with Run.open(directory) as run:
        run.table()
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            run._connection.execute("DELETE FROM trial")
    after = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    assert after == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no run here"),
        (b"", "is not a run's database"),
        (b"this is a text file, longer than a database's first sixteen bytes" * 100, "it is not a run's database"),
    ],
)
def test_what_is_no_run_says_so(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "run.sqlite").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        Run.open(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_run_of_another_version_says_so(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "run.sqlite")
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(UserError, match=rf"another version of kerasdl \(schema 9, not {SCHEMA_VERSION}\)"):
        Run.open(tmp_path)


def test_a_damaged_database_says_so(directory: Path, run_of: Open) -> None:
    run_of([[0.5] * 40, [0.6] * 40]).close()
    path = directory / "run.sqlite"
    content = bytearray(path.read_bytes())
    content[4096:] = np.random.default_rng(0).bytes(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"run.sqlite: .* (damaged|not a run's database)"), Run.open(directory) as run:
        run.table()


def test_the_summary_tells_what_trials_shared(directory: Path) -> None:
    with RunWriter(directory, 'name = "stages"\n') as writer:
        writer.record_fact("objective", {"name": "loss", "direction": "min"})
        writer.add_configurations(0, {0: {"epochs": 1}, 1: {"epochs": 2}})
        writer.start_trials([(0, 0, 0, "pack"), (1, 1, 0, "pack")])
        writer.record_programs([[{0: 1, 1: 2}]])
        for epoch, trials in ((1, (0, 1)), (2, (1,))):
            writer.record_epoch(epoch, {trial: {"loss": 1.0} for trial in trials}, 0.1)
        for trial in (0, 1):
            writer.finish_trial(trial, TrialResult("completed", 1.0, seconds=0.25))
    with Run.open(directory) as run:
        summary = run.summary()
    shared = {"programs": 1, "epochs_asked": 3, "epochs_done": 3, "epochs_trained": 2, "passes": 2}
    assert summary["sharing"] == shared
    assert summary["ways"] == [{"how": "pack", "trials": 2, "seconds": 0.5, "sharing": shared}]
