"""Training that was killed goes on after its last checkpoint, with what it would have come to."""

import keras
import numpy as np
import pytest

from kerasdl.train import EarlyStopping
from kerasdl.train.checkpoint import Checkpoint, Checkpoints


class KilledError(Exception):
    pass


class KeptUntil(Checkpoints):
    """Writes after every epoch, and ends the process, as it were, after one of them."""

    def __init__(self, directory, last):
        super().__init__(directory, seconds=0.0)
        self._last = last

    @property
    def due(self):
        return True

    def save(self, key, checkpoint):
        super().save(key, checkpoint)
        if checkpoint.epoch == self._last:
            raise KilledError


def layers():
    # Without a bias, whose gradient before a normalization is rounding alone: Adam takes steps of full size by it.
    return [keras.layers.Dense(6, use_bias=False), keras.layers.BatchNormalization(), keras.layers.Dropout(0.2)]


def members(training, dense, numbers):
    rule = EarlyStopping("val_loss", "min", patience=3)
    # The last one ends before the others, so that the pack may be regrouped.
    return [
        training.member(
            dense(lambda rate=rate: keras.optimizers.Adam(rate), layers), number, number, epochs, early_stopping=rule
        )
        for number, (rate, epochs) in enumerate([(0.003, 5), (0.01, 5), (0.02, 2)])
        if number in numbers
    ]


def test_a_pack_killed_and_resumed_equals_one_that_was_not(training, dense, table, tmp_path):
    whole = training.pack(members(training, dense, (0, 1, 2)), table)
    with pytest.raises(KilledError):
        training.pack(members(training, dense, (0, 1, 2)), table, checkpoints=KeptUntil(tmp_path / "kept", 3))
    kept = Checkpoints(tmp_path / "kept").find([1, 0])
    assert kept is not None
    assert kept.epoch == 3
    resumed = training.pack(members(training, dense, (0, 1)), table, checkpoints=Checkpoints(tmp_path / "kept"))
    for number in (0, 1):
        assert resumed.logs[number][:3] == [{}, {}, {}]
        resumed.logs[number][:3] = whole.logs[number][:3]
        training.assert_same(resumed, whole, number, rtol=1e-5, atol=1e-6)
    assert not list(tmp_path.iterdir())


def test_fit_killed_and_resumed_equals_one_that_was_not(training, dense, table, tmp_path):
    (member,) = members(training, dense, (1,))
    whole = training.alone(member, table)
    with pytest.raises(KilledError):
        training.alone(member, table, KeptUntil(tmp_path / "kept", 2))
    resumed = training.alone(member, table, Checkpoints(tmp_path / "kept"))
    resumed.logs[1][:2] = whole.logs[1][:2]
    training.assert_same(resumed, whole, 1, rtol=1e-5, atol=1e-6)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_found_by_any_of_its_trials_and_by_no_other(tmp_path):
    checkpoints = Checkpoints(tmp_path / "kept")
    assert checkpoints.find([1]) is None
    arrays = {"state.0": np.arange(3.0)}
    checkpoints.save(1, Checkpoint(4, {"trials": [1, 2]}, arrays))
    found = checkpoints.find([2])
    assert found is not None
    assert (found.epoch, found.facts) == (4, {"trials": [1, 2]})
    np.testing.assert_array_equal(found.arrays["state.0"], arrays["state.0"])
    assert checkpoints.find([2, 3]) is None
    (path,) = (tmp_path / "kept").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert checkpoints.find([2]) is None
    checkpoints.discard(1)
    assert checkpoints.find([2]) is None
    assert not (tmp_path / "kept").exists()


def test_checkpoints_are_not_written_more_often_than_asked(tmp_path):
    assert not Checkpoints(tmp_path, seconds=100).due
    eager = Checkpoints(tmp_path, seconds=0)
    assert eager.due
