"""Requests arrive as a Poisson process, and waiting counts."""

import numpy as np
import pytest
from scipy.stats import kstest

from kerasdl.export.benchmark.load import LEAD, Clock, answer, arrivals, loaded

pytestmark = pytest.mark.backend_free


class Simulated(Clock):
    """A clock that stands still but for sleeping and for what a call takes."""

    def __init__(self):
        self.time = 100.0
        super().__init__(now=lambda: self.time, sleep=self.advance)

    def advance(self, seconds):
        self.time += seconds

    def wait_until(self, moment):
        self.time = max(self.time, moment)


def test_gaps_between_arrivals_are_exponential():
    moments = arrivals(50.0, 200.0, seed=0)
    assert np.all(np.diff(moments) >= 0) and moments[0] >= 0 and moments[-1] < 200.0
    assert len(moments) == pytest.approx(10_000, abs=4 * 100)
    assert kstest(np.diff(moments), "expon", args=(0, 1 / 50.0)).pvalue > 0.01


def test_the_number_of_arrivals_is_poisson():
    counts = np.array([len(arrivals(20.0, 1.0, seed)) for seed in range(2000)])
    assert counts.mean() == pytest.approx(20.0, abs=0.4)
    assert counts.var() == pytest.approx(20.0, rel=0.15)


def test_latency_counts_from_the_arrival_and_not_from_the_call():
    clock = Simulated()
    taken = [5.0, 1.0, 1.0, 1.0]
    found = answer(lambda number: clock.advance(taken[number]), np.array([0.0, 1.0, 2.0, 9.0]), clock)
    # A loop that sends after each answer would report 5, 1, 1, 1.
    assert found.tolist() == [5.0, 5.0, 5.0, 1.0]


@pytest.mark.parametrize("load", [0.3, 0.5, 0.8])
def test_waiting_is_that_of_queueing_theory(load):
    clock = Simulated()
    found = answer(lambda number: clock.advance(1.0), arrivals(load, 60_000.0, seed=7), clock)
    # One server, constant service of 1: the Pollaczek-Khinchine formula.
    assert found.mean() == pytest.approx(1 + load / (2 * (1 - load)), rel=0.05)


def test_the_real_clock_waits_for_the_moment():
    clock = Clock()
    start = clock.now()
    clock.wait_until(start + 0.01)
    assert clock.now() - start >= 0.01


def test_requests_of_the_lead_are_answered_and_not_counted():
    answered = []
    found = loaded(answered.append, 2000.0, 0.05, seed=1)
    moments = arrivals(2000.0, 0.05 * (1 + LEAD), 1)
    assert len(answered) == len(moments)
    assert len(found) == np.count_nonzero(moments >= 0.05 * LEAD) < len(moments)
    assert np.all(found > 0)
