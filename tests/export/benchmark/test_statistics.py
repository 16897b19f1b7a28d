"""Percentiles and their intervals against closed formulas and simulations."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from kerasdl.export.benchmark.statistics import (
    fewest_calls,
    mean_interval,
    mlperf_queries,
    paired_ratio,
    percentile,
)

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize(("percent", "queries"), [(90, 24_576), (95, 57_344), (99, 270_336)])
def test_the_counts_of_mlperf_are_those_of_its_rules(percent, queries):
    assert mlperf_queries(percent) == queries


@pytest.mark.parametrize("percent", [10, 50, 90, 95, 99, 99.9])
def test_the_fewest_calls_are_the_first_that_carry_the_percentile(percent):
    fewest = fewest_calls(percent)
    share = max(percent, 100 - percent) / 100
    # All calls on one side of the percentile: the interval cannot be closed where this is likelier than 2.5 %.
    assert share**fewest <= 0.025 < share ** (fewest - 1)
    values = np.random.default_rng(0).exponential(size=fewest)
    assert percentile([values], percent).value is not None
    assert percentile([values[1:]], percent).value is None


def test_a_percentile_is_a_latency_that_was_measured():
    values = np.arange(1.0, 1001.0)
    for percent, rank in ((50, 500), (90, 900), (95, 950), (99, 990)):
        found = percentile([values], percent)
        assert found.value == rank
        assert found.low < rank < found.high
        assert found.calls == found.effective == 1000


@pytest.mark.parametrize("percent", [50, 90, 99])
def test_the_interval_of_independent_calls_covers_as_often_as_it_says(percent):
    generator = np.random.default_rng(percent)
    truth = -math.log(1 - percent / 100)
    trials = 400
    covered = 0
    for _ in range(trials):
        found = percentile([generator.exponential(size=2000)], percent)
        covered += found.low <= truth <= found.high
    # Three standard errors below 95 %.
    assert covered / trials > 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials)
    assert covered < trials


def test_rounds_that_drift_are_not_taken_for_independent_calls():
    generator = np.random.default_rng(1)
    trials = 200
    covered = {"rounds": 0, "one": 0}
    # The level of a round and the noise of a call: the median over all rounds is 0.
    for _ in range(trials):
        rounds = [generator.normal(level, 1.0, 200) for level in generator.normal(0.0, 0.7, 20)]
        for name, given in (("rounds", rounds), ("one", [np.concatenate(rounds)])):
            found = percentile(given, 50)
            covered[name] += found.low <= 0.0 <= found.high
    assert covered["rounds"] / trials > 0.9
    assert covered["one"] / trials < 0.5


def test_rounds_that_differ_cannot_carry_a_high_percentile():
    generator = np.random.default_rng(2)
    alike = [generator.exponential(size=100) for _ in range(20)]
    apart = [each + level for each, level in zip(alike, generator.exponential(5.0, 20), strict=True)]
    assert percentile(alike, 99).value is not None
    found = percentile(apart, 99)
    assert found.value is None and found.low is None and found.high is None
    assert found.effective < fewest_calls(99) <= found.calls


def test_one_call_and_none():
    assert percentile([np.array([1.0])], 50).value is None
    assert percentile([np.array([])], 50).calls == 0


def test_the_interval_of_a_mean_is_students():
    found = mean_interval([1.0, 2.0, 3.0, 4.0])
    # t of 3 degrees of freedom is 3.1824, the standard deviation 1.2910.
    assert found.value == 2.5
    assert found.high - 2.5 == pytest.approx(3.182446 * 1.290994 / 2, rel=1e-6)
    assert mean_interval([1.0]).high == math.inf


def test_turns_cancel_a_drift_that_both_rows_share():
    generator = np.random.default_rng(3)
    drift = np.exp(generator.normal(0, 1.0, 20))
    one = drift * np.exp(generator.normal(0, 0.01, 20))
    other = 1.1 * drift * np.exp(generator.normal(0, 0.01, 20))
    found = paired_ratio(other, one)
    assert found.low < 1.1 < found.high
    assert found.low > 1.05
    # Without pairs the drift would hide the difference.
    half = norm.ppf(0.975) * np.log(one).std() * math.sqrt(2 / 20)
    assert half > math.log(1.1)


def test_a_few_stalls_do_not_move_a_ratio():
    one, other = np.full(20, 1.0), np.full(20, 2.0)
    one[:4] = 100.0
    found = paired_ratio(one, other)
    assert found.low == found.value == found.high == 0.5


def test_few_rounds_tell_what_is_far_apart():
    assert paired_ratio([10.0, 11.0, 9.0], [1.0, 1.0, 1.1]).low > 1
    assert paired_ratio([1.2, 0.9, 1.3], [1.0, 1.0, 1.1]).low < 1


@pytest.mark.parametrize("rounds", [4, 20])
def test_the_interval_of_a_ratio_covers_as_often_as_it_says(rounds):
    generator = np.random.default_rng(rounds)
    trials = 400
    covered = 0
    for _ in range(trials):
        one, other = np.exp(generator.normal([[0.3], [0.0]], 0.2, (2, rounds)))
        found = paired_ratio(one, other)
        covered += found.low <= np.exp(0.3) <= found.high
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials) < covered / trials < 1


def test_a_ratio_takes_the_rounds_that_both_have():
    assert paired_ratio([2.0, 2.0, 2.0], [1.0, 1.0]).value == pytest.approx(2.0)
