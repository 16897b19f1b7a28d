"""Batches are fetched ahead, in the order that packs take, and who waits for them is told how long."""

import time

import numpy as np
import pytest

from kerasdl.data import Split
from kerasdl.train.order import row_order


@pytest.fixture
def split(backend_name):
    return Split(np.arange(40, dtype="float32").reshape(20, 2), np.arange(20, dtype="int64"), np.ones(20, "float32"))


def test_batches_hold_the_rows_of_the_order_from_where_they_go_on(split):
    from kerasdl.train.batches import OrderedBatches, SequentialBatches

    with OrderedBatches(split, seed=3, batch_size=6) as batches:
        for epoch, skipped in ((1, 0), (2, 3), (3, 1)):
            batches.begin(epoch, skipped)
            found = [batches[number] for number in range(len(batches))]
            order = row_order(20, 3, epoch)[6 * skipped :]
            np.testing.assert_array_equal(np.concatenate([y for _, y, _ in found]), order)
            np.testing.assert_array_equal(np.concatenate([x for x, _, _ in found]), split.x[order])
            # Backends ask for the first again.
            np.testing.assert_array_equal(batches[0][1], order[:6])
        assert batches.count == 4
    with SequentialBatches(split, 8) as batches:
        assert [len(batches[number][1]) for number in range(len(batches))] == [8, 8, 4]


class SlowArray(np.ndarray):
    """An array whose rows take their time."""

    def take(self, *arguments, **named):
        time.sleep(0.02)
        return np.asarray(self).take(*arguments, **named)


@pytest.mark.parametrize(("work", "waits"), [(0.0, True), (0.03, False)])
def test_waiting_is_what_fetching_takes_beyond_the_work_between(split, work, waits):
    from kerasdl.train.batches import OrderedBatches

    with OrderedBatches(Split(split.x.view(SlowArray), split.y), seed=0, batch_size=1) as batches:
        for number in range(len(batches)):
            batches[number]
            time.sleep(work)
        # Two threads fetch: 20 batches in 0.2 s.
        assert (batches.waited > 0.12) == waits
