from pathlib import Path

import pytest

from kerasdl.report import find
from kerasdl.report.evidence import gather
from kerasdl.report.ways import ways_table
from kerasdl.runs import Run, RunWriter, TrialResult


def made(path: Path, waited: float) -> Run:
    """A run of a pack's trial and of two that `fit` trained, whose epochs took 2 s each."""
    with RunWriter(path, 'name = "waiting"\n') as writer:
        writer.record_fact("objective", {"name": "val_accuracy", "direction": "max"})
        writer.add_configurations(0, {number: {"width": number} for number in range(3)})
        writer.start_trials([(number, number, 0, "alone" if number else "pack of 1") for number in range(3)])
        for number in range(3):
            for epoch in (1, 2):
                writer.record_epoch(epoch, {number: {"val_accuracy": 0.5}}, 2.0, *([waited] if number else []))
            writer.finish_trial(number, TrialResult("completed", 0.5, seconds=4.0))
    return Run.open(path)


@pytest.mark.parametrize(("waited", "share"), [(0.5, 25), (0.15, None), (0.0, None)])
def test_waiting_for_data_is_found_where_it_takes_more_than_a_tenth(
    tmp_path: Path, waited: float, share: int | None
) -> None:
    with made(tmp_path / "run", waited) as run:
        found = [finding for finding in find(run) if finding.kind == "waiting"]
        table = ways_table(gather(run))
        assert table is not None
        assert ("fed batch by batch waited" in table.note) == (waited > 0)
        assert run.waiting()["waited"].tolist() == [0.0, 2 * waited, 2 * waited]
        if share is None:
            assert not found
            return
        (finding,) = found
        assert finding.sure
        assert f"waited for data {share}\u00a0% of the time (2.0 s of 8.0 s, 2 trials)" in finding.sentence
