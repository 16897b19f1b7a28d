"""Training that was killed goes on after its last checkpoint, with what it would have come to."""

import keras
import numpy as np
import pytest

from kerasdl.train import EarlyStopping
from kerasdl.train.checkpoint import Checkpoint, Checkpoints


class KilledError(Exception):
    pass


class KeptUntil(Checkpoints):
    """Writes after every epoch, or every batch, and ends the process, as it were, after one of them."""

    def __init__(self, directory, epoch, batch=0):
        super().__init__(directory, seconds=0.0 if batch else None, epochs=1)
        self._last = (epoch, batch)

    def due(self, key):
        return bool(self._last[1])

    def save(self, key, checkpoint):
        super().save(key, checkpoint)
        if (checkpoint.epoch, checkpoint.facts.get("standing", {}).get("batch", 0)) == self._last:
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
    kept = Checkpoints(tmp_path / "kept").find([1, 0], "pack")
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


def augmented(mean):
    """A model that draws: which images are turned, which features are dropped; and that averages its weights."""

    def build():
        rate = keras.optimizers.schedules.CosineDecay(0.02, 12)
        layers = [
            keras.Input((8, 8, 2)),
            keras.layers.RandomFlip(),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(5, activation="softmax"),
        ]
        model = keras.Sequential(layers)
        optimizer = keras.optimizers.Adam(rate, use_ema=mean, ema_momentum=0.5, gradient_accumulation_steps=2)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    return build


@pytest.mark.parametrize(("epoch", "batch", "mean"), [(0, 1, True), pytest.param(2, 3, False, marks=pytest.mark.slow)])
def test_fit_killed_within_an_epoch_and_resumed_equals_one_that_was_not(training, images, tmp_path, epoch, batch, mean):
    rule = EarlyStopping("val_loss", "min", patience=3)
    member = training.member(augmented(mean), epochs=[1, 4], batch_size=20, early_stopping=rule)
    whole = training.alone(member, images)
    with pytest.raises(KilledError):
        training.alone(member, images, KeptUntil(tmp_path / "kept", epoch, batch))
    found = Checkpoints(tmp_path / "kept").find([1], "fit")
    assert (found.epoch, found.facts["standing"]["batch"]) == (epoch, batch)
    left = training.member(augmented(mean), number=1, epochs=4, batch_size=20, early_stopping=rule) if epoch else member
    resumed = training.alone(left, images, Checkpoints(tmp_path / "kept"))
    assert resumed.logs[1][epoch:] == whole.logs[1][epoch:]
    one, other = resumed.outcomes[1], whole.outcomes[1]
    for left, right in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(left, right)
    assert one.test == other.test
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_model_is_none(training, dense, table, tmp_path):
    def wider():
        return [keras.layers.Dense(9)]

    with pytest.raises(KilledError):
        training.alone(training.member(dense(layers=wider), epochs=3), table, KeptUntil(tmp_path / "kept", 1))
    member = training.member(dense(), epochs=3)
    again = training.alone(member, table, Checkpoints(tmp_path / "kept"))
    training.assert_same(again, training.alone(member, table), 0)


def test_a_checkpoint_is_found_by_any_of_its_trials_and_by_no_other(tmp_path):
    checkpoints = Checkpoints(tmp_path / "kept")
    assert checkpoints.find([1], "fit") is None
    arrays = {"state.0": np.arange(3.0)}
    checkpoints.save(1, Checkpoint(4, {"kind": "fit", "trials": [1, 2]}, arrays))
    found = checkpoints.find([2], "fit")
    assert found is not None
    assert (found.epoch, found.facts) == (4, {"kind": "fit", "trials": [1, 2]})
    np.testing.assert_array_equal(found.arrays["state.0"], arrays["state.0"])
    assert checkpoints.find([2, 3], "fit") is None
    assert checkpoints.find([2], "pack") is None
    (path,) = (tmp_path / "kept").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert checkpoints.find([2], "fit") is None
    checkpoints.discard(1)
    assert checkpoints.find([2], "fit") is None
    assert not (tmp_path / "kept").exists()


def test_checkpoints_are_not_written_more_often_than_asked(tmp_path):
    def begun(**options):
        checkpoints = Checkpoints(tmp_path, **options)
        checkpoints.begin(3)
        return checkpoints

    assert not begun(seconds=100).due(3)
    assert begun(seconds=0).due(3)
    counted = begun(seconds=None, epochs=2)
    assert not counted.due(3)
    assert [epoch for epoch in range(1, 6) if counted.due_after(epoch, 3)] == [2, 4]


def test_packs_side_by_side_are_kept_each_in_its_own_time(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr("kerasdl.train.checkpoint.time.monotonic", lambda: now)
    checkpoints = Checkpoints(tmp_path / "kept", seconds=30)
    checkpoints.begin(1)
    now = 20.0
    checkpoints.begin(2)
    now = 31.0
    assert checkpoints.due(1) and not checkpoints.due(2)
    checkpoints.save(1, Checkpoint(4, {"kind": "pack", "trials": [1]}, {}))
    assert not checkpoints.due(1)
    now = 51.0
    assert checkpoints.due(2) and not checkpoints.due(1)
