"""Whole searches on small studies: what is recorded is what was asked for, whatever happens on the way."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import Result

from kerasdl import data
from kerasdl.errors import BusyError, UserError
from kerasdl.runs import Run, RunWriter
from kerasdl.tune import Study

pytestmark = pytest.mark.usefixtures("backend_name")

Tune = Callable[..., Result]
Write = Callable[[str, str], Path]
Make = Callable[..., Study]

STUDY = """
    title = "Depth and rate"
    data = "xor?rows=200"
    model = "mlp"
    repeats = 2
    epochs = 3
    batch_size = 32
    [fixed]
    width = 8
    [space]
    depth = [0, 2]
    learning_rate = [0.1, 0.01]
"""


def run_of(study: Study, directory: str | Path = "run", **options: Any) -> Run:
    return study.run(directory, progress=False, export=False, **options)


def losses(run: Run) -> pd.DataFrame:
    """The curves, one row a trial, sorted by what the trials are."""
    curves = run.curves().pivot(index=["configuration", "seed"], columns="epoch", values="val_loss")
    return curves.sort_index()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run of `STUDY`, for reading; `own.toml` lies beside it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "own.toml").write_text(textwrap.dedent(STUDY))
    run_of(Study.load(folder / "own.toml"), folder / "run").close()
    return folder / "run"


@pytest.fixture
def study_of_finished(finished: Path) -> Study:
    return Study.load(finished.parent / "own.toml")


@pytest.fixture
def copy(finished: Path, folder: Path) -> Path:
    """A finished run that may be changed."""
    return Path(shutil.copytree(finished, folder / "copy"))


def test_a_study_becomes_a_run(finished: Path, backend_name: str) -> None:
    with Run.open(finished) as run:
        assert run.finished
        assert run.planned == 8
        assert run.varying == ["depth", "learning_rate"]
        assert run.environment["backend"] == backend_name
        assert run.data["name"] == "xor?rows=200"
        trials = run.trials()
        assert trials["trial"].tolist() == list(range(8))
        assert trials[["configuration", "seed"]].to_numpy().tolist() == [[c, s] for c in range(4) for s in range(2)]
        assert (trials["status"] == "completed").all()
        assert (trials["epochs_done"] == 3).all()
        assert trials["score"].tolist() == trials["val_accuracy"].tolist()
        assert trials["parameters"].tolist() == [3] * 4 + [8 * 2 + 8 + 8 * 8 + 8 + 9] * 4
        assert trials["how"].str.contains(backend_name).all()
        assert {"test_accuracy", "test_loss", "loss", "accuracy", "val_loss"} <= set(trials.columns)
        assert len(run.curves()) == 24
        assert run.seconds > 0
        assert run.sample.shape == (64, 2)
        assert run.confusion(0).sum() == 2 * 500
        assert set(run.events()["kind"]) >= {"start", "end"}


def test_the_directory_holds_what_was_promised_and_no_more(finished: Path) -> None:
    names = {path.name for path in finished.iterdir() if not path.name.startswith("run.sqlite-")}
    promised = {"study.toml", "run.sqlite", "best.keras", "summary.json", "report.html", "figures"}
    assert names - {"run.lock"} == promised
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["trials"], summary["completed"], summary["onnx"]) == (8, 8, None)
    assert len((finished / "report.html").read_text()) > 10_000


def test_the_best_model_is_the_one_that_scored(finished: Path, study_of_finished: Study) -> None:
    with Run.open(finished) as run:
        best = run.best
        assert best is not None
        trial = run.trials().set_index("trial").loc[best.trial]
        model = best.load()
    dataset = study_of_finished.load_data()
    for split, name in ((dataset.validation, "val_accuracy"), (dataset.test, "test_accuracy")):
        predicted = np.asarray(model.predict(split.x, verbose=0))[:, 0] > 0.5
        assert (predicted == split.y).mean() == pytest.approx(trial[name], abs=1e-6)


def test_a_finished_run_reports_at_once(copy: Path, study_of_finished: Study) -> None:
    before = {
        path.name: path.stat().st_mtime_ns for path in copy.iterdir() if path.suffix in (".keras", ".html", ".json")
    }
    started = time.perf_counter()
    with run_of(study_of_finished, copy) as again:
        assert time.perf_counter() - started < 1
        assert len(again.trials()) == 8
    assert before == {name: (copy / name).stat().st_mtime_ns for name in before}


def test_what_got_lost_of_a_finished_run_is_made_again(copy: Path, study_of_finished: Study) -> None:
    for name in ("report.html", "summary.json"):
        (copy / name).unlink()
    with run_of(study_of_finished, copy) as run:
        assert len(run.trials()) == 8
        assert (copy / "report.html").is_file()
        assert (copy / "summary.json").is_file()


def test_another_study_in_its_place_is_refused_or_begins_anew(copy: Path, finished: Path) -> None:
    changed = Study.load(finished.parent / "own.toml", {"repeats": 1, "depth": 0, "learning_rate": 0.1})
    with pytest.raises(UserError, match="repeats was 2, now 1"):
        run_of(changed, copy)
    with run_of(changed, copy, fresh=True) as run:
        assert len(run.trials()) == 1
    (aside,) = copy.parent.glob("copy.*")
    with Run.open(aside) as old:
        assert len(old.trials()) == 8


def test_a_run_that_another_process_writes_is_refused(copy: Path, study_of_finished: Study) -> None:
    (copy / "summary.json").unlink()
    with RunWriter(copy, (copy / "study.toml").read_text()), pytest.raises(BusyError):
        run_of(study_of_finished, copy)


def test_json_prints_the_summary_alone(tune: Tune, copy: Path, finished: Path) -> None:
    for start in (lambda: None, (copy / "report.html").unlink):
        start()
        result = tune(str(finished.parent / "own.toml"), "--out", str(copy), "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout) == json.loads((copy / "summary.json").read_text())
        assert result.stderr == ""


def test_the_command_shows_the_table_and_where_everything_is(tune: Tune, copy: Path, finished: Path) -> None:
    result = tune(str(finished.parent / "own.toml"), "--out", str(copy))
    assert result.exit_code == 0, result.output
    for word in ("Depth and rate", "learning_rate", "95 % interval", "report.html", "best.keras", "summary.json"):
        assert word in result.stdout


def test_a_run_without_a_directory_lies_under_runs(folder: Path, study: Make) -> None:
    with study(name="small", space={}, epochs=1).run(progress=False, export=False) as run:
        assert run.path == Path("runs/small")
        assert len(run.trials()) == 1


def rows_of_epochs(directory: Path) -> int:
    try:
        with sqlite3.connect(f"file:{directory / 'run.sqlite'}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM epoch").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def test_a_run_killed_at_any_moment_ends_as_if_undisturbed(write: Write, folder: Path) -> None:
    text = STUDY.replace("epochs = 3", "epochs = 40").replace("rows=200", "rows=2000")
    path = write("own.toml", text)
    with run_of(Study.load(path), "undisturbed") as undisturbed:
        expected, curves, table = undisturbed.trials(), losses(undisturbed), undisturbed.table()
    command = [sys.executable, "-m", "kerasdl.tune", str(path), "--out", "killed", "--no-export"]
    chance = random.Random(7)
    kills = 0
    for _ in range(3):
        before = rows_of_epochs(folder / "killed")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and rows_of_epochs(folder / "killed") in (0, before):
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.15))
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills >= 1
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    with Run.open("killed") as run:
        trials = run.trials()
        assert trials[["trial", "configuration", "seed", "status"]].equals(
            expected[["trial", "configuration", "seed", "status"]]
        )
        assert trials["score"].to_numpy() == pytest.approx(expected["score"].to_numpy(), abs=1e-5)
        assert trials["test_loss"].to_numpy() == pytest.approx(expected["test_loss"].to_numpy(), abs=1e-5)
        assert losses(run).to_numpy() == pytest.approx(curves.to_numpy(), abs=1e-5)
        assert run.table()["configuration"].tolist() == table["configuration"].tolist()
        assert run.best is not None
        assert run.best.path.is_file()
        assert run.finished


def test_an_interrupted_run_says_how_to_go_on(write: Write, folder: Path) -> None:
    text = STUDY.replace("epochs = 3", "epochs = 2000").replace("rows=200", "rows=2000")
    command = [sys.executable, "-m", "kerasdl.tune", str(write("own.toml", text)), "--out", "run", "--no-export"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not rows_of_epochs(folder / "run"):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert errors.splitlines() == ["interrupted; run the same command again to go on"]
    with Run.open("run") as run:
        assert not run.finished
        assert len(run.curves())


def test_what_diverges_is_a_result_and_the_search_goes_on(study: Make, folder: Path) -> None:
    rates = [0.1, 1e30, 2e30, 3e30, 4e30, 5e30]
    made = study(optimizer="sgd", space={"learning_rate": rates}, fixed={"width": 4}, repeats=2, epochs=4)
    with run_of(made) as run:
        table = run.table()
        assert table["learning_rate"].iloc[0] == 0.1
        assert table["diverged"].tolist() == [0, 2, 2, 2, 2, 2]
        trials = run.trials()
        diverged = trials[trials["status"] == "diverged"]
        assert len(diverged) == 10
        assert diverged["score"].isna().all()
        assert diverged["message"].str.contains("was not finite in epoch").all()
        assert run.finished
        assert run.summary()["diverged"] == 10


def test_a_search_in_which_everything_diverges_comes_to_its_end(study: Make, folder: Path) -> None:
    made = study(optimizer="sgd", space={"learning_rate": [1e30, 2e30]}, repeats=2)
    for _ in range(2):
        with run_of(made) as run:
            assert run.best is None
            assert run.finished
            assert run.summary()["best"] is None
            assert run.summary()["diverged"] == 4
            assert (run.path / "report.html").is_file()
            assert not (run.path / "best.keras").exists()


BUILDERS = """
    import keras

    def build(input_shape, classes, units=4):
        if units == 3:
            raise RuntimeError("three is no number of units\\nand more")
        return keras.Sequential([
            keras.Input(input_shape), keras.layers.Dense(units, "relu"), keras.layers.Dense(1, "sigmoid"),
        ])

    def search(hp, input_shape, classes):
        model = keras.Sequential([keras.Input(input_shape)])
        for number in range(hp.Int("layers", 1, 2)):
            model.add(keras.layers.Dense(hp.Choice("units", [2, 4]), "relu"))
        model.add(keras.layers.Dense(1, "sigmoid"))
        return model

    def compiled(input_shape, classes, rate=0.1):
        model = build(input_shape, classes)
        metrics = ["accuracy", keras.metrics.AUC(name="auc")]
        model.compile(keras.optimizers.SGD(rate), "binary_crossentropy", metrics=metrics)
        return model

    def any_setting(input_shape, classes, **settings):
        return build(input_shape, classes, settings["neurons"])
