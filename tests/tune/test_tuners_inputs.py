"""What `search` takes to learn from: a pack makes of it what Keras' `fit` does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.usefixtures("backend_name")

ROWS, HELD = 48, 12

Form = Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]


def arrays() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS + HELD, 4)).astype("float32")
    return x, (x @ random.normal(size=(4, 3))).argmax(axis=1)


def one_hot() -> np.ndarray:
    return np.eye(3, dtype="int64")[arrays()[1]]


def weights() -> np.ndarray:
    return np.linspace(0.0, 2.0, ROWS + HELD)


def backend_tensors() -> tuple[Any, Any]:
    import keras

    x, y = arrays()
    return keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y)


def frame_and_series() -> tuple[pd.DataFrame, pd.Series]:
    x, y = arrays()
    return pd.DataFrame(x.astype("float64")).assign(whole=np.arange(len(x)) % 3), pd.Series(y)


def held_with_weights() -> tuple[Any, ...]:
    x, y = arrays()
    return x[ROWS:], y[ROWS:], pd.Series(weights()[ROWS:])


FORMS: dict[str, Form] = {
    "tensors of the backend": lambda: (backend_tensors(), {}),
    "frame and series": lambda: (frame_and_series(), {}),
    "whole numbers": lambda: (((arrays()[0] * 10).astype("int64"), arrays()[1].astype("uint8")), {}),
    "one-hot labels and weights of classes": lambda: (
        (arrays()[0], one_hot()),
        {"class_weight": {0: 3.0, 2: 0.5}},
    ),
    "weights of rows": lambda: (arrays(), {"sample_weight": weights()}),
    "weights of held rows": lambda: (arrays(), {"validation_data": held_with_weights()}),
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    def make(hypermodel: Any, **more: Any) -> Any:
        from kerasdl.tune import GridSearch

        options = {"objective": "val_loss", "seed": 5, "directory": str(tmp_path), "overwrite": True, **more}
        return GridSearch(hypermodel, **options)

    return make


def builder(labels: int) -> Callable[[Any], Any]:
    def build(hp: Any) -> Any:
        import keras

        # Without an input: its shape is that of the first batch.
        model = keras.Sequential(
            [keras.layers.Dense(4, activation="relu"), keras.layers.Dense(3, activation="softmax")]
        )
        loss = "sparse_categorical_crossentropy" if labels == 1 else "categorical_crossentropy"
        rate = hp.Choice("rate", [0.3])
        model.compile(keras.optimizers.SGD(rate), loss, metrics=["accuracy"], weighted_metrics=["mse"])
        return model

    return build


def curves(tuner: Any) -> tuple[pd.DataFrame, str]:
    with tuner.run as run:
        return run.curves().drop(columns="seconds"), run.trials()["how"].iloc[0]


@pytest.mark.parametrize("form", FORMS)
def test_packs_make_of_it_what_fit_does(form: str, make: Callable[..., Any]) -> None:
    import keras

    data, more = FORMS[form]()
    options = {"epochs": 2, "batch_size": ROWS + HELD, "verbose": 0, **more}
    if "validation_data" not in options:
        options |= {"validation_split": HELD / (ROWS + HELD), "batch_size": ROWS}
    found = {}
    for way, callbacks in (("as one program", []), ("by KerasTuner", [keras.callbacks.Callback()])):
        tuner = make(builder(data[1].ndim))
        tuner.search(*data, callbacks=callbacks, **options)
        found[way], how = curves(tuner)
        assert way in how
    pack, fit = found.values()
    assert set(pack.columns) == set(fit.columns)
    # Both start from the same weights, and one batch is an epoch; only KerasTuner's table has its own order of metrics.
    pd.testing.assert_frame_equal(pack, fit[pack.columns], rtol=1e-4, atol=1e-5)


def test_what_is_no_array_reaches_fit(make: Callable[..., Any]) -> None:
    import keras

    x, y = arrays()

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            return x[index::2], y[index::2]

    def two(hp: Any) -> Any:
        first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
        outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Concatenate()([first, second]))
        model = keras.Model({"first": first, "second": second}, outputs)
        model.compile(keras.optimizers.SGD(hp.Choice("rate", [0.1])), "sparse_categorical_crossentropy")
        return model

    tuner = make(builder(1))
    tuner.search(x, y, epochs=1, validation_data=Batches(), verbose=0)
    assert "validation_data is neither" in curves(tuner)[1]
    tuner = make(two)
    tuner.search({"first": x, "second": x}, y, epochs=1, validation_split=0.2, verbose=0)
    assert "x is no array but dict" in curves(tuner)[1]
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"sample_weight": np.ones((ROWS + HELD, 2))}, "one number a row"),
        ({"sample_weight": np.ones(3)}, "60, 60, 3 rows"),
        ({"sample_weight": weights(), "class_weight": {0: 2.0}}, "both"),
        ({"class_weight": [1.0, 2.0]}, "no dict"),
        ({"validation_split": 1.0}, "no rows"),
    ],
)
def test_what_fit_refuses_or_weighs_otherwise_is_left_to_it(more: dict[str, Any], reason: str) -> None:
    from kerasdl.tune.fit_arguments import NotPackable, read_arguments

    with pytest.raises(NotPackable, match=reason):
        read_arguments(arrays(), more)
