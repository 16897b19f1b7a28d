"""What the best came to when they were trained once more stands beside what the search saw."""

from collections.abc import Callable

from kerasdl.report import write_report
from kerasdl.report.evidence import gather
from kerasdl.report.retrained import retrained_table
from kerasdl.runs import Run, RunWriter


def test_the_retrained_stand_on_the_page_with_their_intervals(make_run: Callable[..., Run]) -> None:
    run = make_run([{"depth": 1}, {"depth": 2}], lambda settings, seed, _: 0.5 * settings["depth"] - 0.1)
    assert retrained_table(gather(run)) is None
    run.close()
    with RunWriter(run.path, (run.path / "study.toml").read_text(encoding="utf-8")) as writer:
        found = [{"configuration": 1, "epochs": 4, "test": {"loss": [0.5, 0.7], "accuracy": [0.9, 0.92]}}]
        found.append({"configuration": 0, "epochs": 7, "test": {}})
        writer.record_fact("retrained", {"configurations": found})
    with Run.open(run.path) as run:
        table = retrained_table(gather(run))
        assert table is not None
        assert table.head[3:] == ["validation accuracy in the search", "test loss", "test accuracy"]
        # t(1) = 12.706: half of an interval is 12.706 * 0.01 for values 0.02 apart.
        assert table.rows[0] == ["1", "depth 2", "4", "90.00\u00a0%", "0.6000 ± 1.3", "91.00\u00a0% ± 12.71"]
        assert table.rows[1] == ["2", "depth 1", "7", "40.00\u00a0%", "diverged", "diverged"]
        assert "trained once more" in write_report(run).read_text(encoding="utf-8")