"""


@pytest.fixture
def mine(write: Write) -> Path:
    return write("mine.py", BUILDERS)


def test_a_builder_that_raises_for_one_configuration(study: Make, mine: Path) -> None:
    with run_of(study(model="mine.py:build", space={"units": [2, 3, 4]}, repeats=2)) as run:
        trials = run.trials()
        failed = trials[trials["units"] == 3]
        assert failed["status"].tolist() == ["failed", "failed"]
        assert (failed["message"] == "RuntimeError: three is no number of units").all()
        assert (trials[trials["units"] != 3]["status"] == "completed").all()
        assert run.table()["units"].iloc[2] == 3
        assert run.summary()["failed"] == 2


def test_a_builder_that_declares_its_own_space(study: Make, mine: Path) -> None:
    with run_of(study(model="mine.py:search", space={"learning_rate": [0.1, 0.01]})) as run:
        assert sorted(run.varying) == ["layers", "learning_rate", "units"]
        settings = run.configurations().values()
        found = {(one["layers"], one["units"], one["learning_rate"]) for one in settings}
        assert found == {(layers, units, rate) for layers in (1, 2) for units in (2, 4) for rate in (0.1, 0.01)}
        assert (run.trials()["status"] == "completed").all()
        by_layers = run.trials().groupby(["layers", "units"])["parameters"].unique()
        assert by_layers.loc[(1, 2)].tolist() == [2 * 2 + 2 + 2 + 1]
        assert by_layers.loc[(2, 4)].tolist() == [2 * 4 + 4 + 4 * 4 + 4 + 4 + 1]
        assert run.best is not None
        run.best.load()


def test_a_model_that_compiles_itself(study: Make, mine: Path) -> None:
    made = study(model="mine.py:compiled", space={"rate": [0.1, 1.0]}, objective="val_auc", repeats=2)
    with run_of(made) as run:
        assert run.objective == ("val_auc", "max")
        trials = run.trials()
        assert (trials["status"] == "completed").all()
        assert trials["score"].tolist() == trials["val_auc"].tolist()
        assert "test_auc" in trials.columns
        assert trials["loss"].nunique() == 4


def test_a_builder_that_takes_any_setting(study: Make, mine: Path) -> None:
    with run_of(study(model="mine.py:any_setting", space={"neurons": [2, 4]}, epochs=1)) as run:
        assert run.trials()["parameters"].tolist() == [2 * 2 + 2 + 3, 2 * 4 + 4 + 5]


def test_a_function_and_a_data_set_from_python(folder: Path) -> None:
    import keras

    def build(input_shape: tuple[int, ...], classes: int, units: int = 4, sizes: tuple[int, ...] = (1, 2)) -> Any:
        assert sizes == (1, 2)
        return keras.Sequential(
            [
                keras.Input(input_shape),
                keras.layers.Flatten(),
                keras.layers.Dense(units, "relu"),
                keras.layers.Dense(classes, "softmax"),
            ]
        )

    dataset = data.load("digits?rows=200")
    for _ in range(2):
        study = Study(model=build, data=dataset, space={"units": np.array([4, 8]).tolist()}, epochs=2)
        with run_of(study) as run:
            assert run.trials()["parameters"].tolist() == [64 * 4 + 4 + 50, 64 * 8 + 8 + 90]
            assert run.data["fingerprint"] == dataset.fingerprint
            assert run.confusion(0).shape == (10, 10)


def test_lists_as_values(study: Make, folder: Path) -> None:
    with run_of(study(space={"width": [[8, 4], [4], 6]}, epochs=1)) as run:
        assert [settings["width"] for settings in run.configurations().values()] == [[8, 4], [4], 6]
        counts = run.trials().set_index("configuration")["parameters"].to_dict()
        assert counts == {0: 24 + 36 + 5, 1: 12 + 5, 2: 18 + 42 + 7}
        assert len(run.table()) == 3
    with run_of(study(space={"width": [[8, 4], [4], 6]}, epochs=1)) as run:
        assert len(run.trials()) == 3


def test_settings_that_count_for_some_only(study: Make, folder: Path) -> None:
    space = {"optimizer": ["sgd", "adam"], "momentum": {"values": [0.0, 0.9], "when": {"optimizer": "sgd"}}}
    with run_of(study(space=space, epochs=1)) as run:
        settings = [(one["optimizer"], one.get("momentum")) for one in run.configurations().values()]
        assert settings == [("sgd", 0.0), ("sgd", 0.9), ("adam", None)]
        assert (run.trials()["status"] == "completed").all()


def test_early_stopping_ends_a_trial_with_its_best_epoch(study: Make, folder: Path) -> None:
    made = study(
        space={"learning_rate": [0.5, 1e-6]},
        epochs=30,
        early_stopping={"monitor": "val_loss", "patience": 3},
        fixed={"width": 16},
        objective="val_loss",
    )
    with run_of(made) as run:
        trials = run.trials().set_index("learning_rate")
        fast = trials.loc[0.5]
        assert fast["epochs_done"] < 30
        curve = run.curves().query("trial == @fast.trial")["val_loss"]
        assert len(curve) == fast["epochs_done"]
        assert fast["score"] == curve.min()
        assert curve.argmin() == len(curve) - 4
        assert trials.loc[1e-6, "epochs_done"] == 30


def test_trials_that_share_their_epochs_are_as_if_trained_apart(study: Make, folder: Path) -> None:
    space = {"epochs": [2, 4], "learning_rate": [0.1, 0.01]}
    keys = {"data": "xor?rows=200", "repeats": 2, "fixed": {"width": 8}}
    made = Study(model="mlp", batch_size=32, space=space, **keys)
    with run_of(made, "together") as run:
        trials = run.trials()
        assert (trials["epochs_done"] == trials["epochs"]).all()
        assert trials["how"].str.contains("share their epochs").all()
        for epochs in (2, 4):
            alone = study(**{**keys, "batch_size": 32, "epochs": epochs, "space": {"learning_rate": [0.1, 0.01]}})
            with run_of(alone, f"alone-{epochs}") as apart:
                own = trials[trials["epochs"] == epochs].sort_values(["learning_rate", "seed"])
                other = apart.trials().sort_values(["learning_rate", "seed"])
                for name in ("loss", "val_loss", "test_loss", "score"):
                    assert own[name].to_numpy() == pytest.approx(other[name].to_numpy(), abs=1e-5), name


@pytest.mark.parametrize("search", ["random", "hyperband"])
def test_searches_that_draw_their_configurations_go_on_where_they_stopped(
    study: Make, folder: Path, search: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = {"learning_rate": {"low": 1e-3, "high": 1e-1, "sampling": "log"}, "depth": [0, 1]}
    keys: dict[str, Any] = {"search": search, "space": space, "epochs": 4, "fixed": {"width": 4}, "data": "xor?rows=30"}
    made = study(**keys, trials=3 if search == "random" else None)
    with run_of(made, "whole") as run:
        expected = run.trials()
        assert run.finished
    calls = 0
    finish = RunWriter.finish_trial

    def interrupted(self: RunWriter, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        finish(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(RunWriter, "finish_trial", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_of(made, "resumed")
    with run_of(made, "resumed") as run:
        again = run.trials()
        columns = ["trial", "configuration", "seed", "learning_rate", "depth", "epochs", "status"]
        pd.testing.assert_frame_equal(again[columns], expected[columns])
        assert again["score"].to_numpy() == pytest.approx(expected["score"].to_numpy(), abs=1e-5)
        assert set(run.varying) >= {"learning_rate"}
        if search == "hyperband":
            assert "epochs" in run.varying


def test_a_full_disk_ends_a_search_in_one_line_and_room_lets_it_go_on(
    study: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = study(space={"depth": [0, 1]}, repeats=2)
    record = RunWriter.record_epoch

    def full(self: RunWriter, *arguments: Any) -> None:
        pages = self._connection.execute("PRAGMA page_count").fetchone()[0]
        self._connection.execute(f"PRAGMA max_page_count = {pages}")
        for _ in range(200):
            record(self, *arguments)
            self.record_event("filling", "x" * 2000)

    with monkeypatch.context() as patched:
        patched.setattr(RunWriter, "record_epoch", full)
        with pytest.raises(UserError, match=r"run.sqlite: database or disk is full; free space"):
            run_of(made)
    with Run.open("run") as run:
        assert not run.finished
        assert (run.trials()["status"] != "failed").all()
    with run_of(made) as run:
        assert (run.trials()["status"] == "completed").all()
        assert len(run.trials()) == 4
