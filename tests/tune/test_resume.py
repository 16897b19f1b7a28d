"""Runs that end before their time go on where they stopped, and end as if nothing had happened."""

import errno
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kerasdl.errors import UserError
from kerasdl.runs import Run, RunWriter
from kerasdl.tune import Study

pytestmark = pytest.mark.usefixtures("backend_name")

Write = Callable[[str, str], Path]
Make = Callable[..., Study]

LONG = """
    data = "xor?rows=2000"
    model = "mlp"
    repeats = 2
    epochs = 40
    batch_size = 32
    [fixed]
    width = 8
    [space]
    depth = [0, 2]
    learning_rate = [0.1, 0.01]
"""


def run_of(study: Study, directory: str = "run") -> Run:
    return study.run(directory, progress=False, export=False)


def rows_of_epochs(directory: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{directory / 'run.sqlite'}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM epoch").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def losses(run: Run) -> pd.DataFrame:
    """The curves, one row a trial, sorted by what the trials are."""
    curves = run.curves().pivot(index=["configuration", "seed"], columns="epoch", values="val_loss")
    return curves.sort_index()


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_as_if_undisturbed(write: Write, folder: Path) -> None:
    path = write("own.toml", LONG)
    with run_of(Study.load(path), "undisturbed") as undisturbed:
        expected, curves, table = undisturbed.trials(), losses(undisturbed), undisturbed.table()
    command = [sys.executable, "-m", "kerasdl.tune", str(path), "--out", "killed", "--no-export", "--checkpoint", "0"]
    chance = random.Random(7)
    kills = 0
    for _ in range(2):
        before = rows_of_epochs(folder / "killed")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and rows_of_epochs(folder / "killed") in (0, before):
            time.sleep(0.005)
        while process.poll() is None and not list((folder / "killed" / "checkpoints").glob("*.npz")):
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.15))
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills >= 1
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert not (folder / "killed" / "checkpoints").exists()
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
    text = LONG.replace("epochs = 40", "epochs = 2000")
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


@pytest.mark.parametrize("search", ["random", pytest.param("hyperband", marks=pytest.mark.slow)])
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


def test_a_full_disk_while_the_winner_is_saved_says_so_and_room_lets_it_end(
    study: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    made = study(space={"depth": [0, 1]}, repeats=1)

    def full(self: keras.Model, path: Path, *arguments: Any, **more: Any) -> None:
        Path(path).write_bytes(b"part of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(keras.Model, "save", full)
        with pytest.raises(UserError, match=r"best.keras: No space left on device; free space or choose another"):
            run_of(made)
    assert not list(Path("run").glob("*best*"))
    with Run.open("run") as run:
        assert not run.finished
        assert (run.trials()["status"] == "completed").all()
    with run_of(made) as run:
        assert run.finished
        assert run.best is not None
        run.best.load()
