"""What the best came to when they were trained once more stands beside what the search saw."""

import sqlite3
from collections.abc import Callable, Sequence

import pytest

from kerasdl.report import write_report
from kerasdl.report.answer import answer
from kerasdl.report.evidence import gather
from kerasdl.report.findings import find_all
from kerasdl.report.retrained import find_refined, find_retrained, retrained_table
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
        (finding,) = find_retrained(gather(run))
        assert finding.sentence.endswith("seeds): depth 2 91.00\u00a0% ± 12.71.")
        assert "trained once more" in write_report(run).read_text(encoding="utf-8")


def refined(run: Run, later: Sequence[int]) -> Run:
    """Moves configurations of a made-up run into a second round."""
    run.close()
    with sqlite3.connect(run.path / "run.sqlite") as database:
        database.executemany("UPDATE configuration SET round = 1 WHERE configuration = ?", [(one,) for one in later])
    database.close()
    return Run.open(run.path)


def test_settings_are_judged_by_the_first_search_and_the_one_round_its_best_by_its_gain(
    make_run: Callable[..., Run],
) -> None:
    """The later search holds one level of `cycles` alone: with it no level has a partner at each `l2`."""
    grid = [{"cycles": cycles, "l2": l2} for cycles in (1, 3) for l2 in (0.001, 0.1)]
    closer = [{"cycles": 1, "l2": 0.001 + 0.0001 * step} for step in range(1, 9)]

    def score(settings: dict[str, float], seed: int, _: object) -> float:
        return 0.8 + 0.02 * (settings["cycles"] == 1) + 0.1 * (settings["l2"] < 0.01) + settings["l2"] + 0.001 * seed

    made = make_run([*grid, *closer], score, study={"refine": {"rounds": 1, "trials": 8}})
    assert gather(made).planned.configurations == gather(made).scores.configurations
    with refined(made, range(4, 12)) as run:
        evidence = gather(run)
        assert evidence.planned.configurations == (0, 1, 2, 3)
        assert all(one.cells == 2 for one in evidence.comparisons)
        cycles = next(one for one in evidence.comparisons if one.setting == "cycles")
        assert (cycles.test.mean, cycles.sure) == (pytest.approx(-0.02), True)
        (finding,) = find_refined(evidence)
        assert (finding.numbers["before"], finding.numbers["after"]) == (0, 11)
        assert finding.numbers["difference"] == pytest.approx(0.0008)
        assert finding.sure and finding.sentence.endswith("a sure gain.")
        assert finding.sentence in answer(evidence, find_all(evidence))
