"""Features of frozen layers are computed once, and nothing else changes."""

from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")


def build(rate: float, *, dropout: float = 0.0, seed: int = 7, batch_norm: bool = False) -> Any:
    """A model whose first layers are frozen, with the same weights whatever the trial's seed."""

    def make() -> Any:
        initializer = keras.initializers.GlorotUniform(seed)
        inputs = keras.Input((8, 8, 2))
        body = keras.layers.Conv2D(4, 3, activation="relu", trainable=False, kernel_initializer=initializer)(inputs)
        body = keras.layers.BatchNormalization(trainable=False)(body)
        hidden = keras.layers.GlobalAveragePooling2D()(body)
        hidden = keras.layers.Dense(6, activation="relu")(hidden)
        if batch_norm:
            hidden = keras.layers.BatchNormalization()(hidden)
        if dropout:
            hidden = keras.layers.Dropout(dropout)(hidden)
        model = keras.Model(inputs, keras.layers.Dense(5, activation="softmax")(hidden))
        # Plain gradient descent: Adam would make full steps of the rounding of a bias before a normalization.
        model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    return make


@pytest.mark.parametrize(("dropout", "batch_norm"), [(0.0, True), (0.3, False)])
def test_heads_on_features_equal_whole_models(training: Any, images: Any, dropout: float, batch_norm: bool) -> None:
    from kerasdl.train.frozen import FrozenBodies, body_of

    bodies = FrozenBodies()
    makes = [build(rate, dropout=dropout, batch_norm=batch_norm) for rate in (0.1, 0.5)]
    whole = [training.member(make, number=i, seed=i) for i, make in enumerate(makes)]
    parted = [lambda make=make: bodies.parted(make(), images) for make in makes]
    heads = [training.member(make, number=i, seed=i) for i, make in enumerate(parted)]
    for ways in (training.alone, lambda member, data: training.pack([member], data)):
        training.assert_same(ways(heads[1], images), ways(whole[1], images), 1)
    together = training.pack(heads, images)
    training.assert_same(together, training.alone(whole[0], images), 0)
    assert len(bodies._features) == 1
    # The weights are those of the whole model: they predict what was scored.
    model = makes[1]()
    model.set_weights(together.outcomes[1].weights)
    found = np.asarray(model.predict_on_batch(images.test.x)).argmax(axis=1)
    np.testing.assert_allclose(np.mean(found == images.test.y), together.outcomes[1].test["accuracy"], rtol=1e-5)
    assert body_of(model) is None


def test_what_is_not_frozen_at_the_beginning_is_left_whole(training: Any, images: Any) -> None:
    from kerasdl.train.frozen import FrozenBodies

    bodies = FrozenBodies()

    def trained_first() -> Any:
        model = build(0.01)()
        model.layers[1].trainable = True
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    class Own(keras.Model):
        def train_step(self, *data: Any) -> Any:
            raise NotImplementedError

    first, made = trained_first(), build(0.01)()
    own = Own(made.inputs, made.outputs)
    own.compile("sgd", "sparse_categorical_crossentropy")
    for model in (first, own, "no model", keras.Model(made.inputs, made.outputs)):
        assert bodies.parted(model, images) is model


def test_bodies_that_differ_do_not_share_a_pack(training: Any, images: Any) -> None:
    from kerasdl.train.frozen import FrozenBodies
    from kerasdl.tune.planner import blueprint

    bodies = FrozenBodies()
    members = [
        training.member(lambda seed=seed: bodies.parted(build(0.01, seed=seed)(), images), number=seed)
        for seed in (7, 8)
    ]
    plans = [blueprint(member.longest, images) for member in members]
    assert all(plan.frozen for plan in plans)
    assert plans[0].architecture != plans[1].architecture
    with pytest.raises(ValueError, match="begin with different frozen layers"):
        training.pack(members, images)
