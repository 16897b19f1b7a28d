"""Splits are disjoint, complete and stratified, whatever the labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasdl.data.split import allot, choose, hold_out, require_rows, three_way
from kerasdl.errors import UserError

sizes_of = st.lists(st.integers(0, 300), min_size=1, max_size=12).filter(any)


def labels_of(sizes, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


@given(sizes_of, st.floats(0, 1))
def test_shares_are_within_one_row_and_add_up(sizes, fraction):
    sizes = np.array(sizes)
    count = round(fraction * int(sizes.sum()))
    given_out = allot(sizes, count)
    assert given_out.sum() == count
    assert (np.abs(given_out - sizes * count / sizes.sum()) < 1).all()
    assert (given_out <= sizes).all() and (given_out >= 0).all()


@given(sizes_of, st.floats(0, 1), st.integers(0, 4), st.integers(0, 4))
def test_bounds_hold_and_the_sum_is_met_where_it_can_be(sizes, fraction, at_least, leave):
    sizes = np.array(sizes)
    count = round(fraction * int(sizes.sum()))
    high = np.maximum(sizes - leave, 0)
    low = np.minimum(at_least, high)
    given_out = allot(sizes, count, at_least=at_least, leave=leave)
    assert (given_out >= low).all() and (given_out <= high).all()
    assert given_out.sum() == np.clip(count, low.sum(), high.sum())


@given(sizes_of, st.floats(0, 1), st.integers(0, 99))
def test_a_sample_and_its_rest_are_every_row_once(sizes, fraction, seed):
    labels = labels_of(sizes, seed)
    drawn, rest = choose(labels, round(fraction * len(labels)), np.random.default_rng(seed))
    assert sorted([*drawn, *rest]) == list(range(len(labels)))


@given(st.lists(st.integers(3, 300), min_size=2, max_size=12), st.integers(0, 99))
def test_three_ways_hold_every_row_once_and_every_class(sizes, seed):
    labels = labels_of(sizes)
    parts = three_way(labels, np.random.default_rng(seed))
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    for rows in parts:
        assert set(labels[rows]) == set(range(len(sizes)))


@given(st.lists(st.integers(5, 300), min_size=2, max_size=12), st.integers(0, 99))
def test_held_out_rows_are_stratified_within_one_row(sizes, seed):
    labels = labels_of(sizes)
    _, held = hold_out(labels, 0.2, np.random.default_rng(seed))
    share = np.array(sizes) * len(held) / len(labels)
    assert len(held) == max(round(0.2 * len(labels)), len(sizes))
    assert (np.abs(np.bincount(labels[held]) - share) <= 1).all()


def test_the_same_seed_splits_alike_and_another_does_not():
    labels = labels_of([50, 70, 90])
    first, again, other = (three_way(labels, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_one_class_is_refused():
    with pytest.raises(UserError, match="place: only one class, 'a'"):
        require_rows(np.zeros(9, int), ("a",), 3, "place")


def test_a_small_class_is_named():
    with pytest.raises(UserError, match=r"class 'b' has 2 rows \(and 1 more classes\), and 3 are needed"):
        require_rows(np.array([0, 0, 0, 1, 1]), ("a", "b", "c"), 3, "place")
