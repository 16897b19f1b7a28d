import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from kerasdl.errors import BusyError, UserError
from kerasdl.runs import Run, RunWriter, TrialResult
from kerasdl.runs.database import SCHEMA_VERSION
from kerasdl.runs.writer import load_weights, weights_path, write_atomically

STUDY = 'name = "depths"\nrepeats = 3\n\n[space]\ndepth = [1, 2]\n'


def one_trial(writer: RunWriter) -> None:
    writer.add_configurations(0, {0: {"depth": 1}})
    writer.start_trials([(0, 0, 0, "alone")])


def test_what_is_written_is_read(writer: RunWriter) -> None:
    writer.record_fact("data", {"name": "xor", "classes": ["a", "b", "c"]})
    writer.record_fact("objective", {"name": "val_loss", "direction": "min"})
    writer.record_fact("environment", {"backend": "jax"})
    writer.record_fact("planned", {"trials": 2})
    writer.record_fact("seconds", {"search": 3.5})
    writer.record_array("sample", np.arange(6, dtype="float32").reshape(2, 3))
    writer.record_event("start", "on a machine")
    writer.add_configurations(0, {0: {"depth": 1, "width": [8, 4]}, 1: {"depth": 2, "width": [8, 4]}})
    writer.start_trials([(0, 0, 5, "pack of 2"), (1, 1, 5, "pack of 2")])
    writer.record_epoch(1, {0: {"loss": 2.0, "val_loss": 3.0}, 1: {"loss": 4.0, "val_loss": 5.0}}, 0.25)
    writer.record_epoch(2, {0: {"loss": 1.0, "val_loss": 2.0}}, 0.5)
    matrix = np.array([[5, 0, 1], [0, 7, 0], [2, 0, 3]])
    writer.finish_trial(
        0,
        TrialResult("completed", 2.0, {"accuracy": 0.75}, parameters=9, seconds=0.75, message="fine", confusion=matrix),
    )
    with Run.open(writer.directory) as run:
        assert run.study == {"name": "depths", "repeats": 3, "space": {"depth": [1, 2]}}
        assert run.data == {"name": "xor", "classes": ["a", "b", "c"]}
        assert run.objective == ("val_loss", "min")
        assert (run.planned, run.seconds, run.finished) == (2, 3.5, False)
        assert run.sample.dtype == "float32"
        assert run.sample.tolist() == [[0, 1, 2], [3, 4, 5]]
        assert run.configurations() == {0: {"depth": 1, "width": [8, 4]}, 1: {"depth": 2, "width": [8, 4]}}
        assert run.rounds() == {0: [0, 1]}
        assert run.varying == ["depth"]
        assert run.confusion(0).tolist() == matrix.tolist()
        first, second = run.trials().to_dict("records")
        assert (first["trial"], first["configuration"], first["seed"], first["depth"]) == (0, 0, 5, 1)
        assert (first["status"], first["score"], first["epochs_done"]) == ("completed", 2.0, 2)
        assert (first["loss"], first["val_loss"], first["test_accuracy"]) == (1.0, 2.0, 0.75)
        assert (first["parameters"], first["seconds"], first["how"], first["message"]) == (9, 0.75, "pack of 2", "fine")
        assert (second["status"], second["epochs_done"], second["loss"]) == ("running", 1, 4.0)
        curves = run.curves()
        assert curves[["trial", "epoch"]].to_numpy().tolist() == [[0, 1], [0, 2], [1, 1]]
        assert curves["val_loss"].tolist() == [3.0, 2.0, 5.0]
        assert curves["seconds"].tolist() == [0.25, 0.5, 0.25]
        (event,) = run.events().to_dict("records")
        assert (event["kind"], event["message"]) == ("start", "on a machine")


def test_confusion_is_summed_over_repeats(writer: RunWriter) -> None:
    writer.record_fact("data", {"classes": ["a", "b"]})
    writer.add_configurations(0, {0: {}})
    for trial, matrix in enumerate(([[1, 2], [3, 4]], [[10, 0], [0, 40]])):
        writer.start_trials([(trial, 0, trial, "alone")])
        writer.finish_trial(trial, TrialResult("completed", 0.5, confusion=np.array(matrix)))
    with Run.open(writer.directory) as run:
        assert run.confusion(0).tolist() == [[11, 2], [3, 44]]


def test_every_epoch_is_committed_when_it_was_written(writer: RunWriter) -> None:
    one_trial(writer)
    with Run.open(writer.directory) as reader:
        for epoch in (1, 2, 3):
            writer.record_epoch(epoch, {0: {"loss": 1 / epoch}}, 0.1)
            assert reader.curves()["epoch"].tolist() == list(range(1, epoch + 1))


