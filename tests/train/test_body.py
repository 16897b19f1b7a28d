"""A body learns in smaller steps than its head, or later, by `fit` and in packs alike."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1, global_clipnorm=0.5),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
    "lamb": lambda: keras.optimizers.Lamb(0.01),
    "accumulated": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=3),
}


def build(optimizer: Callable[[], Any], rate: float = 1.0, unfreeze_steps: int = 0) -> Callable[[], Any]:
    def make() -> Any:
        from kerasdl.train.body import slow_body

        body = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(4, activation="relu")]
        )
        inputs = keras.Input((6,))
        model = keras.Model(inputs, keras.layers.Dense(5, activation="softmax")(body(inputs)))
        model.compile(optimizer(), "sparse_categorical_crossentropy", metrics=["accuracy"])
        if (rate, unfreeze_steps) != (1.0, 0):
            assert slow_body(model, rate, unfreeze_steps)
        return model

    return make


def moved(make: Callable[[], Any], data: Any, batches: int) -> list[np.ndarray]:
    """How far each weight moves in so many batches, the weights at the start the same whatever is slow."""
    keras.utils.set_random_seed(3)
    model = make()
    before = [np.array(value) for value in model.get_weights()]
    for _ in range(batches):
        model.train_on_batch(data.train.x[:32], data.train.y[:32])
    return [after - old for after, old in zip(model.get_weights(), before, strict=True)]


@pytest.mark.parametrize("name", ["momentum", "nadam"])
def test_a_body_takes_its_share_of_a_step_and_the_head_the_whole(name: str, table: Any) -> None:
    whole, slow = (moved(build(OPTIMIZERS[name], rate), table, 1) for rate in (1.0, 0.1))
    for place, (full, own) in enumerate(zip(whole, slow, strict=True)):
        np.testing.assert_allclose(own, full * (0.1 if place < 4 else 1.0), rtol=1e-3, atol=1e-6)
        assert np.abs(own).max() > 0


def test_layers_of_a_body_begin_to_learn_from_the_last_to_the_first(table: Any) -> None:
    make = build(OPTIMIZERS["adamw"], unfreeze_steps=4)
    learns = {count: [bool(np.abs(step).max() > 0) for step in moved(make, table, count)] for count in (1, 2, 3)}
    assert learns[1] == learns[2] == [False, False, True, True, True, True]
    assert all(learns[3])


@pytest.mark.parametrize("name", ["adamw", "lamb", "accumulated"])
def test_packs_equal_fit(name: str, training: Any, table: Any) -> None:
    members = [
        training.member(build(OPTIMIZERS[name], rate, unfreeze_steps=8), number=seed, seed=seed)
        for seed, rate in enumerate((0.5, 0.05))
    ]
    packed = training.pack(members, table)
    alone = training.alone(members[1], table)
    training.assert_same(packed, alone, 1)
    assert any(
        not np.allclose(one, other, atol=1e-3)
        for one, other in zip(packed.outcomes[0].weights, packed.outcomes[1].weights, strict=True)
    )


def test_the_head_of_a_model_whose_beginning_is_frozen_learns_as_the_whole_does(training: Any, images: Any) -> None:
    from kerasdl.train.body import slow_body
    from kerasdl.train.frozen import FrozenBodies, body_of

    def make() -> Any:
        inputs = keras.Input((8, 8, 2))
        maps = keras.layers.Conv2D(4, 3, trainable=False, kernel_initializer=keras.initializers.GlorotUniform(7))(
            inputs
        )
        middle = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, activation="relu")])
        hidden = middle(keras.layers.GlobalAveragePooling2D()(maps))
        model = keras.Model(inputs, keras.layers.Dense(5, activation="softmax")(hidden))
        model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy", metrics=["accuracy"])
        slow_body(model, 0.01)
        return model

    bodies = FrozenBodies()
    head = training.member(lambda: bodies.parted(make(), images))
    assert body_of(head.longest.build()) is not None
    training.assert_same(training.pack([head], images), training.alone(training.member(make), images), 0)
