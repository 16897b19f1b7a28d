"""Statistics of an epoch's steps."""

import numpy as np
import pytest

from kerasdl.watch.table import STATISTICS, Table, statistics


@pytest.mark.parametrize("steps", [1, 2, 7, 200])
def test_statistics_are_numpys_of_the_finite_values(steps: int) -> None:
    random = np.random.default_rng(steps)
    values = random.normal(size=(steps, 5, 4)).astype("float32")
    values[random.random(values.shape) < 0.2] = np.nan
    values[random.random(values.shape) < 0.1] = np.inf
    values[:, 2, 1] = np.nan
    found = statistics(values)
    for place in np.ndindex(5, 4):
        own = values[(slice(None), *place)].astype("float64")
        own = own[np.isfinite(own)]
        assert (found["steps"][place], found["not_finite"][place]) == (len(own), steps - len(own))
        quantiles = np.quantile(own, [0.5, 0.05, 0.95, 1]) if len(own) else [np.nan] * 4
        expected = [own.mean() if len(own) else np.nan, *quantiles]
        np.testing.assert_allclose([found[name][place] for name in STATISTICS], expected, rtol=1e-12, atol=1e-15)


def test_without_a_step_there_is_nothing_to_say() -> None:
    found = statistics(np.zeros((0, 3, 4), "float32"))
    assert all(np.isnan(found[name]).all() and found[name].shape == (3, 4) for name in STATISTICS)
    assert not found["steps"].any()


def test_rows_are_added_one_by_one_and_by_column() -> None:
    table = Table(["a", "b"])
    table.add({"a": 1, "b": "x"})
    table.extend({"b": ["y", "z"], "a": [2, 3]})
    assert table.frame().to_dict("list") == {"a": [1, 2, 3], "b": ["x", "y", "z"]}
