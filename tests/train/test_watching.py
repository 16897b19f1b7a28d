"""What packs see of gradients is what Keras' `fit` sees of them, and seeing it changes nothing."""

from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    # The gradient is seen before it is clipped.
    "clipped": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.01),
    "decoupled": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    # Not stepped as one flat tensor.
    "lamb": lambda: keras.optimizers.Lamb(0.01),
    # Overflows in its first steps, which then move nothing.
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-5), initial_scale=2.0**112),
    "factor": lambda: keras.optimizers.SGD(0.1, loss_scale_factor=8.0),
    "accumulated": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=3),
}


@pytest.fixture
def watched(training: Any, table: Any) -> Any:
    """Trains a pack, or its last member by `fit`, and gives what was seen: names and rows by trial and epoch."""
    from kerasdl.watch.trials import TrialWatch

    def train(members: list[Any], how: str, layers: Any = None, every: int = 1) -> tuple[Any, Any, dict[Any, Any]]:
        names: list[Any] = []
        seen: dict[Any, Any] = {}

        def tell(epoch: int, found: Any, rows: Any) -> None:
            names[:] = found
            for trial, own in rows.items():
                assert (trial, epoch) not in seen
                seen[trial, epoch] = own

        watch = TrialWatch(layers, every, tell)
        recorder = (
            training.pack(members, table, watch=watch)
            if how == "pack"
            else training.alone(members[-1], table, watch=watch)
        )
        return recorder, names, seen

    return train


def two(training: Any, build: Any) -> list[Any]:
    return [training.member(build, number=seed, seed=seed) for seed in (0, 1)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_packs_see_what_fit_sees(name: str, training: Any, dense: Any, watched: Any) -> None:
    layers = {"scaled": lambda: [keras.layers.Rescaling(10.0), keras.layers.Dense(7)]}
    members = two(training, dense(OPTIMIZERS[name], layers.get(name)))
    _, names, seen = watched(members, "pack")
    if name == "scaled":
        assert np.isfinite(seen[1, 2][:, 0, 2]).any()
        # TensorFlow's loss goes by the logits and does not overflow here.
        assert np.isnan(seen[1, 1][0, 0, 2]) or keras.backend.backend() == "tensorflow"
    _, by_fit, alone = watched(members, "fit")
    assert names == by_fit == [(layer, part) for layer in ("dense", "dense_1") for part in ("kernel", "bias")]
    assert set(seen) == {(trial, epoch) for trial in (0, 1) for epoch in (1, 2)}
    for epoch in (1, 2):
        # 200 rows are 6 batches of 32 and one of 8.
        assert seen[1, epoch].shape == (7, 4, 4)
        assert np.isfinite(seen[1, epoch]).any()
        np.testing.assert_allclose(seen[1, epoch], alone[1, epoch], rtol=2e-4, atol=1e-6)


def test_every_nth_step_and_chosen_layers(training: Any, dense: Any, watched: Any) -> None:
    members = two(training, dense())
    _, _, whole = watched(members, "pack")
    for how in ("pack", "fit"):
        _, names, seen = watched(members, how, layers=["dense_1"], every=3)
        assert names == [("dense_1", "kernel"), ("dense_1", "bias")]
        np.testing.assert_allclose(seen[1, 2], whole[1, 2][::3, 2:], rtol=1e-4, atol=1e-6)


def test_results_are_the_same_with_it_and_without(training: Any, dense: Any, table: Any, watched: Any) -> None:
    members = two(training, dense())
    recorder, _, _ = watched(members, "pack")
    training.assert_same(recorder, training.pack(members, table), 1, rtol=1e-5, atol=1e-6)


def test_members_in_turn_see_the_same(
    training: Any, dense: Any, watched: Any, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kerasdl.train import pack
    from kerasdl.train.programs import Choice

    members = two(training, dense())
    _, _, together = watched(members, "pack")
    monkeypatch.setattr(pack, "choose", lambda *arguments: Choice(False))
    _, _, in_turn = watched(members, "pack")
    for key, rows in together.items():
        np.testing.assert_allclose(rows, in_turn[key], rtol=1e-4, atol=1e-6)
