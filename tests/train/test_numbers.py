"""Members that differ in one number: each is what Keras' `fit` makes of it alone."""

from dataclasses import replace

import keras
import pytest

from kerasdl.train import numbers
from kerasdl.watch.schedules import OneCycle, Triangular

schedules = keras.optimizers.schedules


def cosine(value):
    return schedules.CosineDecay(0.05, 10, alpha=value)


def exponential(value):
    return schedules.ExponentialDecay(value, 5, 0.9)


OPTIMIZERS = {
    "learning_rate": lambda value: keras.optimizers.SGD(value),
    "weight_decay": lambda value: keras.optimizers.AdamW(0.01, weight_decay=value),
    "beta_1": lambda value: keras.optimizers.Adam(0.01, beta_1=value),
    "beta_2": lambda value: keras.optimizers.Adam(0.01, beta_2=value),
    "rho": lambda value: keras.optimizers.RMSprop(0.01, rho=value),
    "epsilon": lambda value: keras.optimizers.Adagrad(0.05, epsilon=value),
    "momentum": lambda value: keras.optimizers.SGD(0.05, momentum=value),
    "nesterov momentum": lambda value: keras.optimizers.SGD(0.05, momentum=value, nesterov=True),
    "rmsprop momentum": lambda value: keras.optimizers.RMSprop(0.01, momentum=value),
    "clipnorm": lambda value: keras.optimizers.SGD(0.05, clipnorm=value / 5),
    "global clipnorm": lambda value: keras.optimizers.SGD(0.05, global_clipnorm=value * 2),
    "cosine alpha": lambda value: keras.optimizers.SGD(cosine(value)),
    "triangular": lambda value: keras.optimizers.SGD(Triangular(0.001, value, 4)),
    "one cycle": lambda value: keras.optimizers.SGD(OneCycle(value, 12)),
    "exponential rate": lambda value: keras.optimizers.SGD(exponential(value)),
}

LAYERS = {
    "L1": lambda value: [keras.layers.Dense(6, kernel_regularizer=keras.regularizers.L1(value))],
    "L2": lambda value: [keras.layers.Dense(6, kernel_regularizer=keras.regularizers.L2(value))],
    "L1L2": lambda value: [keras.layers.Dense(6, kernel_regularizer=keras.regularizers.L1L2(value, value / 2))],
    "dropout": lambda value: [keras.layers.Dense(6), keras.layers.Dropout(value)],
    "seeded dropout": lambda value: [keras.layers.Dense(6), keras.layers.Dropout(value, seed=3)],
    "noise": lambda value: [keras.layers.GaussianNoise(value)],
}


def check(training, members, table):
    packed = training.pack(members, table)
    for number, member in enumerate(members):
        training.assert_same(packed, training.alone(member, table), number)
    assert packed.logs[0][-1]["loss"] != packed.logs[1][-1]["loss"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_numbers_of_the_optimizer_and_its_schedule(name, training, dense, table):
    members = [
        training.member(dense(lambda value=value: OPTIMIZERS[name](value)), number=number)
        for number, value in enumerate([0.05, 0.5])
    ]
    check(training, members, table)


@pytest.mark.parametrize("name", LAYERS)
def test_numbers_of_layers_and_their_regularizers(name, training, dense, table):
    members = [
        training.member(dense(lambda: keras.optimizers.SGD(0.05), lambda value=value: LAYERS[name](value)), number)
        for number, value in enumerate([0.1, 0.4])
    ]
    check(training, members, table)


def test_label_smoothing(training, table):
    binary = replace(
        table,
        **{
            name: replace(getattr(table, name), y=getattr(table, name).y % 2)
            for name in ("train", "validation", "test")
        },
    )

    def build(smoothing):
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, activation="sigmoid")])
        model.compile("sgd", keras.losses.BinaryCrossentropy(label_smoothing=smoothing), metrics=["accuracy"])
        return model

    members = [training.member(lambda value=value: build(value), number) for number, value in enumerate([0.1, 0.4])]
    check(training, members, binary)


def test_what_is_zero_builds_another_program(backend_name):
    def names(rate, momentum):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(rate)])
        model.compile(keras.optimizers.SGD(0.1, momentum=momentum), "mse")
        found = [*numbers.of_model(model), *numbers.of_optimizer(model.optimizer)]
        return {number.name.rsplit(".")[-1] for number in found}

    assert names(0.0, 0.0) == set()
    assert names(0.3, 0.0) == {"rate"}
    assert names(0.3, 0.9) == {"rate", "momentum"}
