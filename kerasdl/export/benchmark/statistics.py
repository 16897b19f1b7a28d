"""Percentiles with intervals that hold for calls that are not independent, and comparisons of rows measured in turns.

Latencies of one machine drift, so that calls of one round resemble each other. The interval of a percentile is
Woodruff's (Confidence intervals for medians and other position measures, 1952): the interval of the share of calls
below it, turned back into values. The share's variance is that of rounds as clusters, which gives an effective number
of calls with the correction of E. Korn and B. Graubard (Confidence intervals for proportions with small expected number
of positive counts, 1998); with it the interval is the distribution-free one between two order statistics (H. David and
H. Nagaraja, Order Statistics, 2003, section 7.1). No bootstrap is needed.

A percentile is given only where the upper order statistic exists in a sample of the effective size: 368 independent
calls for the 99th at 95 %. MLPerf Inference's early stopping follows the same law with one side at 99 % (459 queries);
the count for a claim that is to be stable between runs is MLPerf's fixed one, 270,336 for the 99th.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
PERCENTS = (50, 90, 95, 99)


@dataclass(frozen=True)
class Percentile:
    """A percentile of latencies.

    Attributes:
        percent: Which one, such as 99.
        value: In seconds; `None` where the calls cannot carry it.
        low: The lower end of the 95 % interval.
        high: The upper end.
        calls: How many there were.
        effective: How many independent calls say as much.
        fewest: How many independent calls the interval needs at least.
        stable: How many queries MLPerf Inference asks for.
    """

    percent: float
    value: float | None
    low: float | None
    high: float | None
    calls: int
    effective: int
    fewest: int
    stable: int


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval."""

    value: float
    low: float
    high: float


def percentile(rounds: Sequence[np.ndarray], percent: float, confidence: float = CONFIDENCE) -> Percentile:
    """Estimates a percentile of latencies that were measured in several rounds.

    Args:
        rounds: The latencies of each round, in seconds.
        percent: Between 0 and 100, both left out.
        confidence: Of the interval.

    Returns:
        The smallest latency that at least `percent` % of the calls do not exceed, with its interval.
    """
    share = percent / 100
    ordered = np.sort(np.concatenate([np.asarray(each, "float64") for each in rounds]))
    calls = len(ordered)
    # Rounding first: 0.9 * 10 is a little more than 9.
    value = float(ordered[max(math.ceil(round(share * calls, 9)), 1) - 1]) if calls else math.nan
    effective = effective_calls(rounds, value, share, confidence) if calls else 0
    ends = _order_statistics(effective, share, confidence)
    facts = (calls, effective, fewest_calls(percent, confidence), mlperf_queries(percent))
    if ends is None:
        return Percentile(percent, None, None, None, *facts)
    lower = max(math.floor(ends[0] * calls / effective), 1)
    upper = min(math.ceil(ends[1] * calls / effective), calls)
    return Percentile(percent, value, float(ordered[lower - 1]), float(ordered[upper - 1]), *facts)


def effective_calls(rounds: Sequence[np.ndarray], value: float, share: float, confidence: float) -> int:
    """Returns how many independent calls say as much about a percentile as calls that came in rounds."""
    from scipy.stats import t

    sizes = np.array([len(each) for each in rounds if len(each)], "float64")
    below = np.array([np.count_nonzero(each <= value) for each in rounds if len(each)], "float64")
    calls, clusters = int(sizes.sum()), len(sizes)
    if clusters < 2:
        return calls
    reached = below.sum() / calls
    variance = clusters / (clusters - 1) * np.sum((below - reached * sizes) ** 2) / calls**2
    independent = share * (1 - share) / variance if variance > 0 else math.inf
    half = (1 + confidence) / 2
    wider = float(t.ppf(half, calls - 1) / t.ppf(half, clusters - 1)) ** 2
    return max(int(min(calls, independent * wider)), 1)


def _order_statistics(calls: int, share: float, confidence: float) -> tuple[int, int] | None:
    """Returns the ranks, from 1, between which the percentile lies; `None` where one lies outside the sample."""
    from scipy.stats import binom

    if calls < 1:
        return None
    lower = int(binom.ppf((1 - confidence) / 2, calls, share))
    upper = int(binom.ppf((1 + confidence) / 2, calls, share)) + 1
    return (lower, upper) if lower >= 1 and upper <= calls else None


def fewest_calls(percent: float, confidence: float = CONFIDENCE) -> int:
    """Returns how many independent calls a percentile's interval needs: 6 for the median, 368 for the 99th."""
    share = max(percent, 100 - percent) / 100
    return math.floor(math.log((1 - confidence) / 2) / math.log(share)) + 1


def mlperf_queries(percent: float) -> int:
    """Returns the number of queries that MLPerf Inference asks for before a percentile is a result.

    With 99 % confidence the share of queries below it is known to a twentieth of what lies above it; rounded up to a
    multiple of 2^13 (MLPerf Inference Rules, "Statistical confidence"): 24,576 for the 90th, 270,336 for the 99th.
    """
    from scipy.stats import norm

    share = percent / 100
    margin = (1 - share) / 20
    queries = float(norm.ppf(0.995)) ** 2 * share * (1 - share) / margin**2
    return math.ceil(queries / 2**13) * 2**13


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Returns the mean of independent values with Student's interval, which is endless for one value."""
    from scipy.stats import t

    array = np.asarray(values, "float64")
    mean = float(array.mean())
    if len(array) < 2:
        return Interval(mean, -math.inf, math.inf)
    half = float(t.ppf((1 + confidence) / 2, len(array) - 1) * array.std(ddof=1) / math.sqrt(len(array)))
    return Interval(mean, mean - half, mean + half)


def paired_ratio(one: Sequence[float], other: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Compares two rows by the ratio of what they took in the same round.

    Args:
        one: A positive number for each round, such as the median latency.
        other: The same of another row, in the same rounds.
        confidence: Of the interval.

    Returns:
        The median of `one / other` over the rounds with its distribution-free interval; where they are too few for
        that, the geometric mean with Student's interval of the logarithm.
    """
    shared = min(len(one), len(other))
    logarithms = np.log(np.asarray(one[:shared]) / np.asarray(other[:shared]))
    ends = _order_statistics(shared, 0.5, confidence)
    if ends is None:
        found = mean_interval(logarithms.tolist(), confidence)
    else:
        ordered = np.sort(logarithms)
        found = Interval(float(np.median(ordered)), float(ordered[ends[0] - 1]), float(ordered[ends[1] - 1]))
    return Interval(*(float(np.exp(end)) for end in (found.value, found.low, found.high)))
