"""How the body of a model learns beside its head, in studies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kerasdl.errors import UserError
from kerasdl.tune import Study

Write = Callable[[str, str], Path]
Make = Callable[..., Study]

MODEL = """
    import keras


    def build(input_shape, classes):
        body = keras.Sequential([keras.Input(input_shape), keras.layers.Dense(8, activation="relu")], name="body")
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(body(inputs)))
"""


def test_rates_of_bodies_share_a_program_and_change_what_is_learned(backend_name: str, write: Write) -> None:
    write("own.py", MODEL)
    keys: dict[str, Any] = {"space": {"body_rate": [0.001, 1.0]}, "fixed": {"unfreeze_epochs": 2}}
    study = Study(data="xor?rows=60", model="own.py:build", epochs=3, batch_size=16, learning_rate=0.05, **keys)
    with study.run("run", progress=False, export=False) as run:
        trials = run.trials()
        assert trials["how"].str.startswith("pack of 2").all()
        assert trials["status"].eq("completed").all()
        assert trials["loss"].nunique() == 2


def test_a_model_without_a_body_is_named(backend_name: str, write: Write) -> None:
    write("flat.py", MODEL.replace("body(inputs)", "inputs"))
    study = Study(data="xor?rows=60", model="flat.py:build", epochs=1, fixed={"body_rate": 0.1})
    with pytest.raises(UserError, match=r"body_rate: no model is nested in .* leave it out"):
        study.run("run", progress=False)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model": "mlp", "fixed": {"body_rate": 0.1}}, "body_rate: no such setting of mlp"),
        ({"model": "transfer", "fixed": {"body_rate": 0.0}}, "body_rate: 0.0 is not above 0"),
        ({"model": "unet", "fixed": {"unfreeze_epochs": 0}}, "unfreeze_epochs: 0 is not a whole number of at least 1"),
        ({"model": "transfer", "fixed": {"body_rat": 0.1}}, "did you mean 'body_rate'"),
    ],
)
def test_values_are_checked(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Study(data="digits", **keys)
