"""Warming up until calls take as long as before."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# A window is this many calls and this long, whichever is more.
CALLS = 8
SECONDS = 0.03

# Two neighbouring windows whose medians differ by no more than this are alike; three alike in a row are stable.
ALIKE = 0.05
WINDOWS = 3


@dataclass(frozen=True)
class WarmUp:
    """How warming up ended."""

    calls: int
    seconds: float
    stable: bool


def warm_up(call: Callable[[int], object], limit: float, now: Callable[[], float] = time.perf_counter) -> WarmUp:
    """Calls until the medians of three windows in a row differ by at most 5 % from one to the next.

    Args:
        call: What is warmed up; it gets the number of the call.
        limit: The seconds after which it ends, stable or not.
        now: Tells the time in seconds.

    Returns:
        How many calls it took, how long, and whether it became stable.
    """
    start = now()
    medians: list[float] = []
    calls = 0
    while True:
        window: list[float] = []
        begin = now()
        while len(window) < CALLS or now() - begin < SECONDS:
            before = now()
            call(calls)
            window.append(now() - before)
            calls += 1
            if now() - start >= limit:
                return WarmUp(calls, now() - start, False)
        medians.append(float(np.median(window)))
        last = np.array(medians[-WINDOWS:])
        if len(last) == WINDOWS and np.all(np.abs(np.diff(last)) <= ALIKE * last[:-1]):
            return WarmUp(calls, now() - start, True)
