"""Packs on a GPU. `NVIDIA_TF32_OVERRIDE=0` and JAX' precision `highest` make its products as exact as the CPU's."""

import subprocess

import pytest

keras = pytest.importorskip("keras")

pytestmark = pytest.mark.gpu

BUILDS = {
    "dropout": lambda: [keras.layers.Dense(16, activation="relu"), keras.layers.Dropout(0.3)],
    "batch_norm": lambda: [keras.layers.Dense(16), keras.layers.BatchNormalization(), keras.layers.ReLU()],
}


@pytest.fixture(autouse=True)
def free(backend_name):
    """Skips where this backend computes on the CPU; gives the bytes that it says are free."""
    from kerasdl.train.backends import current_backend

    if current_backend().device().startswith("cpu"):
        pytest.skip(f"{backend_name} has no GPU here")
    return current_backend().free_memory()


def total_memory() -> int:
    """Returns the bytes of the first GPU, as its driver tells them."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]) * 2**20


def test_memory_is_the_devices(free):
    assert 0.2 * total_memory() < free <= total_memory()


@pytest.mark.parametrize("name", BUILDS)
def test_members_equal_themselves_alone_and_fit(name, training, dense, table):
    # Adam would turn the rounding of gradients that are zero, as of a bias before a normalization, into whole steps.
    build = dense(lambda: keras.optimizers.SGD(0.05, momentum=0.9), BUILDS[name])
    members = [training.member(build, number=seed, seed=seed) for seed in range(5)]
    packed = training.pack(members, table)
    for number in (0, 4):
        training.assert_same(packed, training.pack([members[number]], table), number)
        training.assert_same(packed, training.alone(members[number], table), number)


def test_convolutions_equal_fit(training, images):
    def build():
        model = keras.Sequential(
            [
                keras.Input((8, 8, 2)),
                keras.layers.Conv2D(4, 3, activation="relu"),
                keras.layers.MaxPooling2D(),
                keras.layers.Flatten(),
                keras.layers.Dense(5, activation="softmax"),
            ]
        )
        model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    members = [training.member(build, number=seed, seed=seed) for seed in (0, 1)]
    training.assert_same(training.pack(members, images), training.alone(members[1], images), 1)


@pytest.mark.parametrize(("name", "captured"), [("batch_norm", True), ("dropout", False)])
def test_steps_are_one_graph_of_kernels_where_no_layer_draws(
    name, captured, training, dense, table, monkeypatch, backend_name
):
    if backend_name != "torch":
        pytest.skip("on other backends a step is a program of the device anyway")
    from kerasdl.train.backends import torch as backend

    played = []

    class Noted(backend.Captured):
        def __call__(self, *arguments):
            played.append(self)
            return super().__call__(*arguments)

    monkeypatch.setattr(backend, "Captured", Noted)
    build = dense(lambda: keras.optimizers.SGD(0.05, momentum=0.9), BUILDS[name])
    training.pack([training.member(build, number=seed, seed=seed) for seed in (0, 1)], table)
    assert bool(played) == captured
