"""Rows that count more than others, in packs and in Keras' `fit`."""

from dataclasses import replace

import keras
import numpy as np


def test_rows_with_weights_equal_fit(training, table):
    weights = np.random.default_rng(1).uniform(0, 3, len(table.train)).astype("float32")
    weighted = replace(table, train=replace(table.train, weights=weights))

    def build(rate):
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, activation="softmax")])
        model.compile(
            keras.optimizers.SGD(rate),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            weighted_metrics=["sparse_categorical_crossentropy"],
        )
        return model

    members = [training.member(lambda rate=rate: build(rate), i, i) for i, rate in enumerate([0.05, 0.1])]
    packed = training.pack(members, weighted)
    for number, member in enumerate(members):
        training.assert_same(packed, training.alone(member, weighted), number)
    assert packed.logs[0][-1]["loss"] != training.pack(members[:1], table).logs[0][-1]["loss"]


def test_half_precision_with_a_scaled_loss_equals_fit(training, table):
    def build(seed_rate):
        policy = keras.DTypePolicy("mixed_float16")
        model = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(8, activation="relu", dtype=policy),
                keras.layers.Dense(5, activation="softmax", dtype="float32"),
            ]
        )
        inner = keras.optimizers.Adam(seed_rate)
        # The first scale overflows, so that steps are left out and the scale is halved.
        optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**40, dynamic_growth_steps=3)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    members = [training.member(lambda rate=rate: build(rate), i, i, epochs=4) for i, rate in enumerate([0.01, 0.02])]
    packed = training.pack(members, table)
    training.assert_same(packed, training.alone(members[1], table), 1, rtol=5e-3, atol=5e-3)
    assert packed.logs[1][-1]["loss"] < packed.logs[1][0]["loss"]