def test_the_database_is_in_wal_mode_with_foreign_keys_and_a_version(writer: RunWriter) -> None:
    connection = sqlite3.connect(writer.path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()
    with pytest.raises(sqlite3.IntegrityError):
        writer.start_trials([(0, 99, 0, "of a configuration that is not there")])


def test_starting_a_trial_again_forgets_the_interrupted_attempt(writer: RunWriter) -> None:
    one_trial(writer)
    writer.record_epoch(1, {0: {"loss": 1.0}}, 0.1)
    writer.record_epoch(2, {0: {"loss": 0.5}}, 0.1)
    writer.start_trials([(0, 0, 0, "alone again")])
    with Run.open(writer.directory) as run:
        assert run.curves().empty
        (trial,) = run.trials().to_dict("records")
        assert (trial["how"], trial["epochs_done"]) == ("alone again", 0)
        writer.record_epoch(1, {0: {"loss": 3.0}}, 0.1)
        assert run.curves()["loss"].tolist() == [3.0]


def test_a_configuration_has_each_seed_once(writer: RunWriter) -> None:
    one_trial(writer)
    with pytest.raises(sqlite3.IntegrityError):
        writer.start_trials([(1, 0, 0, "the same configuration and seed")])


def test_a_round_is_written_whole_or_not_at_all(writer: RunWriter) -> None:
    writer.add_configurations(0, {0: {"depth": 1}})
    with pytest.raises(sqlite3.IntegrityError):
        writer.add_configurations(1, {1: {"depth": 2}, 0: {"depth": 3}})
    with Run.open(writer.directory) as run:
        assert run.configurations() == {0: {"depth": 1}}
    writer.add_configurations(1, {1: {"depth": 2}})


def test_numbers_that_are_not_finite_become_null(writer: RunWriter) -> None:
    one_trial(writer)
    writer.record_fact("odd", {"nan": float("nan"), "list": [np.float32("inf"), 1]})
    writer.record_epoch(1, {0: {"loss": float("nan"), "val_loss": float("-inf"), "accuracy": np.float32(0.5)}}, 0.1)
    writer.finish_trial(0, TrialResult("diverged", float("inf"), {"loss": float("nan")}))
    connection = sqlite3.connect(writer.path)
    assert connection.execute("SELECT value FROM fact WHERE name = 'odd'").fetchone() == (
        '{"nan": null, "list": [null, 1]}',
    )
    metrics = connection.execute("SELECT metrics FROM epoch").fetchone()
    assert metrics == ('{"loss": null, "val_loss": null, "accuracy": 0.5}',)
    assert connection.execute("SELECT score, test FROM trial").fetchone() == (None, '{"loss": null}')
    connection.close()
    with Run.open(writer.directory) as run:
        assert np.isnan(run.curves()["loss"]).all()


def test_weights_are_read_in_their_order_and_only_kept_ones_stay(writer: RunWriter) -> None:
    writer.add_configurations(0, {0: {}})
    weights = [np.full((2, number + 1), number, dtype="float32") for number in range(12)]
    for trial in (0, 1, 2):
        writer.start_trials([(trial, 0, trial, "alone")])
        writer.finish_trial(trial, TrialResult("completed", 0.5, weights=[*weights, np.float32(trial)]))
    *read, last = load_weights(writer.directory, 2)
    assert all(np.array_equal(a, b) for a, b in zip(read, weights, strict=True))
    assert last == 2
    writer.keep_weights([1])
    assert [weights_path(writer.directory, trial).exists() for trial in (0, 1, 2)] == [False, True, False]
    writer.keep_weights([])
    assert not (writer.directory / "weights").exists()


def test_arrays_that_need_pickle_are_refused(writer: RunWriter) -> None:
    with pytest.raises(ValueError, match="allow_pickle=False"):
        writer.record_array("sample", np.array([{"a": 1}], dtype=object))
    path = weights_path(writer.directory, 0)
    path.parent.mkdir()
    np.savez(path, **{"00000": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_weights(writer.directory, 0)


def test_going_on_with_the_same_study_keeps_what_is_there(directory: Path) -> None:
    with RunWriter(directory, STUDY) as writer:
        one_trial(writer)
    reordered = 'repeats = 3\nname = "depths"\nspace = {depth = [1, 2]}\n'
    with RunWriter(directory, reordered), Run.open(directory) as run:
        assert len(run.trials()) == 1
    assert (directory / "study.toml").read_text() == STUDY


def test_a_changed_study_is_refused_with_what_differs(directory: Path) -> None:
    with RunWriter(directory, STUDY):
        pass
    changed = STUDY.replace("repeats = 3", 'repeats = 5\nmodel = "mlp"').replace("[1, 2]", "[1, 2, 3]")
    with pytest.raises(UserError) as caught:
        RunWriter(directory, changed)
    message = str(caught.value)
    assert str(directory) in message
    assert "repeats was 3, now 5" in message
    assert "space.depth was [1, 2], now [1, 2, 3]" in message
    assert "model was not set, now 'mlp'" in message
    assert "--fresh" in message
    assert "--out" in message
    assert "\n" not in message
    with RunWriter(directory, STUDY):
        "it is free again, and what it holds is as it was"


def test_many_differences_are_counted(directory: Path) -> None:
    with RunWriter(directory, "a = 1\nb = 1\nc = 1\nd = 1\ne = 1\n"):
        pass
    with pytest.raises(UserError, match="a was 1, now 2; b was 1, now 2; c was 1, now 2 and 2 more"):
        RunWriter(directory, "a = 2\nb = 2\nc = 2\nd = 2\ne = 2\n")


def test_fresh_moves_the_old_run_aside(directory: Path) -> None:
    with RunWriter(directory, STUDY) as writer:
        one_trial(writer)
    with RunWriter(directory, "repeats = 1\n", fresh=True) as writer:
        assert writer.moved is not None
        assert writer.moved.parent == directory.parent
        with Run.open(writer.moved) as old, Run.open(directory) as new:
            assert len(old.trials()) == 1
            assert old.study["repeats"] == 3
            assert new.trials().empty
            assert new.study == {"repeats": 1}


def test_fresh_works_in_the_current_folder(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunWriter(directory, STUDY):
        pass
    monkeypatch.chdir(directory)
    with RunWriter(Path(), STUDY, fresh=True) as writer:
        assert writer.moved is not None
        assert (writer.moved / "run.sqlite").is_file()


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_that_is_no_run_is_left_as_it_is(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"not empty and not a run \(it holds 'thesis.tex'\)"):
        RunWriter(tmp_path, STUDY, fresh=fresh)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_study_file_says_so(directory: Path) -> None:
    with RunWriter(directory, STUDY):
        pass
    (directory / "study.toml").write_text("repeats = = 3")
    with pytest.raises(UserError, match=r"study.toml: damaged .*--fresh"):
        RunWriter(directory, STUDY)


HOLDER = """
    import sys, time
    from pathlib import Path
    from kerasdl.runs import RunWriter
    writer = RunWriter(Path(sys.argv[1]), sys.argv[2])
    writer.add_configurations(0, {0: {"depth": 1}})
    writer.start_trials([(0, 0, 0, "alone")])
    print("holding", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_holds_nothing(directory: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(directory), STUDY]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding\n"
        for fresh in (False, True):
            with pytest.raises(BusyError, match="another process is writing this run") as caught:
                RunWriter(directory, STUDY, fresh=fresh)
            assert "--out" in str(caught.value)
        with Run.open(directory) as run:
            assert len(run.trials()) == 1
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    with RunWriter(directory, STUDY), Run.open(directory) as run:
        assert run.trials()["status"].tolist() == ["running"]


def test_a_place_where_no_folder_can_be_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="not a folder; choose another directory with --out"):
            RunWriter(place, STUDY)


def test_a_folder_that_refuses_writing_says_so(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *arguments: object, **keywords: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"depths: Permission denied; .* --out"):
        RunWriter(directory, STUDY)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_can_be_read_and_not_written(directory: Path) -> None:
    with RunWriter(directory, STUDY) as writer:
        one_trial(writer)
    directory.chmod(0o555)
    try:
        with Run.open(directory) as run:
            assert len(run.trials()) == 1
        with pytest.raises(UserError, match="--out"):
            RunWriter(directory, STUDY)
    finally:
        directory.chmod(0o755)


def test_a_full_disk_ends_in_one_line_and_a_readable_database(writer: RunWriter) -> None:
    one_trial(writer)
    writer.record_epoch(1, {0: {"loss": 1.0}}, 0.1)
    pages = writer._connection.execute("PRAGMA page_count").fetchone()[0]
    writer._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(UserError, match=r"run.sqlite: database or disk is full; free space .* goes on") as caught:
        for number in range(1000):
            writer.record_event("filling", f"{number}" * 500)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="full"):
        writer.record_array("sample", np.zeros(100_000))
    with Run.open(writer.directory) as run:
        assert run.curves()["loss"].tolist() == [1.0]
        kept = len(run.events())
    writer._connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
    writer.record_event("room", "there is space again")
    with Run.open(writer.directory) as run:
        assert len(run.events()) == kept + 1


def test_a_full_disk_while_weights_are_saved_says_so(writer: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    one_trial(writer)
    monkeypatch.setattr(np, "savez", refuse)
    with pytest.raises(UserError, match="No space left on device; free space"):
        writer.finish_trial(0, TrialResult("completed", 0.5, weights=[np.zeros(3)]))
    with Run.open(writer.directory) as run:
        assert run.trials()["status"].tolist() == ["running"]
    writer.keep_weights([])
    assert not (writer.directory / "weights").exists()


def test_an_atomic_write_leaves_the_old_file_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    write_atomically(path, b"old")

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", refuse)
        with pytest.raises(UserError, match="No space left"):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["summary.json"]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
