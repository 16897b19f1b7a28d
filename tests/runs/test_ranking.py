from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kerasdl.runs import Run
from kerasdl.runs.ranking import interval, rank

Open = Callable[..., Run]


def test_the_table_equals_what_is_computed_by_hand(run_of: Open) -> None:
    table = run_of([[0.5, 0.6, 0.7], [0.8, 0.9, 1.0]]).table()
    assert table["rank"].tolist() == [1, 2]
    assert table["configuration"].tolist() == [1, 0]
    assert table["depth"].tolist() == [2, 1]
    first = table.iloc[0]
    assert first["mean"] == pytest.approx(0.9)
    assert first["std"] == pytest.approx(0.1)
    # t(2) at 97.5 % is 4.302653; the half width is t s / sqrt(3).
    assert first["low"] == pytest.approx(0.9 - 4.302652729911275 * 0.1 / np.sqrt(3))
    assert first["high"] == pytest.approx(0.9 + 4.302652729911275 * 0.1 / np.sqrt(3))
    assert first["test_accuracy"] == pytest.approx(0.45)
    assert first["test_loss"] == pytest.approx(0.1)
    assert [first[name] for name in ("repeats", "completed", "diverged", "failed")] == [3, 3, 0, 0]
    assert (first["parameters"], first["seconds"]) == (7, 6.0)


def test_the_direction_turns_the_order(run_of: Open) -> None:
    ends = [[0.5, 0.6], [0.2, 0.2], [0.9, 0.1]]
    run = run_of(ends, "min")
    assert run.table()["configuration"].tolist() == [1, 2, 0]
    assert rank(run.trials(), ["depth"], "max")["configuration"].tolist() == [0, 2, 1]


def test_what_diverged_or_failed_ranks_below_what_never_did(run_of: Open) -> None:
    ends = [["diverged", "diverged"], [0.99, "diverged"], [0.1, 0.1], ["failed", 0.98], [0.2, 0.2]]
    table = run_of(ends).table()
    assert table["configuration"].tolist() == [4, 2, 1, 3, 0]
    assert table["mean"].tolist()[:4] == pytest.approx([0.2, 0.1, 0.99, 0.98])
    assert np.isnan(table["mean"].iloc[4])
    assert table["diverged"].tolist() == [0, 0, 1, 0, 2]
    assert table["failed"].tolist() == [0, 0, 0, 1, 0]


def test_equals_keep_the_order_of_the_configurations(run_of: Open) -> None:
    assert run_of([[0.5], [0.5], [0.5]]).table()["configuration"].tolist() == [0, 1, 2]


def test_a_completed_trial_without_a_score_does_not_win() -> None:
    rows = [(0, "completed", None), (1, "completed", 0.1), (1, "completed", None)]
    trials = pd.DataFrame(rows, columns=["configuration", "status", "score"]).assign(parameters=1, seconds=1.0)
    table = rank(trials, [], "max")
    assert table["configuration"].tolist() == [1, 0]
    assert table["mean"].iloc[0] == 0.1


@pytest.mark.parametrize("scores", [[], [0.5]])
def test_fewer_than_two_values_have_no_interval(scores: list[float]) -> None:
    assert np.isnan(interval(scores)).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20), st.floats(0.5, 0.999))
def test_the_interval_is_students(scores: list[float], confidence: float) -> None:
    low, high = interval(scores, confidence)
    mean, error = np.mean(scores), stats.sem(scores)
    if error == 0:
        assert low == high == pytest.approx(mean)
    else:
        expected = stats.t.interval(confidence, len(scores) - 1, loc=mean, scale=error)
        assert (low, high) == pytest.approx(expected, abs=1e-9 * error)
    assert low <= high


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["completed", "diverged", "failed"]), st.floats(-1, 1)),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([0.0, 0.5]),
)
def test_each_row_sums_up_its_own_trials_in_whatever_order(drawn: list[tuple[int, str, float]], overlap: float) -> None:
    trials = pd.DataFrame(drawn, columns=["configuration", "status", "score"])
    trials["depth"] = trials["configuration"] * 10
    trials["test_loss"] = trials["score"] * 2
    trials["parameters"], trials["seconds"] = 7, 1.5
    trials.loc[trials["status"] != "completed", ["score", "test_loss"]] = None
    table = rank(trials, ["depth"], "max", overlap).set_index("configuration")
    for configuration, own in trials.groupby("configuration"):
        row, scores = table.loc[configuration], own["score"].dropna().tolist()
        assert row["depth"] == configuration * 10
        assert (row["repeats"], row["seconds"], row["parameters"]) == (len(own), 1.5 * len(own), 7)
        for status in ("completed", "diverged", "failed"):
            assert row[status] == (own["status"] == status).sum()
        np.testing.assert_allclose([row["low"], row["high"]], interval(scores, overlap=overlap), atol=1e-12)
        np.testing.assert_allclose(row["mean"], np.mean(scores) if scores else np.nan, atol=1e-12)
        np.testing.assert_allclose(row["test_loss"], 2 * row["mean"], atol=1e-12)
