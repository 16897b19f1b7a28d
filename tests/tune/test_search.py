"""Whole searches on small studies: what is recorded is what was asked for, whatever happens on the way."""

import json
import shutil
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

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


@pytest.mark.parametrize("setting", ["batch_size", "width"])
def test_where_seconds_are_compared_nothing_else_runs_in_a_programs_first_epochs(
    setting: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere the next program is made before the first has trained."""
    from kerasdl.train.pack import PackTrainer
    from kerasdl.tune import search

    happened: list[str] = []

    class Noting(PackTrainer):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            happened.append(f"made, thorough {options['thorough']}")
            super().__init__(*arguments, **options)

        def tell(self) -> None:
            super().tell()
            happened.append(str(self.trained))

    monkeypatch.setattr(search, "PackTrainer", Noting)
    with run_of(Study(data="xor?rows=60", model="mlp", space={setting: [8, 16]}, epochs=6)) as run:
        assert run.finished
    compared = setting == "batch_size"
    made = f"made, thorough {compared}"
    if compared:
        assert happened == [made, *"1234", made, *"56", *"123456"]
    else:
        assert happened[:2] == [made, made]
        assert sorted(happened) == sorted([made, *"123456"] * 2)
