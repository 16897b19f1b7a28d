"""What shares a program, what shares its epochs, what runs alone and why."""

import pytest

from kerasdl.tune import Study


@pytest.fixture
def packs(backend_name):
    """Plans a study's first round."""
    from kerasdl.tune.planner import plan
    from kerasdl.tune.trials import TrialMaker

    def make(study, memory=None):
        maker = TrialMaker(study, study.load_data())
        varied = maker.proposals().ask()
        trials = maker.trials({number: study.settings(values) for number, values in varied.items()})
        blueprints, errors = maker.blueprints(trials)
        assert not errors
        planned = plan(trials, blueprints, memory)
        assert sorted(trial.number for pack in planned for trial in pack.trials) == [t.number for t in trials]
        return planned

    return make


def make(space, **keys):
    keys = {"data": "xor?rows=60", "model": "mlp", **({} if "epochs" in space else {"epochs": 2}), **keys}
    return Study(space=space, **keys)


@pytest.mark.parametrize(
    ("space", "count", "keys"),
    [
        ({"learning_rate": [0.1, 0.01]}, 1, {}),
        ({"learning_rate": [0.1, 0.01]}, 1, {"repeats": 3}),
        ({"l2": [0.1, 0.01]}, 1, {}),
        ({"l2": [0.0, 0.01]}, 2, {}),
        ({"weight_decay": [0.1, 0.01]}, 1, {"optimizer": "adamw"}),
        ({"beta_1": [0.8, 0.9]}, 1, {}),
        ({"epochs": [1, 2, 4]}, 1, {}),
        ({"depth": [1, 2]}, 2, {}),
        ({"width": [4, 8]}, 2, {}),
        ({"batch_size": [16, 32]}, 2, {}),
        ({"optimizer": ["sgd", "adam"]}, 2, {}),
        ({"activation": ["relu", "tanh"]}, 2, {}),
        ({"batch_norm": [False, True]}, 2, {}),
        ({"initializer": ["he_normal", "he_uniform"]}, 1, {}),
        ({"momentum": [0.5, 0.9]}, 1, {"optimizer": "sgd"}),
        ({"global_clipnorm": [1.0, 0.1]}, 1, {}),
        ({"clipvalue": [1.0, 0.1]}, 2, {}),
        # Without momentum there is no velocity to keep: another program.
        ({"momentum": [0.0, 0.9]}, 2, {"optimizer": "sgd"}),
    ],
)
def test_trials_share_a_program_where_they_differ_in_numbers_alone(space, count, keys, packs):
    assert len(packs(make(space, **keys))) == count


def test_trials_that_start_from_other_weights_share_a_program_but_no_epochs(packs):
    (pack,) = packs(make({"initializer": ["he_normal", "he_uniform"], "epochs": [1, 2]}))
    assert len(pack.members) == 2


def test_trials_that_differ_in_epochs_alone_are_one_member(packs):
    (pack,) = packs(make({"epochs": [4, 1, 2], "learning_rate": [0.1, 0.01]}, repeats=2))
    assert len(pack.members) == 4
    assert all([trial.epochs for trial in member.trials] == [1, 2, 4] for member in pack.members)
    assert "up to 3 trials share their epochs" in pack.how


def test_a_small_budget_splits_a_pack_evenly(packs):
    study = make({"learning_rate": [0.1, 0.01]}, repeats=5)
    (whole,) = packs(study)
    assert len(whole.members) == 10
    from kerasdl.tune.trials import TrialMaker

    maker = TrialMaker(study, study.load_data())
    one = maker.blueprints(maker.trials({0: study.settings({"learning_rate": 0.1})}))[0][0]
    split = packs(study, memory=4 * one.member_bytes)
    sizes = [len(pack.members) for pack in split]
    assert [pack.share for pack in split] == [pytest.approx(size / 4) for size in sizes]
    assert sizes == [4, 3, 3]
    assert [len(pack.members) for pack in packs(study, memory=1)] == [1] * 10


def test_a_model_with_its_own_training_step_runs_alone_and_the_plan_says_why(packs):
    import keras

    class Own(keras.Model):
        def train_step(self, *arguments):
            return super().train_step(*arguments)

    def build(input_shape, classes, width=4):
        inputs = keras.Input(input_shape)
        return Own(inputs, keras.layers.Dense(1, activation="sigmoid")(keras.layers.Dense(width)(inputs)))

    planned = packs(make({"width": [4, 8]}, model=build))
    assert [pack.fused for pack in planned] == [False, False]
    assert "Own has a train_step of its own" in planned[0].how


def test_what_takes_long_begins_early_and_what_fills_the_machine_comes_last(packs):
    def build(input_shape, classes, width=4, steps="packed"):
        import keras

        inputs = keras.Input(input_shape)
        hidden = inputs
        if steps == "wide":
            hidden = keras.layers.Flatten()(keras.layers.Conv1D(width, 1)(keras.layers.Reshape((-1, 1))(inputs)))
        return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(keras.layers.Dense(width)(hidden)))

    space = {"steps": ["wide", "packed"], "width": [4, 16, 8]}
    planned = packs(make(space, model=build))
    settings = [pack.members[0].longest.configuration for pack in planned]
    # Wide ones are configurations 0 to 2, in the order in which they were proposed.
    assert settings == [4, 5, 3, 0, 1, 2]


def test_the_forecast_names_packs_stages_and_savings(backend_name):
    text = make({"epochs": [1, 3], "depth": [1, 2]}).explain()
    assert text.splitlines()[0] == (
        "4 configurations, 4 trials. They ask for 8 epochs; 6 are trained (25\u00a0% less: trials share their epochs), "
        "by 2 programs that run 6 times over the data."
    )
    assert f"2. epochs 1 / 3, depth 1: 2 trials, alone, as one program on {backend_name}" in text


@pytest.mark.parametrize("kind", ["function", "class"])
def test_code_of_the_users_that_hides_a_number_is_never_taken_for_the_same(kind, packs):
    import keras

    def weighted(alpha):
        def loss(truth, predicted):
            return alpha * keras.losses.binary_crossentropy(truth, predicted)

        return loss

    class Penalty(keras.losses.Loss):
        def __init__(self, alpha):
            super().__init__()
            self.alpha = alpha

        def call(self, truth, predicted):
            return self.alpha * keras.losses.binary_crossentropy(truth, predicted)

    make_loss = {"function": weighted, "class": Penalty}[kind]

    def build(input_shape, classes, alpha=1.0):
        model = keras.Sequential([keras.Input(input_shape), keras.layers.Dense(1, activation="sigmoid")])
        model.compile("adam", make_loss(alpha), metrics=["accuracy"])
        return model

    planned = packs(make({"alpha": [1.0, 5.0]}, model=build, repeats=2))
    assert [len(pack.members) for pack in planned] == [2, 2]


def test_a_layer_of_the_users_that_says_what_it_is_shares_a_program(packs):
    import keras

    class Scale(keras.layers.Layer):
        def __init__(self, factor=1.0, **keywords):
            super().__init__(**keywords)
            self.factor = factor

        def call(self, x):
            return x * self.factor

        def get_config(self):
            return {**super().get_config(), "factor": self.factor}

    def build(input_shape, classes, factor=2.0):
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(Scale(factor)(inputs)))

    assert len(packs(make({"learning_rate": [0.1, 0.2]}, model=build))) == 1
    assert len(packs(make({"factor": [1.0, 2.0]}, model=build))) == 2
