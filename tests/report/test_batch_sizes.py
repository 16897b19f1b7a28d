"""Batch sizes: noise that is known is found again, whatever course it rides on."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasdl.report.batch_sizes import batch_size_table, find_batch_sizes, roughness
from kerasdl.report.evidence import gather
from kerasdl.runs import Run


@given(st.floats(-3, 3), st.floats(-0.5, 0.5), st.floats(0.01, 2.0), st.integers(0, 100))
def test_noise_round_a_straight_course_is_estimated_whatever_the_course(
    start: float, slope: float, noise: float, seed: int
) -> None:
    epochs = np.arange(2000)
    values = start + slope * epochs + np.random.default_rng(seed).normal(0, noise, len(epochs))
    assert roughness(values) == pytest.approx(noise, rel=0.1)


def test_a_smooth_course_has_none_and_three_epochs_are_the_fewest() -> None:
    assert roughness(np.linspace(1, 0, 50)) == pytest.approx(0, abs=1e-12)
    assert roughness(1 / np.arange(30, 80)) < 1e-4
    assert np.isnan(roughness(np.array([1.0, 0.5])))


def test_the_table_has_a_row_for_each_batch_size(make_run: Callable[..., Run]) -> None:
    configurations = [{"batch_size": size, "depth": depth} for size in (16, 128) for depth in (1, 2)]
    with make_run(configurations, lambda settings, seed, _: settings["batch_size"] / 1000 + 0.1 * seed) as run:
        table = batch_size_table(gather(run))
        assert table is not None
        assert [row[0] for row in table.rows] == ["16", "128"]
        # 0.016 and 0.116 and 0.216: a mean of 11.6 %, and half of the interval by hand, t(2) = 4.303.
        assert table.rows[0][1] == "11.60\u00a0% ± 24.84"
        assert table.rows[0][2] == "0.01"
    with make_run([{"depth": 1}, {"depth": 2}]) as run:
        assert batch_size_table(gather(run)) is None


def test_noise_and_time_are_compared_from_the_smallest_to_the_largest(make_run: Callable[..., Run]) -> None:
    """The made-up loss is a smooth curve times the score, so its roughness is, too."""
    scores = {16: (0.8, 0.6, 0.9), 64: (0.5, 0.5, 0.5), 128: (0.2, 0.3, 0.3)}
    run = make_run(
        [{"batch_size": size} for size in scores], lambda settings, seed, _: scores[settings["batch_size"]][seed]
    )
    (finding,) = find_batch_sizes(gather(run))
    assert finding.numbers["batch_sizes"] == [16, 128]
    assert finding.numbers["noise"] == pytest.approx((4.0 * 2.0 * 3.0) ** (1 / 3))
    assert finding.numbers["low"] < finding.numbers["noise"] < finding.numbers["high"]
    assert finding.sure == (finding.numbers["low"] > 1)
    assert finding.numbers["seconds"] == [pytest.approx(0.01)] * 2
    assert not list(find_batch_sizes(gather(make_run([{"width": 1}, {"width": 2}]))))
