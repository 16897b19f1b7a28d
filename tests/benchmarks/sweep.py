"""`python -m tests.benchmarks.sweep`: a grid of softmax regressions by kerasdl, KerasTuner and a plain PyTorch loop.

All train the same configurations on the same rows for the same number of epochs; what is timed is the search, from
loaded data to the last trial's end.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.measuring import Benchmark, Case, Facts, Options, markdown, run
from tests.benchmarks.training import data, load

BATCH_SIZES, RATES = [256, 128, 64], [0.1, 0.01, 0.2]


def kerasdl(options: Options) -> Facts:
    from kerasdl.tune import Study

    study = Study(
        data=data(options),
        model="softmax",
        optimizer="sgd",
        space={"batch_size": BATCH_SIZES, "epochs": options.epochs, "learning_rate": RATES},
    )
    with tempfile.TemporaryDirectory() as folder, study.run(Path(folder) / "run", export=False, progress=False) as done:
        return {"seconds": done.seconds}


def keras_tuner(options: Options) -> Facts:
    import keras
    import keras_tuner as kt

    class Grid(kt.HyperModel):
        def build(self, hp: kt.HyperParameters) -> keras.Model:
            model = keras.Sequential(
                [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
            )
            optimizer = keras.optimizers.SGD(hp.Choice("learning_rate", RATES))
            model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
            return model

        def fit(self, hp: kt.HyperParameters, model: keras.Model, *args: object, **kwargs: object) -> object:
            choices = {
                "batch_size": hp.Choice("batch_size", BATCH_SIZES),
                "epochs": hp.Choice("epochs", options.epochs),
            }
            return model.fit(*args, **{**kwargs, **choices})

    rows = load(options)
    with tempfile.TemporaryDirectory() as folder:
        tuner = kt.GridSearch(Grid(), objective="val_accuracy", directory=folder)
        started = time.perf_counter()
        held_out = (rows.validation.x, rows.validation.y)
        tuner.search(rows.train.x, rows.train.y, validation_data=held_out, verbose=0)
        return {"seconds": time.perf_counter() - started}


def plain_torch(options: Options) -> Facts:
    import torch

    rows = load(options)
    x, y = torch.from_numpy(rows.train.x).flatten(1), torch.from_numpy(rows.train.y)
    held_out = torch.from_numpy(rows.validation.x).flatten(1), torch.from_numpy(rows.validation.y)
    started = time.perf_counter()
    for batch_size in BATCH_SIZES:
        for last in options.epochs:
            for rate in RATES:
                model = torch.nn.Linear(784, 10)
                optimizer = torch.optim.SGD(model.parameters(), rate)
                for _ in range(last):
                    for batch in torch.randperm(len(x)).split(batch_size):
                        optimizer.zero_grad()
                        torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
                        optimizer.step()
                    with torch.no_grad():
                        (model(held_out[0]).argmax(1) == held_out[1]).float().mean().item()
    return {"seconds": time.perf_counter() - started}


def cases(options: Options) -> Sequence[Case]:
    """Returns the peers with their backends: the plain loop is PyTorch's alone."""
    others = [(peer, backend) for backend in options.backends for peer in ("keras_tuner", "kerasdl")]
    return [("plain_torch", "torch"), *others]


def table(medians: Mapping[Case, Facts], options: Options) -> str:
    """Returns the section."""
    plain = medians["plain_torch", "torch"]["seconds"]
    rows = []
    for backend in options.backends:
        theirs, ours = medians["keras_tuner", backend]["seconds"], medians["kerasdl", backend]["seconds"]
        ratios = [f"{theirs / ours:.1f} x", f"{plain / ours:.1f} x"]
        rows.append([backend, f"{theirs:.1f} s", f"{ours:.1f} s", *ratios])
    head = ["backend", "KerasTuner", "kerasdl", "KerasTuner / kerasdl", "plain PyTorch loop / kerasdl"]
    return (
        f"27 configurations (batch size x epochs {options.epochs} x learning rate) on {options.rows or 'all'} rows of "
        f"Fashion-MNIST; medians of {options.times}, seconds of the search alone. "
        f"`python -m tests.benchmarks.sweep` measures them again.\n\n{markdown(head, rows)}\n\n"
        f"The plain PyTorch loop took {plain:.1f} s."
    )


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--epochs", nargs=3, type=int, default=[10, 20, 30])
    parser.add_argument("--data", default="fashion_mnist")
    parser.add_argument("--rows", type=int, help="training and validation rows; all where absent")


BENCHMARK = Benchmark(
    module="tests.benchmarks.sweep",
    title="The softmax sweep",
    description="A grid of softmax regressions by kerasdl, KerasTuner and a plain PyTorch loop.",
    peers={"keras_tuner": keras_tuner, "kerasdl": kerasdl, "plain_torch": plain_torch},
    table=table,
    declare=declare,
    cases=cases,
)

if __name__ == "__main__":
    run(BENCHMARK)
