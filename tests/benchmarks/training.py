"""What several benchmarks train: the same models on the same rows, by kerasdl and by a plain loop of Keras' `fit`."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.measuring import Case, Facts, Options, markdown

if TYPE_CHECKING:
    import keras

    from kerasdl.data import Dataset
    from kerasdl.runs import Run

BATCH_SIZE = 128


def declare(
    parser: argparse.ArgumentParser, *, epochs: int, rows: int | None = None, source: str = "fashion_mnist"
) -> None:
    """Adds the options `--data`, `--epochs` and `--rows`."""
    parser.add_argument("--data", default=source)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--rows", type=int, default=rows, help="training and validation rows; all where absent")


def data(options: Options) -> str:
    """Returns the specification of the data."""
    return options.data if options.rows is None else f"{options.data}?rows={options.rows}"


def load(options: Options) -> "Dataset":
    """Loads the data."""
    from kerasdl import data as sets

    return sets.load(data(options))


def rates(count: int) -> list[float]:
    """Returns learning rates for Adam, evenly on a logarithmic scale between 0.0001 and 0.01."""
    return [round(10 ** (-4 + 2 * step / max(1, count - 1)), 6) for step in range(count)]


def cnn(input_shape: tuple[int, ...], classes: int) -> "keras.Model":
    """Builds a small convolutional network: 16 and 32 filters, each halved in size, then one linear layer."""
    import keras

    inputs = keras.Input(input_shape)
    hidden = inputs
    for filters in (16, 32):
        hidden = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(hidden)
        hidden = keras.layers.MaxPooling2D(2)(hidden)
    outputs = keras.layers.Dense(classes, activation="softmax")(keras.layers.Flatten()(hidden))
    return keras.Model(inputs, outputs)


def by_kerasdl(options: Options, **study: Any) -> Facts:
    """Runs a study.

    Args:
        options: The options.
        **study: What `kerasdl.tune.Study` takes beside data, batch size and epochs.

    Returns:
        `seconds` of the search, with planning, compiling, the scoring of test rows and the writing of the run; `epoch`,
        the median seconds of an epoch of all trials but the first, and `accuracy` on validation rows, a mean.
    """
    from kerasdl.tune import Study

    given = {"data": data(options), "batch_size": BATCH_SIZE, "epochs": options.epochs, **study}
    with tempfile.TemporaryDirectory() as folder:
        run = Study(**given).run(Path(folder) / "run", export=False, progress=False)
        with run:
            return {"seconds": run.seconds, "epoch": epoch_seconds(run), "accuracy": float(run.table()["mean"].mean())}


def epoch_seconds(run: "Run") -> float:
    """Returns the median seconds of an epoch of all trials of a run, the first left out where there are others."""
    sums = run.curves().groupby("epoch")["seconds"].sum().tolist()
    return float(statistics.median(sums[1:] or sums))


def by_fit(
    options: Options, build: Callable[..., "keras.Model"], optimizer: str, settings: Sequence[tuple[int, float]]
) -> Facts:
    """Trains models one after another by Keras' `fit`, with the data in memory.

    Args:
        options: The options.
        build: Builds an uncompiled model from the input's shape and the number of classes.
        optimizer: Name of the optimizer.
        settings: Seed and learning rate of each.

    Returns:
        The same as `by_kerasdl`; `seconds` run from loaded data to the last model's end, test rows are not scored.
    """
    import keras

    rows = load(options)
    held_out = (rows.validation.x, rows.validation.y)
    started, watch, accuracies = time.perf_counter(), _epochs(), []
    for seed, rate in settings:
        keras.utils.set_random_seed(seed)
        model = build(rows.input_shape, len(rows.classes))
        chosen = keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": rate}})
        loss = "binary_crossentropy" if model.output_shape[-1] == 1 else "sparse_categorical_crossentropy"
        model.compile(chosen, loss, metrics=["accuracy"])
        history = model.fit(
            *(rows.train.x, rows.train.y),
            batch_size=BATCH_SIZE,
            epochs=options.epochs,
            validation_data=held_out,
            verbose=0,
            callbacks=[watch],
        )
        accuracies.append(history.history["val_accuracy"][-1])
    seconds = time.perf_counter() - started
    epoch = len(settings) * statistics.median(watch.later or watch.first)
    return {"seconds": seconds, "epoch": epoch, "accuracy": statistics.mean(accuracies)}


def _epochs() -> Any:
    """Makes a callback that times epochs, the first of each model apart."""
    import keras

    class Watch(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.first: list[float] = []
            self.later: list[float] = []
            self._started = 0.0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            (self.later if epoch else self.first).append(time.perf_counter() - self._started)

    return Watch()


def against_fit(medians: Mapping[Case, Facts], options: Options) -> str:
    """Returns the table of the peers `fit` and `kerasdl`, one row a backend."""
    head = ["backend", "`fit`", "kerasdl", "`fit` / kerasdl", "the same of one epoch", "mean validation accuracy"]
    rows = []
    for backend in options.backends:
        theirs, ours = medians["fit", backend], medians["kerasdl", backend]
        rows.append(
            [
                backend,
                f"{theirs['seconds']:.1f} s",
                f"{ours['seconds']:.1f} s",
                f"{theirs['seconds'] / ours['seconds']:.2f} x",
                f"{theirs['epoch'] / ours['epoch']:.2f} x",
                f"{theirs['accuracy']:.4f} / {ours['accuracy']:.4f}",
            ]
        )
    return markdown(head, rows)
