"""Small real training: a table that can be learned in two epochs, and a recorder that keeps what it is told."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kerasdl.data import Dataset, Scaling, Split

CLASSES = 5


def make_dataset(shape: tuple[int, ...], rows: int) -> Dataset:
    random = np.random.default_rng(0)
    direction = random.normal(size=(int(np.prod(shape)), CLASSES))

    def split(count: int) -> Split:
        x = random.normal(size=(count, *shape)).astype("float32")
        return Split(x, (x.reshape(count, -1) @ direction).argmax(axis=1).astype("int64"))

    scaling = Scaling(np.zeros(shape, "float32"), np.ones(shape, "float32"))
    names = tuple(map(str, range(CLASSES)))
    return Dataset("made", split(rows), split(60), split(50), names, (), scaling, "made by the test", "none", "0")


@pytest.fixture
def table(backend_name: str) -> Dataset:
    """A table of 6 columns whose 200 training rows leave a rest of 8 to batches of 32."""
    return make_dataset((6,), 200)


@pytest.fixture
def images(backend_name: str) -> Dataset:
    """Images of 8 x 8 with 2 channels; 96 training rows."""
    return make_dataset((8, 8, 2), 96)


class Recorder:
    """Keeps everything."""

    def __init__(self) -> None:
        self.logs: dict[int, list[dict[str, float]]] = {}
        self.outcomes: dict[int, Any] = {}
        self.how: dict[int, str] = {}
        self.batches: list[tuple[int, int]] = []

    def started(self, trials: Any, how: str, after_epoch: int = 0) -> None:
        for trial in trials:
            self.how[trial.number] = how
            self.logs[trial.number] = [{} for _ in range(after_epoch)]

    def batch(self, done: int, batches: int) -> None:
        self.batches.append((done, batches))

    def epoch(self, epoch: int, logs: Any, seconds: float, waited: float = 0.0) -> None:
        assert 0 <= waited <= seconds
        for number, own in logs.items():
            kept = self.logs.setdefault(number, [])
            assert len(kept) == epoch - 1
            kept.append(dict(own))

    def finished(self, trial: Any, outcome: Any) -> None:
        assert trial.number not in self.outcomes
        self.outcomes[trial.number] = outcome


@pytest.fixture
def training(backend_name: str) -> SimpleNamespace:
    """Ways to train: `pack(members)`, `alone(member)`, `member(build, ...)`; `assert_same(a, b, number)`."""
    from kerasdl.train import Trial
    from kerasdl.train.alone import train_alone
    from kerasdl.train.pack import PackTrainer
    from kerasdl.train.seats import Member

    def member(build: Callable[[], Any], number: int = 0, seed: int = 0, epochs: Any = 2, **more: Any) -> Member:
        ends = [epochs] if isinstance(epochs, int) else epochs
        more.setdefault("batch_size", 32)
        return Member(tuple(Trial(number + i, 0, seed, build, end, **more) for i, end in enumerate(ends)))

    def pack(
        members: list[Member], dataset: Dataset, timed: str | None = None, checkpoints: Any = None, watch: Any = None
    ) -> Recorder:
        recorder = Recorder()
        PackTrainer(members, dataset, recorder, timed, checkpoints, watch).run("together")
        return recorder

    def alone(one: Member, dataset: Dataset, checkpoints: Any = None, watch: Any = None) -> Recorder:
        recorder = Recorder()
        train_alone(one, dataset, recorder, "alone", checkpoints, watch)
        return recorder

    def assert_same(a: Recorder, b: Recorder, number: int, rtol: float = 1e-4, atol: float = 2e-5) -> None:
        assert a.logs[number]
        assert len(a.logs[number]) == len(b.logs[number])
        for left, right in zip(a.logs[number], b.logs[number], strict=True):
            assert left.keys() == right.keys()
            for name in left:
                np.testing.assert_allclose(left[name], right[name], rtol=rtol, atol=atol, err_msg=name)
        one, other = a.outcomes[number], b.outcomes[number]
        assert one.status == other.status
        for left, right in zip(one.weights, other.weights, strict=True):
            np.testing.assert_allclose(left, right, rtol=rtol, atol=atol)
        assert one.test.keys() == other.test.keys()
        for name in one.test:
            np.testing.assert_allclose(one.test[name], other.test[name], rtol=rtol, atol=atol, err_msg=name)

    return SimpleNamespace(member=member, pack=pack, alone=alone, assert_same=assert_same, Recorder=Recorder)


@pytest.fixture
def dense(backend_name: str) -> Callable[..., Callable[[], Any]]:
    """Gives builders of a small dense network with an optimizer."""
    import keras

    def builder(optimizer: Callable[[], Any] | None = None, layers: Callable[[], list[Any]] | None = None) -> Any:
        def build() -> Any:
            middle = layers() if layers else [keras.layers.Dense(7, activation="relu")]
            model = keras.Sequential([keras.Input((6,)), *middle, keras.layers.Dense(CLASSES, activation="softmax")])
            chosen = optimizer() if optimizer else keras.optimizers.Adam(0.01)
            model.compile(chosen, "sparse_categorical_crossentropy", metrics=["accuracy"])
            return model

        return build

    return builder
