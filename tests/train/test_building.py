"""Models of trials: which are built, and which are another's, compiled anew."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kerasdl.tune import Study

KEYS: dict[str, Any] = {"data": "xor?rows=80", "epochs": 2, "repeats": 3, "batch_size": 16}


def maker_of(model: Any, space: dict[str, Any]) -> tuple[Any, list[Any]]:
    from kerasdl.tune.trials import TrialMaker

    keys = {name: value for name, value in KEYS.items() if name not in space}
    study = Study(model=model, space=space, **keys)
    maker = TrialMaker(study, study.load_data())
    varied = maker.proposals().ask()
    return maker, maker.trials({number: study.settings(values) for number, values in varied.items()})


def counted(compiles: bool = False) -> tuple[Callable[..., Any], list[int]]:
    built: list[int] = []

    def build(input_shape: Any, classes: int, width: int = 4) -> Any:
        import keras

        built.append(width)
        inputs = keras.Input(input_shape)
        hidden = keras.layers.BatchNormalization()(keras.layers.Dense(width)(inputs))
        model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
        if compiles:
            model.compile("sgd", "binary_crossentropy")
        return model

    return build, built


def test_models_that_differ_in_their_seed_and_in_how_they_are_compiled_are_built_once(backend_name: str) -> None:
    import keras

    from kerasdl.train.backends import values
    from kerasdl.train.building import LookedAt, build

    function, built = counted()
    _, trials = maker_of(function, space={"width": [4, 8], "learning_rate": [0.1, 0.01]})
    models = LookedAt()
    for trial in sorted(trials, key=lambda trial: (trial.origin, trial.seed)):
        model, alone = models.model(trial), build(trial)
        assert [layer.name for layer in model.layers] == [layer.name for layer in alone.layers]
        assert [one.path for one in model.optimizer.variables] == [one.path for one in alone.optimizer.variables]
        for own, other in zip(values(model.variables), values(alone.variables), strict=True):
            np.testing.assert_array_equal(own, other)
        own, other = (keras.ops.convert_to_numpy(one.optimizer.learning_rate) for one in (model, alone))
        assert own == other
    # Two widths with two seeds, the second of which proves what is known of a third, and each of twelve trials alone.
    assert len(built) == 4 + 12


def test_what_a_builder_compiles_itself_is_built_each_time(backend_name: str) -> None:
    from kerasdl.train.building import LookedAt

    function, built = counted(compiles=True)
    _, trials = maker_of(function, space={"batch_size": [8, 16]})
    models = LookedAt()
    found = [models.model(trial) for trial in sorted(trials, key=lambda trial: (trial.origin, trial.seed))]
    assert len(built) == len(set(map(id, found))) == 6


def test_what_a_builder_finds_in_hyperparameters_makes_another_model(backend_name: str) -> None:
    from kerasdl.train.building import LookedAt

    function, built = counted()

    def build(hp: Any, input_shape: Any, classes: int) -> Any:
        return function(input_shape, classes, hp.Int("width", 2, 4, step=2))

    _, trials = maker_of(build, space={"learning_rate": [0.1, 0.01]})
    models = LookedAt()
    for trial in sorted(trials, key=lambda trial: (trial.origin, trial.seed)):
        built.clear()
        widths = [trial.build().layers[1].units, models.model(trial).layers[1].units]
        assert widths == [built[0]] * 2
    assert len({trial.origin for trial in trials}) == 4


def test_a_pack_builds_each_start_once_and_begins_as_its_members_do(backend_name: str) -> None:
    from kerasdl.train.building import build
    from kerasdl.train.pack import PackTrainer
    from tests.train.conftest import Recorder

    function, built = counted()
    maker, trials = maker_of(function, space={"learning_rate": [0.1, 0.03, 0.01]})
    blueprints, _ = maker.blueprints(trials)
    assert len(built) == 1
    (pack,) = maker.packs(trials, blueprints)
    trainer = PackTrainer(pack.members, maker.first_dataset, Recorder())
    # The first member's model stays with the pack; the others need two.
    assert len(built) == 1 + 1 + 2
    state = trainer._state
    for index, member in enumerate(pack.members):
        alone = trainer._program.initial_state(build(member.longest))
        for name in ("trainable", "non_trainable", "optimizer", "metrics", "numbers"):
            for part, value in zip(getattr(state, name), getattr(alone, name), strict=True):
                np.testing.assert_array_equal(part[index], value)


def test_a_builder_with_a_seed_of_its_own_builds_what_it_builds_alone(backend_name: str) -> None:
    import keras

    from kerasdl.train.backends import values
    from kerasdl.train.building import LookedAt, build

    function, _ = counted()

    def seeded(input_shape: Any, classes: int, width: int = 4) -> Any:
        keras.utils.set_random_seed(0)
        return function(input_shape, classes, width)

    _, trials = maker_of(seeded, space={"learning_rate": [0.1, 0.01]})
    models = LookedAt()
    for trial in sorted(trials, key=lambda trial: trial.seed):
        for own, other in zip(values(models.model(trial).weights), values(build(trial).weights), strict=True):
            np.testing.assert_array_equal(own, other)


def test_a_builder_that_draws_from_keras_own_generator_builds_the_same_each_time(backend_name: str) -> None:
    import keras

    from kerasdl.train.backends import values
    from kerasdl.train.building import build

    def drawn(shape: Any, dtype: Any = None) -> Any:
        return 0.1 * keras.random.normal(shape, dtype=dtype)

    def draws(input_shape: Any, classes: int, width: int = 4) -> Any:
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, keras.layers.Dense(1, "sigmoid", kernel_initializer=drawn)(inputs))

    _, trials = maker_of(draws, space={"learning_rate": [0.1]})
    (first, other, again) = (values(build(trials[place]).weights) for place in (0, 1, 0))
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])


def test_variables_of_one_shape_stay_their_own(backend_name: str) -> None:
    import keras

    from kerasdl.train.building import building

    with building():
        first, second = (keras.Variable(np.full(3, value, "float32"), name="one") for value in (1, 2))
    first.assign_add(np.ones(3, "float32"))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(first.value), [2, 2, 2])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(second.value), [2, 2, 2])
    second.assign(np.zeros(3, "float32"))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(first.value), [2, 2, 2])
