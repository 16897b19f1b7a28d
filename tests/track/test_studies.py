"""Trackers hold what the run holds, read with their own readers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasdl.runs import Run, RunWriter
from kerasdl.track.finding import study_tracker
from kerasdl.tune import Study

pytestmark = [
    pytest.mark.usefixtures("backend_name", "folder"),
    # MLflow's of its database.
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:(mlflow|sqlalchemy|alembic)"),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
]

Make = Callable[..., Study]
Read = Callable[[str, Path], Mapping[str, Any]]
DIRECTORY = Path("run")


def run_of(study: Study, *trackers: str, **keys: Any) -> Run:
    return study.run(DIRECTORY, progress=False, export=False, track=trackers or None, **keys)


def name_of(trial: int) -> str:
    return f"trial-{trial:04d}"


def assert_same(runs: Mapping[str, Any], run: Run) -> None:
    """Every metric of every epoch of every trial is there exactly once, with its settings and its end."""
    curves, trials = run.curves(), run.trials()
    tests = [name for name in trials.columns if name.startswith("test_")]
    for trial in trials.to_dict("records"):
        own = runs[name_of(trial["trial"])]
        assert own.settings.keys() >= {*run.varying, "seed"}
        assert {name: float(own.settings[name]) for name in [*run.varying, "seed"]} == {
            name: trial[name] for name in [*run.varying, "seed"]
        }
        of_trial = curves[curves["trial"] == trial["trial"]]
        metrics = [name for name in ("loss", "val_loss", "accuracy", "val_accuracy") if of_trial[name].notna().any()]
        assert "loss" in metrics
        for metric in metrics:
            steps, values = zip(*own.curves[metric], strict=True)
            assert list(steps) == of_trial["epoch"].tolist()
            assert values == pytest.approx(of_trial[metric].tolist(), rel=1e-4, abs=1e-5, nan_ok=True)
        if trial["status"] == "completed":
            assert own.curves["score"][-1][1] == pytest.approx(trial["score"], rel=1e-5)
            for name in tests:
                assert own.curves[name][-1][1] == pytest.approx(trial[name], rel=1e-5)


def interrupt_after(epochs: int, monkeypatch: pytest.MonkeyPatch, study: Study, *trackers: str) -> None:
    """Runs a study until so many epochs of programs were written, as Ctrl-C would end it."""
    record, calls = RunWriter.record_epoch, 0

    def counted(self: RunWriter, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > epochs:
            raise KeyboardInterrupt
        record(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(RunWriter, "record_epoch", counted)
        with pytest.raises(KeyboardInterrupt):
            run_of(study, *trackers, checkpoint=0.0)


def test_each_tracker_holds_what_the_run_holds_and_the_best(study: Make, trackers: list[str], written: Read) -> None:
    space = {"learning_rate": [0.01, 0.1]}
    with run_of(study(space=space, repeats=2), *trackers) as run:
        assert run.trials()["how"].str.startswith("pack of").all()
        best, name = run.best, f"run-{run.tracked_as}"
        assert best is not None
        for tracker in trackers:
            runs = written(tracker, DIRECTORY)
            assert_same(runs, run)
            assert len([one for one in runs if one.startswith("trial-")]) == len(run.trials()) == 4
            if tracker == "tensorboard":
                text = best_of_tensorboard()
                assert f"| score | {best.scores['mean']} |" in text
                assert f"| learning_rate | {best.settings['learning_rate']} |" in text
            else:
                own = runs["best" if tracker == "wandb" else name]
                assert own.settings["learning_rate"] == str(best.settings["learning_rate"])
                assert own.curves["score"][-1][1] == pytest.approx(best.scores["mean"])
                assert own.status == "completed"
    # Trackers are no part of what a run is: the same run is finished, whoever follows it.
    with run_of(study(space=space, repeats=2, track=trackers[:1])) as run:
        assert f"run-{run.tracked_as}" == name


def best_of_tensorboard() -> str:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(DIRECTORY / "tensorboard")).Reload()
    return str(accumulator.Tensors("best")[0].tensor_proto.string_val[0].decode())


def test_trials_that_fit_trains_are_tracked_alike(
    study: Make, trackers: list[str], written: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, calls = RunWriter.finish_trial, 0

    def failing_once(self: RunWriter, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("as one program it is too much")
        finish(self, *arguments)

    # The program has told of all epochs, and `fit` trains them again.
    monkeypatch.setattr(RunWriter, "finish_trial", failing_once)
    with run_of(study(space={"learning_rate": [0.01, 0.1]}, epochs=2), *trackers) as run:
        assert run.trials()["how"].str.startswith("alone, by Keras' fit").all()
        for tracker in trackers:
            assert_same(written(tracker, DIRECTORY), run)


def test_a_run_that_goes_on_writes_each_epoch_once(
    study: Make, trackers: list[str], written: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = study(space={"depth": [0, 1]}, repeats=2, epochs=4)
    earlier = [name for name in trackers if name != "mlflow"] if len(trackers) > 2 else trackers
    # The first program has ended, the second has trained two of its epochs.
    interrupt_after(6, monkeypatch, made, *earlier)
    with Run.open(DIRECTORY) as run:
        before = run.trials()
    ended = [name_of(trial) for trial in before.loc[before["status"] == "completed", "trial"]]
    broken_off = [name_of(trial) for trial in before.loc[before["status"] == "running", "trial"]]
    assert ended
    assert broken_off
    with run_of(made, *trackers) as run:
        for tracker in earlier:
            runs = written(tracker, DIRECTORY)
            assert_same(runs, run)
            assert {runs[name].sittings for name in ended} == {1}
            if tracker != "mlflow":
                assert {runs[name].sittings for name in broken_off} == {2}
    # A tracker that comes later has what was not yet ended, whole.
    for tracker in set(trackers) - set(earlier):
        runs = written(tracker, DIRECTORY)
        assert {name for name in runs if name.startswith("trial-")} == set(broken_off)
        for name in broken_off:
            assert [step for step, _ in runs[name].curves["val_loss"]] == [1, 2, 3, 4]


def test_a_tracker_that_raises_is_switched_off_and_the_others_go_on(
    study: Make, written: Read, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("wandb")
    from kerasdl.track import TensorBoard

    log, calls = TensorBoard._log, 0

    def full(self: TensorBoard, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise OSError(28, "No space left on device")
        log(self, *arguments)

    monkeypatch.setattr(TensorBoard, "_log", full)
    with study(space={}, repeats=2).run(DIRECTORY, export=False, track=["tensorboard", "wandb"]) as run:
        assert run.finished
        assert set(run.trials()["status"]) == {"completed"}
        events = run.events().query("kind == 'tracker'")
        assert len(events) == 1
        message = events["message"].iloc[0]
        assert_same(written("wandb", DIRECTORY), run)
        first = run.tracked_as
    assert message == "TensorBoard is switched off, and training goes on: OSError: [Errno 28] No space left on device"
    assert capsys.readouterr().err.splitlines().count(message) == 1
    assert calls == 3
    # A fresh run in the same place is another one for trackers.
    with run_of(study(space={}, epochs=1), "wandb", fresh=True) as run:
        assert run.tracked_as != first
        assert written("wandb", DIRECTORY)[name_of(0)].sittings == 1


def test_trials_that_diverge_or_fail_are_written_with_their_end(
    study: Make, trackers: list[str], written: Read
) -> None:
    def build(input_shape: tuple[int, ...], classes: int, units: int = 2) -> Any:
        import keras

        if units == 3:
            raise ValueError("three is too many")
        hidden = [keras.layers.Dense(units) for _ in range(2)]
        return keras.Sequential([keras.Input(input_shape), *hidden, keras.layers.Dense(classes, activation="softmax")])

    space = {"units": [2, 3], "learning_rate": [0.01, 1e30]}
    with run_of(study(model=build, space=space, fixed={}, optimizer="sgd"), *trackers) as run:
        trials = run.trials()
        (spoilt,) = trials.loc[trials["status"] == "diverged", "trial"]
        broken = trials.loc[trials["status"] == "failed", "trial"].tolist()
        assert len(broken) == 2
        for tracker in trackers:
            runs = written(tracker, DIRECTORY)
            words = ("failure", "failure") if tracker == "tensorboard" else ("diverged", "failed")
            own = runs[name_of(spoilt)]
            assert (own.status, runs[name_of(broken[0])].status) == words
            assert not np.isfinite(own.curves["loss"][-1][1])
            assert "score" not in own.curves
            assert float(runs[name_of(broken[0])].settings["units"]) == 3


def test_mlflow_writes_into_the_run_where_no_place_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    tracker: Any = study_tracker("mlflow", Path("runs/own"), "own", "1234")
    assert tracker.uri == f"sqlite:///{folder / 'runs' / 'own' / 'mlflow' / 'mlflow.db'}"
    assert tracker.group == "own-1234"
