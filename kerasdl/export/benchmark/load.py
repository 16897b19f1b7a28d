"""Open-loop load: requests arrive when they arrive, whether or not the last one is answered.

Latency counts from the scheduled arrival. A loop that sends the next request only after the last answer would leave out
the waiting that a slow answer causes (G. Tene's coordinated omission).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

# Sleeping is no more exact than this; the rest is waited for by looking at the clock.
COARSE = 0.001

# Requests of this share of the time come first and are not counted.
LEAD = 0.25


@dataclass
class Clock:
    """The machine's clock; tests put another in its place."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = field(default=time.sleep)

    def wait_until(self, moment: float) -> None:
        """Returns at a moment, or at once where it has passed."""
        left = moment - self.now()
        if left > COARSE:
            self.sleep(left - COARSE)
        # Nothing of the model runs now; the shortest sleep is ten times the latency of a small model.
        while self.now() < moment:
            pass


def arrivals(rate: float, seconds: float, seed: int) -> np.ndarray:
    """Draws the arrivals of a Poisson process.

    Args:
        rate: Requests a second.
        seconds: How long they arrive.
        seed: Of the draw.

    Returns:
        Moments in seconds from the start, ascending, all before `seconds`.
    """
    generator = np.random.default_rng(seed)
    # Given their number, the arrivals of a Poisson process are uniform.
    return np.sort(generator.uniform(0.0, seconds, generator.poisson(rate * seconds)))


def loaded(call: Callable[[int], object], rate: float, seconds: float, seed: int) -> np.ndarray:
    """Loads a model with requests at random, and leaves those out that found the queue still empty from the start.

    Args:
        call: Answers the request of this number.
        rate: Requests a second.
        seconds: How long requests arrive that count; those of a quarter of this come before.
        seed: Of the arrivals.

    Returns:
        The seconds from arrival to answer of each request that counts.
    """
    lead = LEAD * seconds
    moments = arrivals(rate, lead + seconds, seed)
    latencies = answer(call, moments)
    return latencies[moments >= lead]


def answer(call: Callable[[int], object], moments: np.ndarray, clock: Clock | None = None) -> np.ndarray:
    """Answers requests one after another, in the order of their arrival.

    Args:
        call: Answers the request of this number.
        moments: When requests arrive, in seconds from now.
        clock: Tells the time.

    Returns:
        The seconds from each request's scheduled arrival to its answer.
    """
    clock = clock or Clock()
    latencies = np.empty(len(moments))
    start = clock.now()
    for number, moment in enumerate(moments):
        clock.wait_until(start + moment)
        call(number)
        latencies[number] = clock.now() - start - moment
    return latencies
