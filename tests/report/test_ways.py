from collections.abc import Callable
from pathlib import Path

from kerasdl.report import write_report
from kerasdl.report.evidence import gather
from kerasdl.report.ways import MOST_WAYS, sharing_words, ways_table
from kerasdl.runs import Run, RunWriter, TrialResult

MakeRun = Callable[..., Run]


def made(path: Path, programs: list[tuple[str, list[dict[int, int]]]]) -> Run:
    """Writes a run of the given programs, each with how it ran; every trial takes a second."""
    with RunWriter(path, 'name = "ways"\n') as writer:
        writer.record_fact("objective", {"name": "val_accuracy", "direction": "max"})
        for how, members in programs:
            trials = {trial: epochs for member in members for trial, epochs in member.items()}
            writer.add_configurations(min(trials), {trial: {"width": trial} for trial in trials})
            writer.start_trials([(trial, trial, 0, how) for trial in trials])
            writer.record_programs([members])
            for trial, epochs in trials.items():
                for epoch in range(1, epochs + 1):
                    writer.record_epoch(epoch, {trial: {"val_accuracy": 0.5}}, 0.1)
                writer.finish_trial(trial, TrialResult("completed", 0.5, seconds=1.0))
    return Run.open(path)


def test_the_page_says_what_sharing_saved(tmp_path: Path) -> None:
    reason = "alone, by Keras' fit on jax: Own has a train_step of its own"
    programs = [("pack of 2; up to 2 trials share their epochs", [{0: 2, 1: 4}, {2: 4}])]
    with made(tmp_path / "run", [*programs, (reason, [{3: 3}]), (reason, [{4: 3}])]) as run:
        table = ways_table(gather(run))
        assert table is not None
        names, packed, alone = table.head, *table.rows
        assert dict(zip(names, packed, strict=True)) == {
            "how": "pack of 2",
            "trials": "3",
            "programs": "1",
            "trials per program": "3",
            "epochs asked for": "10",
            "trained": "8",
            "passes over the data": "4",
            "time": "3.0 s",
            "share of the time": "60\u00a0%",
        }
        assert alone == [reason, "2", "2", "1", "6", "6", "6", "2.0 s", "40\u00a0%"]
        words = (
            "5 trials asked for 16 epochs; 14 were trained (12.5\u00a0% less: trials share their epochs), by 3 programs"
        )
        assert sharing_words(gather(run)).startswith(words)
        page = write_report(run).read_text(encoding="utf-8")
        assert words in page and "trials per program" in page


def test_where_programs_were_not_recorded_the_page_says_so_and_counts_nothing(make_run: MakeRun) -> None:
    evidence = gather(make_run([{"width": 4}]))
    table = ways_table(evidence)
    assert table is not None
    assert table.head == ["how", "trials", "time", "share of the time"]
    assert "Which trials shared a program was not recorded." in table.note
    assert sharing_words(evidence) == ""


def test_rare_ways_are_left_out_and_counted(tmp_path: Path) -> None:
    with made(tmp_path / "run", [(f"alone: reason {n}", [{n: 1}]) for n in range(MOST_WAYS + 2)]) as run:
        table = ways_table(gather(run))
    assert table is not None
    assert len(table.rows) == MOST_WAYS
    assert "2 rarer ways left out." in table.note
