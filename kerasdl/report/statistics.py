"""The statistics behind the findings: small functions of numbers, each with its source.

Quantiles and tails come from `scipy.special`: `scipy.stats` has the same and takes half a second to import.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALPHA = 0.05


@dataclass(frozen=True)
class MeanTest:
    """A mean with its error.

    Attributes:
        mean: The mean.
        error: Its standard error; NaN where fewer than two values are known.
        freedom: Degrees of freedom of the error.
        p: Two-sided p-value of the mean being zero by Student's t; NaN where the error is unknown.
    """

    mean: float
    error: float
    freedom: float
    p: float

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        """Returns the `1 - alpha` interval of the mean by Student's t; NaN where the error is unknown."""
        from scipy import special

        if not math.isfinite(self.error):
            return math.nan, math.nan
        half = float(special.stdtrit(self.freedom, 1 - alpha / 2)) * self.error
        return self.mean - half, self.mean + half


def mean_test(values: Sequence[float] | np.ndarray, step: float = 0.0, overlap: float = 0.0) -> MeanTest:
    """Tests whether a mean is zero (Student's one-sample t; of differences: the paired t test).

    Args:
        values: Independent values, float, `(n,)`.
        step: The smallest difference that the values can show (1 / rows for an accuracy). The standard deviation is
            taken to be no smaller: three repeats that agree by rounding alone prove nothing.
        overlap: Validation rows by training rows where values are of folds, see `kerasdl.runs.ranking.interval`.

    Returns:
        The mean, its error and p-value.
    """
    from scipy import special

    known = np.asarray(values, dtype="float64")
    count = len(known)
    if count < 2:
        return MeanTest(float(known.mean()) if count else math.nan, math.nan, 0, math.nan)
    mean = float(known.mean())
    spread = max(float(known.std(ddof=1)), step)
    # Rounding leaves a spread of some 1e-17 in repeats that are equal.
    error = 0.0 if spread < 1e-12 * max(1.0, abs(mean)) else spread * math.sqrt(1 / count + overlap)
    if error == 0:
        return MeanTest(mean, 0.0, count - 1, 1.0 if mean == 0 else 0.0)
    return MeanTest(mean, error, count - 1, float(2 * special.stdtr(count - 1, -abs(mean) / error)))


