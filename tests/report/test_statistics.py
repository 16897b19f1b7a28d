import math

import numpy as np
import pytest
from scipy import stats

from kerasdl.report.classes import class_accuracies, display_order, most_confused
from kerasdl.report.statistics import (
    ALPHA,
    friedman_p,
    holm,
    mcnemar,
    mean_test,
    rank_correlation,
    rank_correlation_test,
    welch_test,
    wilson,
    within_errors,
)
from kerasdl.runs.ranking import interval


def test_the_mean_test_is_students_paired_t() -> None:
    first, second = np.random.default_rng(0).normal(0, 1, (2, 7))
    expected = stats.ttest_rel(second, first)
    found = mean_test(second - first)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert found.interval() == pytest.approx((interval.low, interval.high))


def test_repeats_that_agree_by_rounding_prove_nothing() -> None:
    step = 1 / 400
    assert mean_test([step] * 3).p == 0
    assert mean_test([step] * 3, step).p > ALPHA
    assert mean_test([0.2] * 3, step).p < ALPHA
    assert mean_test([0.0] * 3).p == 1


def test_one_value_has_no_error() -> None:
    found = mean_test([0.3])
    assert found.mean == 0.3
    assert math.isnan(found.p)
    assert all(math.isnan(end) for end in found.interval())


def test_holms_intervals_exclude_zero_just_where_its_p_values_are_small() -> None:
    random = np.random.default_rng(1)
    for _ in range(200):
        tests = [mean_test(random.normal(random.choice([0, 2.0]), 1, 4)) for _ in range(6)]
        adjusted, levels = holm([test.p for test in tests])
        for test, p, alpha in zip(tests, adjusted, levels, strict=True):
            low, high = test.interval(alpha)
            assert (low > 0 or high < 0) == (p < ALPHA)


def test_holm_adjusts_as_published() -> None:
    adjusted, _ = holm([0.01, 0.04, 0.03, 0.005, math.nan])
    assert adjusted[:4] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert math.isnan(adjusted[4])


def test_wilson_agrees_with_scipy() -> None:
    for right, total in ((0, 3), (3, 3), (7, 20), (61, 400)):
        expected = stats.binomtest(right, total).proportion_ci(method="wilson")
        assert wilson(right, total) == pytest.approx((expected.low, expected.high))


def test_rank_correlation_agrees_with_scipy() -> None:
    first, second = np.random.default_rng(2).normal(0, 1, (2, 30))
    expected = stats.spearmanr(first, second)
    found = rank_correlation_test(first, second)
    assert found.mean == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) == 0
    assert math.isnan(rank_correlation_test([1, 2, 3], [1, 2, 3]).p)


def test_welch_agrees_with_scipy() -> None:
    random = np.random.default_rng(3)
    first, second = random.normal(0, 1, 9), random.normal(0.5, 3, 14)
    expected = stats.ttest_ind(second, first, equal_var=False)
    found = welch_test(first, second)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert found.interval() == pytest.approx((interval.low, interval.high))


def test_friedman_holds_its_level_and_sees_a_difference() -> None:
    random = np.random.default_rng(4)
    false = np.mean([friedman_p(random.normal(0, 1, (3, 6))) < ALPHA for _ in range(800)])
    assert false < 0.09
    assert friedman_p(random.normal(0, 0.1, (3, 6)) + np.arange(6)) < 0.001
    assert friedman_p(np.ones((3, 4))) == 1


def test_what_a_seed_does_to_all_levels_is_no_error() -> None:
    values = np.random.default_rng(5).normal(0, 1, (5, 3))
    shifted = values + np.arange(5)[:, None] * 100
    assert within_errors(values) == pytest.approx(within_errors(shifted))
    assert np.isnan(within_errors(values[:1])).all()


def test_repeats_do_not_add_test_rows() -> None:
    once = np.asarray([[40, 10], [5, 45]])
    one, three = (class_accuracies(matrix, ["a", "b"], repeats) for matrix, repeats in ((once, 1), (3 * once, 3)))
    assert one == three
    assert one[0].name == "a"
    assert (one[0].low, one[0].high) == pytest.approx(wilson(40, 50))


def test_a_class_far_below_the_others_is_found_and_no_other() -> None:
    matrix = np.diag([90] * 10) + 1
    matrix[3, 3], matrix[3, 7] = 40, 51
    found = class_accuracies(matrix, [str(index) for index in range(10)], 1)
    assert [entry.name for entry in found if entry.below] == ["3"]
    assert (most_confused(matrix, [str(i) for i in range(10)], 1)[0].truth, found[0].index) == ("3", 3)


def test_classes_that_are_confused_stand_together() -> None:
    matrix = np.diag([50] * 44)
    matrix[2, 40] = matrix[40, 2] = 30
    order = display_order(matrix)
    assert sorted(order) == list(range(44))
    assert abs(order.index(2) - order.index(40)) == 1
    assert display_order(matrix[:10, :10]) == list(range(10))


def test_folds_that_share_rows_widen_an_error_as_published() -> None:
    values = np.random.default_rng(3).normal(0.1, 0.2, 10)
    # Nadeau and Bengio (2003), equation 9: 1 / J + n2 / n1 in the place of 1 / J; ten folds are 1 / 10 + 1 / 9.
    assert np.isclose(mean_test(values, overlap=1 / 9).error, values.std(ddof=1) * np.sqrt(1 / 10 + 1 / 9))
    assert np.allclose(interval(values, overlap=1 / 9), mean_test(values, overlap=1 / 9).interval())
    assert mean_test(values, overlap=1 / 9).p > mean_test(values).p


def test_mcnemar_agrees_with_the_binomial_test() -> None:
    for first, second in [(0, 0), (3, 3), (1, 9), (40, 21), (0, 6)]:
        expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
        assert math.isclose(mcnemar(first, second), expected, rel_tol=1e-9)
