"""A pack changes speed, never results: each member equals itself alone, and Keras' `fit` given the same batches."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")


@pytest.fixture(autouse=True)
def compiled_for_long_runs(monkeypatch):
    """The other tests train for so short that programs are made quickly rather than fast."""
    from kerasdl.train.backends import current_backend

    monkeypatch.setattr(current_backend(), "brief_steps", lambda: 0)


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "amsgrad": lambda: keras.optimizers.Adam(0.01, amsgrad=True),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "adagrad": lambda: keras.optimizers.Adagrad(0.1),
    "adadelta": lambda: keras.optimizers.Adadelta(1.0),
    "adamax": lambda: keras.optimizers.Adamax(0.01),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
    "ftrl": lambda: keras.optimizers.Ftrl(0.1),
    "lion": lambda: keras.optimizers.Lion(0.005),
    "lamb": lambda: keras.optimizers.Lamb(0.01),
    "clipnorm": lambda: keras.optimizers.SGD(0.1, clipnorm=0.05),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.1),
    "clipvalue": lambda: keras.optimizers.SGD(0.1, clipvalue=0.01),
    "schedule": lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.2, 5, 0.5)),
    "accumulated": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=3),
    "accumulated_clipped": lambda: keras.optimizers.AdamW(0.01, clipnorm=0.05, gradient_accumulation_steps=3),
    "ema": lambda: keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_members_equal_fit_with_every_optimizer(name, training, dense, table):
    members = [training.member(dense(OPTIMIZERS[name]), number=seed, seed=seed) for seed in (0, 1)]
    training.assert_same(training.pack(members, table), training.alone(members[1], table), 1)


LAYERS = {
    "batch_norm": lambda: [keras.layers.Dense(6), keras.layers.BatchNormalization(), keras.layers.ReLU()],
    "layer_norm": lambda: [keras.layers.Dense(6), keras.layers.LayerNormalization()],
    "group_norm": lambda: [keras.layers.Dense(6), keras.layers.GroupNormalization(2)],
    "unit_norm": lambda: [keras.layers.Dense(6), keras.layers.UnitNormalization()],
    "regularized": lambda: [
        keras.layers.Dense(6, kernel_regularizer="l2", activity_regularizer=keras.regularizers.L2(0.01))
    ],
    "constrained": lambda: [keras.layers.Dense(6, kernel_constraint=keras.constraints.MaxNorm(0.5))],
    "frozen": lambda: [keras.layers.Dense(6, trainable=False), keras.layers.Dense(4, activation="relu")],
    "embedding": lambda: [
        keras.layers.Lambda(lambda x: keras.ops.cast(keras.ops.abs(x) * 2, "int32") % 9),
        keras.layers.Embedding(9, 3),
        keras.layers.Flatten(),
    ],
    "convolution_1d": lambda: [
        keras.layers.Reshape((6, 1)),
        keras.layers.Conv1D(3, 2, activation="relu"),
        keras.layers.GlobalAveragePooling1D(),
    ],
}


@pytest.mark.parametrize("name", LAYERS)
def test_members_equal_fit_with_every_layer(name, training, dense, table):
    # Plain gradient descent: Adam would turn the rounding of gradients that are zero, as of a bias before a
    # normalization, into steps of full size.
    build = dense(lambda: keras.optimizers.SGD(0.05), LAYERS[name])
    members = [training.member(build, number=seed, seed=seed) for seed in (0, 1)]
    if name == "convolution_1d" and keras.backend.backend() == "tensorflow":
        # TensorFlow's vectorizer takes no convolution whose kernels differ between members.
        with pytest.raises(ValueError, match="loop invariant"):
            training.pack(members, table)
        members = members[1:]
    training.assert_same(training.pack(members, table), training.alone(members[-1], table), 1)


@pytest.mark.parametrize("steps", [1, 100, 10**9])
def test_convolutions_and_pooling_equal_fit_whichever_way_is_faster(training, images, monkeypatch, steps):
    from kerasdl.train import programs
    from kerasdl.train.pack import PackTrainer

    monkeypatch.setattr(programs, "_chosen", {})
    monkeypatch.setattr(PackTrainer, "_steps_to_come", lambda trainer: steps)
    if steps == 100:
        monkeypatch.setattr(programs, "_seconds", lambda *arguments: (10.0, 0.001))

    def build():
        model = keras.Sequential(
            [
                keras.Input((8, 8, 2)),
                keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
                keras.layers.BatchNormalization(),
                keras.layers.MaxPooling2D(),
                keras.layers.DepthwiseConv2D(3),
                keras.layers.AveragePooling2D(2),
                keras.layers.Flatten(),
                keras.layers.Dense(5, activation="softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    members = [training.member(build, seed, seed) for seed in (0, 1)]
    packed = training.pack(members, images, timed="a small network")
    training.assert_same(packed, training.alone(members[1], images), 1)
    training.assert_same(training.pack(members[1:], images), packed, 1)
    if steps <= 100:
        why = "are too few to try the other way" if steps == 1 else "take less time than trying the other way"
        assert packed.how[0] == f"together; one member after another: {steps} steps {why}"
        assert not programs._chosen
    else:
        (choice,) = programs._chosen.values()
        assert packed.how[0] == f"together; {choice.why}"
        assert ("times as long" in choice.why) or ("mapping over them fails" in choice.why)


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)], ids=["the same rows", "other rows"])
def test_members_in_turn_are_compiled_before_they_train(training, images, monkeypatch, seeds):
    from kerasdl.train.pack import PackTrainer

    monkeypatch.setattr(PackTrainer, "_steps_to_come", lambda trainer: 1)

    def build(rate):
        model = keras.Sequential(
            [
                keras.Input((8, 8, 2)),
                keras.layers.Conv2D(4, 3),
                keras.layers.Flatten(),
                keras.layers.Dense(5, "softmax"),
            ]
        )
        model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
        return model

    makers = [lambda rate=rate: build(rate) for rate in (0.1, 0.01)]
    members = [
        training.member(make, number, seed) for number, (make, seed) in enumerate(zip(makers, seeds, strict=True))
    ]
    trainer = PackTrainer(members, images, training.Recorder(), timed="a small network")
    assert not trainer.choice.together
    trainer.prepare()
    trainer.run("in turn")
    assert trainer.ended


def test_a_member_equals_itself_alone_and_in_any_order(training, dense, table):
    rates = [0.001, 0.01, 0.1]
    members = [
        training.member(dense(lambda rate=rate: keras.optimizers.Adam(rate)), number=number, seed=number)
        for number, rate in enumerate(rates)
    ]
    together, reversed_ = training.pack(members, table), training.pack(members[::-1], table)
    for number, member in enumerate(members):
        training.assert_same(together, training.pack([member], table), number)
        training.assert_same(together, reversed_, number)


def test_members_that_share_their_seed_share_batches_and_still_differ(training, dense, table):
    rates = [0.001, 0.05]
    members = [
        training.member(dense(lambda rate=rate: keras.optimizers.SGD(rate)), number=number)
        for number, rate in enumerate(rates)
    ]
    packed = training.pack(members, table)
    for number, member in enumerate(members):
        training.assert_same(packed, training.alone(member, table), number)
    assert packed.logs[0][-1]["loss"] > packed.logs[1][-1]["loss"]


@pytest.mark.parametrize("shared_seed", [True, False])
def test_a_member_that_diverges_touches_no_other(shared_seed, training, dense, table):
    def members(rate):
        rates = [0.01, rate, 0.02]
        return [
            training.member(
                dense(lambda rate=rate: keras.optimizers.SGD(rate)), number=number, seed=0 if shared_seed else number
            )
            for number, rate in enumerate(rates)
        ]

    wild, tame = training.pack(members(1e30), table), training.pack(members(0.01), table)
    assert wild.outcomes[1].status == "diverged"
    assert "not finite in epoch 1" in wild.outcomes[1].message
    assert tame.outcomes[1].status == "completed"
    for number in (0, 2):
        assert wild.logs[number] == tame.logs[number]
        for left, right in zip(wild.outcomes[number].weights, tame.outcomes[number].weights, strict=True):
            np.testing.assert_array_equal(left, right)


def test_stages_that_trials_share_equal_trials_trained_apart(training, dense, table):
    shared = training.pack([training.member(dense(), epochs=[1, 2, 4])], table)
    for number, epochs in enumerate([1, 2, 4]):
        apart = training.pack([training.member(dense(), number=number, epochs=epochs)], table)
        training.assert_same(shared, apart, number)
        assert len(shared.logs[number]) == epochs


def test_early_stopping_ends_each_member_by_itself_with_its_best_weights(training, dense, table):
    from kerasdl.train import EarlyStopping

    rule = EarlyStopping("val_loss", "min", patience=1, min_delta=0.05)
    members = [
        training.member(
            dense(lambda rate=rate: keras.optimizers.SGD(rate)), number=number, epochs=6, early_stopping=rule
        )
        for number, rate in enumerate([1e-5, 0.3])
    ]
    packed = training.pack(members, table)
    assert len(packed.logs[0]) == 2
    assert len(packed.logs[1]) > 2
    for number, member in enumerate(members):
        training.assert_same(packed, training.alone(member, table), number)
        best = packed.logs[number][0]
        for logs in packed.logs[number]:
            best = logs if logs["val_loss"] < best["val_loss"] - rule.min_delta else best
        assert packed.outcomes[number].logs == best


def test_a_pack_that_lets_members_go_gives_what_it_would_have_given(training, dense, table, monkeypatch):
    from kerasdl.train.pack import PackTrainer

    members = [
        training.member(dense(lambda rate=rate: keras.optimizers.Adam(rate)), number=number, seed=number, epochs=epochs)
        for number, (rate, epochs) in enumerate([(0.01, 6), (0.02, 2), (0.03, 6), (1e30, 6)])
    ]
    kept = training.pack(members, table)
    sizes = []
    make = PackTrainer._make_programs
    monkeypatch.setattr(PackTrainer, "_make_programs", lambda self: (sizes.append(len(self._seats)), make(self))[1])
    regroup = PackTrainer._regroup
    monkeypatch.setattr(PackTrainer, "_regroup", lambda self, epoch, seconds: regroup(self, epoch, 1.0))
    let_go = training.pack(members, table)
    assert sizes == [4, 2]
    for number in (0, 1, 2):
        training.assert_same(let_go, kept, number)
    assert let_go.outcomes[3].status == kept.outcomes[3].status


def test_outcome_holds_test_metrics_of_the_weights_it_holds(training, dense, table):
    outcome = training.pack([training.member(dense())], table).outcomes[0]
    model = dense()()
    model.set_weights(outcome.weights)
    expected = model.evaluate(table.test.x, table.test.y, verbose=0, return_dict=True)
    assert outcome.test == pytest.approx(expected, rel=1e-4)
    assert outcome.confusion.sum() == len(table.test)
    assert np.trace(outcome.confusion) / len(table.test) == pytest.approx(outcome.test["accuracy"], abs=1e-6)
    assert outcome.parameters == sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def test_binary_classifiers_with_one_unit(training, table):
    from dataclasses import replace

    binary = replace(
        table,
        **{
            name: replace(getattr(table, name), y=getattr(table, name).y % 2)
            for name in ("train", "validation", "test")
        },
    )

    def build():
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, activation="sigmoid")])
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        return model

    members = [training.member(build, number=seed, seed=seed) for seed in (0, 1)]
    packed = training.pack(members, binary)
    for number, member in enumerate(members):
        training.assert_same(packed, training.alone(member, binary), number)
    assert packed.outcomes[0].confusion.shape == (2, 2)


def test_convolutions_in_a_loop_of_the_devices_own_equal_fit(training, images, monkeypatch):
    if keras.backend.backend() != "jax":
        pytest.skip("JAX calls the steps of convolutions one by one on processors alone")
    import jax

    def build():
        middle = [keras.layers.Conv2D(2, 3, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(5)]
        model = keras.Sequential([keras.Input((8, 8, 2)), *middle])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.05), loss, metrics=["accuracy"])
        return model

    members = [training.member(build, seed, seed, batch_size=36) for seed in (0, 1)]
    alone = training.alone(members[1], images)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    packed = training.pack(members, images, timed="a small network")
    assert packed.batches == []
    training.assert_same(packed, alone, 1)


def test_an_epoch_tells_how_far_it_is_where_python_calls_its_steps(training, images, monkeypatch):
    from kerasdl.train import trial

    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow runs an epoch as one program")
    monkeypatch.setattr(trial, "TOLD_EVERY", -1.0)

    def build():
        model = keras.Sequential(
            [keras.Input((8, 8, 2)), keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(5)]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, metrics=["accuracy"])
        return model

    members = [training.member(build, seed, seed, batch_size=36) for seed in (0, 1)]
    told = training.pack(members, images, timed="a small network").batches
    ways = {batches for _, batches in told}
    assert ways in ({3}, {6})
    (steps,) = ways
    assert told == [(done, steps) for _ in range(2) for done in range(1, steps + 1)]
