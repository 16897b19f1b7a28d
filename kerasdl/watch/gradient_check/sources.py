"""What the command checks: a `.keras` file or a study, with rows to check it on."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from kerasdl.errors import UserError
from kerasdl.safety import load_model


class Source(NamedTuple):
    """A compiled model and rows for it; `words` says where both come from."""

    model: Any
    x: Any
    y: Any
    words: str


def of_model(path: Path, rows: int, seed: int, data: str | None, loss: str | None) -> Source:
    """Loads a `.keras` file in safe mode.

    Args:
        path: The file.
        rows: How many rows to check on.
        seed: Draws the rows.
        data: A specification for `kerasdl.data.load`; random rows where absent.
        loss: A loss of Keras', instead of the one that the model was compiled with.

    Raises:
        UserError: It cannot be loaded, or has no loss, or does not fit the data.
    """
    import keras

    if path.suffix != ".keras":
        raise UserError(f"{path}: not a .keras file; give a .keras file, a study's name or its TOML file")
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a .keras file, a study's name or its TOML file")
    # The model may have been trained with one of kerasdl's own.
    import_module("kerasdl.watch.schedules")
    try:
        model = load_model(path, compile=loss is None)
        if loss is not None:
            model.compile(loss=keras.losses.get(loss))
    except (TypeError, ValueError, KeyError, AttributeError, ImportError, OSError) as error:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
        raise UserError(
            f"{path}: Keras cannot load it ({line}); classes of your own need check_gradients in Python"
        ) from error
    if not model.compiled or not model.loss:
        raise UserError(f"{path}: saved without a loss; name one, such as --loss sparse_categorical_crossentropy")
    if data is None:
        from kerasdl.watch.gradient_check.rows import random_rows

        return Source(model, *random_rows(model, rows, seed), f"{rows} random rows, as no --data was given")
    from kerasdl.data import load

    dataset = load(data, seed=seed)
    return Source(model, *_drawn(dataset, rows, seed), f"{rows} training rows of {dataset.name}")


def of_study(name: str, rows: int, seed: int, changes: Mapping[str, Any]) -> Source:
    """Builds the first configuration of a study with its first weights.

    Args:
        name: A shipped study's name, or the path of a TOML file.
        rows: How many rows to check on.
        seed: Draws the rows and the weights.
        changes: As for `Study.load`.

    Raises:
        UserError: The study cannot be used.
    """
    from kerasdl.train.backends import set_seed
    from kerasdl.tune.study import Study

    study = Study.load(name, changes)
    dataset = study.load_data()
    from kerasdl.tune.trials import TrialMaker

    maker = TrialMaker(study, dataset)
    varied = next(iter(maker.proposals().ask().values()), {})
    set_seed(seed)
    model = maker.model(study.settings(varied))
    first = ", ".join(f"{setting}={value}" for setting, value in varied.items())
    words = f"study {study.name}{f' with {first}' if first else ''}, untrained, {rows} training rows of {dataset.name}"
    return Source(model, *_drawn(dataset, rows, seed), words)


def _drawn(dataset: Any, rows: int, seed: int) -> tuple[Any, Any]:
    import numpy as np

    if rows > len(dataset.train):
        raise UserError(f"--rows {rows}: {dataset.name} has {len(dataset.train)} training rows; give fewer")
    chosen = np.random.default_rng(seed).choice(len(dataset.train), size=rows, replace=False)
    return dataset.train.x[chosen], dataset.train.y[chosen]
