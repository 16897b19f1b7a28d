import inspect

import pytest

from kerasdl import models
from kerasdl.tune.settings import OPTIMIZERS, check_value, known, optimizer_settings

# Arguments of Keras' optimizers that are no numbers to vary.
NOT_SETTINGS = {"name", "kwargs", "loss_scale_factor"}
# A trial's score is that of its weights, not of their moving average.
NOT_SETTINGS |= {"use_ema", "ema_momentum", "ema_overwrite_frequency"}


def test_the_optimizers_settings_are_those_of_keras(backend_name: str) -> None:
    from kerasdl.tune.compiling import OPTIMIZERS as CLASSES

    assert set(CLASSES) == set(OPTIMIZERS)
    for name, kind in CLASSES.items():
        arguments = set(inspect.signature(kind.__init__).parameters) - {"self"} - NOT_SETTINGS
        assert set(OPTIMIZERS[name]) == arguments, name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_is_made_from_its_settings(backend_name: str, optimizer: str) -> None:
    from kerasdl.tune.compiling import OPTIMIZERS as CLASSES

    settings = {"optimizer": optimizer, "learning_rate": 0.125, "weight_decay": None, "depth": 3, "clipnorm": 2.0}
    made = CLASSES[optimizer](**optimizer_settings(settings))
    assert float(made.learning_rate) == 0.125
    assert made.clipnorm == 2.0


@pytest.mark.backend_free
def test_only_the_optimizers_in_play_lend_their_settings() -> None:
    softmax = models.find("softmax")
    assert "momentum" in known(softmax, ["adam", "sgd"])
    assert "momentum" not in known(softmax, ["adam"])
    assert {"l2", "epochs", "batch_size", "optimizer"} <= known(softmax, ["adam"])


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("epochs", value) for value in (0, 1.5, True, "3")),
        *(("batch_size", value) for value in (0, -1)),
        *(("optimizer", value) for value in ("adm", 3)),
        *(("learning_rate", value) for value in (0, -0.1, "big", True, float("nan"), float("inf"), [0.1])),
        *(("momentum", value) for value in (1, -0.1)),
        *(("nesterov", value) for value in (1, "yes")),
        ("weight_decay", -1),
    ],
)
def test_values_that_cannot_be_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        check_value(name, value, models.find("softmax"))
    assert str(caught.value).startswith(repr(value))