def welch_test(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> MeanTest:
    """Tests whether two independent means agree (B. L. Welch, Biometrika 34, 1947).

    Args:
        first: Independent values.
        second: Independent values.

    Returns:
        The difference second - first, its error, and the p-value with Satterthwaite's degrees of freedom.
    """
    from scipy import special

    a, b = np.asarray(first, dtype="float64"), np.asarray(second, dtype="float64")
    difference = float(b.mean() - a.mean())
    if min(len(a), len(b)) < 2:
        return MeanTest(difference, math.nan, 0, math.nan)
    parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    total = float(sum(parts))
    if total <= 0:
        return MeanTest(difference, math.nan, 0, math.nan)
    freedom = total**2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    error = math.sqrt(total)
    return MeanTest(difference, error, freedom, float(2 * special.stdtr(freedom, -abs(difference) / error)))


def holm(p_values: Sequence[float], alpha: float = ALPHA) -> tuple[list[float], list[float]]:
    """Corrects p-values for being many (S. Holm, Scandinavian Journal of Statistics 6, 1979).

    Args:
        p_values: One p-value a comparison; NaN ones are not part of the family.
        alpha: The rate of any false claim in the family.

    Returns:
        The adjusted p-values, and for each comparison the alpha whose interval excludes zero just where the adjusted
        p-value is below `alpha`: `alpha / (m - i + 1)` at Holm's step i, and the share of the step where it stops for
        all that are left.
    """
    adjusted, levels = [math.nan] * len(p_values), [alpha] * len(p_values)
    order = sorted((index for index, p in enumerate(p_values) if math.isfinite(p)), key=lambda index: p_values[index])
    reached, stopped = 0.0, None
    for step, index in enumerate(order):
        left = len(order) - step
        reached = max(reached, min(1.0, left * p_values[index]))
        adjusted[index] = reached
        if stopped is None and reached >= alpha:
            stopped = alpha / left
        levels[index] = alpha / left if stopped is None else stopped
    return adjusted, levels


def bootstrap_interval(values: Sequence[float] | np.ndarray, resamples: int = 2000) -> tuple[float, float]:
    """Computes the 95 % percentile interval of a mean by resampling (B. Efron, Annals of Statistics 7, 1979).

    Args:
        values: Independent values, float, `(n,)`; nothing is supposed of how they are distributed.
        resamples: How often `n` of them are drawn with replacement, the same draws at every call.

    Returns:
        Its ends; NaN for fewer than two values.
    """
    known = np.asarray(values, dtype="float64")
    if len(known) < 2:
        return math.nan, math.nan
    generator = np.random.default_rng(0)
    means = [known[generator.integers(0, len(known), len(known))].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [ALPHA / 2, 1 - ALPHA / 2])
    return float(low), float(high)


def wilson(successes: float, total: float, alpha: float = ALPHA) -> tuple[float, float]:
    """Computes the score interval of a share (E. B. Wilson, JASA 22, 1927).

    Args:
        successes: How many of `total`; a mean count need not be whole.
        total: How many there are.
        alpha: One minus the coverage.

    Returns:
        Its ends, between 0 and 1; NaN where `total` is zero.
    """
    from scipy import special

    if total <= 0:
        return math.nan, math.nan
    z = float(special.ndtri(1 - alpha / 2))
    share = successes / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    # Exact at the ends, where rounding would leave 1 - 1e-16.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    return low, 1.0 if successes == total else min(1.0, middle + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """Tests whether two classifiers err equally often on the same rows (Q. McNemar, Psychometrika 12, 1947; exact).

    Args:
        only_first: Rows that the first alone gets right.
        only_second: Rows that the second alone gets right.

    Returns:
        The two-sided p-value: twice the binomial tail of the smaller at one half; 1 where both are zero.
    """
    from scipy import special

    total = only_first + only_second
    return min(1.0, 2 * float(special.bdtr(min(only_first, only_second), total, 0.5))) if total else 1.0


def rank_correlation(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> float:
    """Computes Spearman's correlation of ranks; 0 where one side is constant."""
    import pandas as pd

    a, b = pd.Series(first).rank().to_numpy(), pd.Series(second).rank().to_numpy()
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def rank_correlation_test(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> MeanTest:
    """Tests Spearman's correlation over independent pairs.

    Args:
        first: Values, `(n,)`.
        second: Values, `(n,)`.

    Returns:
        The correlation, its error √((1 - ρ²) / (n - 2)) and the p-value of Student's t with n - 2 degrees of freedom
        (the usual approximation, fair from n = 8 on; fewer pairs give NaN).
    """
    from scipy import special

    correlation, count = rank_correlation(first, second), len(first)
    if count < 8:
        return MeanTest(correlation, math.nan, 0, math.nan)
    error = math.sqrt(max(1e-12, 1 - correlation**2) / (count - 2))
    return MeanTest(correlation, error, count - 2, float(2 * special.stdtr(count - 2, -abs(correlation) / error)))


def friedman_p(values: np.ndarray) -> float:
    """Tests whether any column differs from the others, by ranks within rows.

    Friedman's test (JASA 32, 1937) in the F form of R. L. Iman and J. M. Davenport (Communications in Statistics A9,
    1980).

    Args:
        values: Scores, `(seeds, configurations)`, none missing.

    Returns:
        The p-value; 1 where there are fewer than two rows or three columns.
    """
    import pandas as pd
    from scipy import special

    rows, columns = values.shape
    if rows < 2 or columns < 3:
        return 1.0
    ranks = pd.DataFrame(values).rank(axis=1).to_numpy()
    spread = float(((ranks - (columns + 1) / 2) ** 2).sum())
    if spread == 0:
        return 1.0
    chi_square = rows * (columns - 1) * float(((ranks.mean(axis=0) - (columns + 1) / 2) ** 2).sum()) * rows / spread
    chi_square = min(chi_square, rows * (columns - 1.0))
    if math.isclose(chi_square, rows * (columns - 1)):
        # Every row in the same order: the F form is infinite, the exact probability is 1 in (columns!)^(rows - 1).
        return math.exp(-(rows - 1) * math.lgamma(columns + 1))
    ratio = (rows - 1) * chi_square / (rows * (columns - 1) - chi_square)
    return float(special.fdtrc(columns - 1, (columns - 1) * (rows - 1), ratio))


def within_errors(values: np.ndarray, overlap: float = 0.0) -> np.ndarray:
    """Computes standard errors of level means without what the seeds have in common.

    D. Cousineau (Tutorials in Quantitative Methods for Psychology 1, 2005) with the correction of R. D. Morey (the
    same, 4, 2008): each row's mean is taken away, and the variance is multiplied by levels / (levels - 1).

    Args:
        values: Scores, `(seeds, levels)`.
        overlap: As for `mean_test`.

    Returns:
        One standard error a level, `(levels,)`; NaN for fewer than two seeds.
    """
    seeds, levels = values.shape
    if seeds < 2:
        return np.full(levels, np.nan)
    share = math.sqrt(1 / seeds + overlap)
    if levels < 2:
        return np.asarray(values.std(axis=0, ddof=1) * share)
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred.std(axis=0, ddof=1) * math.sqrt(levels / (levels - 1)) * share)
