"""Warming up ends when calls take as long as before, or at its limit."""

import numpy as np
import pytest

from kerasdl.export.benchmark.warm import CALLS, WINDOWS, warm_up

pytestmark = pytest.mark.backend_free


def simulate(duration, limit=100.0):
    time = [0.0]

    def call(number):
        time[0] += duration(number)

    return warm_up(call, limit, now=lambda: time[0])


def test_steady_calls_are_stable_at_once():
    found = simulate(lambda number: 0.01)
    assert found.stable
    assert found.calls == CALLS * WINDOWS


def test_calls_that_become_faster_are_waited_for():
    found = simulate(lambda number: 0.01 if number > 100 else 0.5 * 0.96**number)
    assert found.stable
    assert found.calls > 100


def test_calls_that_never_settle_end_at_the_limit_and_are_said_to():
    generator = np.random.default_rng(0)
    found = simulate(lambda number: float(generator.choice([0.01, 0.1])) * 1.07 ** (number / 4), limit=5.0)
    assert not found.stable
    assert found.seconds >= 5.0


def test_one_call_may_be_longer_than_the_limit():
    found = simulate(lambda number: 30.0, limit=1.0)
    assert (found.calls, found.stable) == (1, False)
