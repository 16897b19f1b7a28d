"""How does a study train a model of one's own? Two builders: one with settings, one with KerasTuner's `hp`.

python examples/own_model.py

In a study file the same builders are `model = "own_model.py:residual"` and `model = "own_model.py:tapered"`.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kerasdl.tune import Study

if TYPE_CHECKING:
    import keras
    import keras_tuner


def residual(input_shape: tuple[int, ...], classes: int, *, blocks: int = 2, width: int = 32) -> "keras.Model":
    """Builds a residual network. Every argument beside `input_shape` and `classes` is a setting that may vary.

    The import stands inside, so that the backend can still be chosen when this file is read.
    """
    import keras

    inputs = keras.Input(input_shape)
    hidden = keras.layers.Dense(width)(keras.layers.Flatten()(inputs))
    for _ in range(blocks):
        hidden = keras.layers.Add()([hidden, keras.layers.Dense(width, activation="relu")(hidden)])
    outputs = keras.layers.Dense(classes, activation="softmax")(hidden)
    return keras.Model(inputs, outputs)


def tapered(hp: "keras_tuner.HyperParameters") -> "keras.Model":
    """Builds a network for the 8 x 8 digits that declares its own search space and compiles itself."""
    import keras

    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    width = hp.Choice("first_width", [16, 64])
    for _ in range(hp.Int("layers", 1, 2)):
        model.add(keras.layers.Dense(width, activation="relu"))
        width //= 2
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the runs' directories go")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()

    same = {"data": "digits", "epochs": options.epochs, "repeats": options.repeats}
    studies = [
        Study(name="residual", model=residual, space={"blocks": [1, 3]}, **same),
        Study(name="tapered", model=tapered, search="random", trials=3, **same),
    ]
    for study in studies:
        with study.run(options.out / study.name) as run:
            print(run.table()[["rank", *run.varying, "mean", "std", "parameters"]].to_string(index=False))


if __name__ == "__main__":
    main()
