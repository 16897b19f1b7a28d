"""`python -m tests.benchmarks.sweep`: a grid of softmax regressions by kerasdl, KerasTuner and a plain PyTorch loop.

Every peer runs in a process of its own, on the same rows, the same configurations and the same number of epochs; what
is timed is the search, from loaded data to the last trial's end. The figures go to `tests/benchmarks/RESULTS.md`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from kerasdl import __version__

BATCH_SIZES, RATES = [256, 128, 64], [0.1, 0.01, 0.2]
RESULTS = Path(__file__).with_name("RESULTS.md")


def kerasdl(epochs: list[int]) -> float:
    from kerasdl.tune import Study

    study = Study(
        data="fashion_mnist",
        model="softmax",
        optimizer="sgd",
        space={"batch_size": BATCH_SIZES, "epochs": epochs, "learning_rate": RATES},
    )
    with tempfile.TemporaryDirectory() as folder:
        return study.run(Path(folder) / "run", export=False, progress=False).seconds


def keras_tuner(epochs: list[int]) -> float:
    import keras
    import keras_tuner as kt

    from kerasdl import data

    class Grid(kt.HyperModel):
        def build(self, hp: kt.HyperParameters) -> keras.Model:
            model = keras.Sequential(
                [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
            )
            optimizer = keras.optimizers.SGD(hp.Choice("learning_rate", RATES))
            model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
            return model

        def fit(self, hp: kt.HyperParameters, model: keras.Model, *args: object, **kwargs: object) -> object:
            choices = {"batch_size": hp.Choice("batch_size", BATCH_SIZES), "epochs": hp.Choice("epochs", epochs)}
            return model.fit(*args, **{**kwargs, **choices})

    rows = data.load("fashion_mnist")
    with tempfile.TemporaryDirectory() as folder:
        tuner = kt.GridSearch(Grid(), objective="val_accuracy", directory=folder)
        started = time.perf_counter()
        held_out = (rows.validation.x, rows.validation.y)
        tuner.search(rows.train.x, rows.train.y, validation_data=held_out, verbose=0)
        return time.perf_counter() - started


def plain_torch(epochs: list[int]) -> float:
    import torch

    from kerasdl import data

    rows = data.load("fashion_mnist")
    x, y = torch.from_numpy(rows.train.x).flatten(1), torch.from_numpy(rows.train.y)
    held_out = torch.from_numpy(rows.validation.x).flatten(1), torch.from_numpy(rows.validation.y)
    started = time.perf_counter()
    for batch_size in BATCH_SIZES:
        for last in epochs:
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
    return time.perf_counter() - started


PEERS = {"kerasdl": kerasdl, "keras_tuner": keras_tuner, "plain_torch": plain_torch}


def measure(peer: str, backend: str, epochs: list[int]) -> float:
    """Runs one peer in a process of its own and returns its seconds."""
    command = [sys.executable, "-m", "tests.benchmarks.sweep", "--peer", peer, "--epochs", *map(str, epochs)]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return float(json.loads(output.splitlines()[-1])["seconds"])


def main() -> None:
    """Measures all peers in turn, several times, and writes medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", choices=PEERS)
    parser.add_argument("--backends", nargs="+", default=["jax", "tensorflow", "torch"])
    parser.add_argument("--epochs", nargs="+", type=int, default=[10, 20, 30])
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    if options.peer:
        print(json.dumps({"seconds": PEERS[options.peer](options.epochs)}))
        return
    cases = [("plain_torch", "torch")]
    cases += [(peer, backend) for backend in options.backends for peer in ("keras_tuner", "kerasdl")]
    seconds: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
    for turn in range(options.times):
        for case in cases:
            seconds[case].append(measure(*case, options.epochs))
            print(f"turn {turn + 1}: {case[0]} on {case[1]}: {seconds[case][-1]:.1f} s", flush=True)
    text = table(seconds, options)
    print(text)
    RESULTS.write_text(text, encoding="utf-8")


def table(seconds: dict[tuple[str, str], list[float]], options: argparse.Namespace) -> str:
    """Returns the results as Markdown."""
    medians = {case: statistics.median(values) for case, values in seconds.items()}
    plain = medians["plain_torch", "torch"]
    packages = ("keras", "keras-tuner", "torch", "tensorflow", "jax")
    versions = f"kerasdl {__version__}, " + ", ".join(f"{name} {version(name)}" for name in packages)
    lines = [
        "# The softmax sweep",
        "",
        f"27 configurations (batch size x epochs {options.epochs} x learning rate) on Fashion-MNIST, 54,000 rows; "
        f"medians of {options.times}, seconds of the search alone. "
        "`python -m tests.benchmarks.sweep` measures them again.",
        "",
        "| backend | KerasTuner | kerasdl | KerasTuner / kerasdl | plain PyTorch loop / kerasdl |",
        "| --- | --- | --- | --- | --- |",
    ]
    for backend in options.backends:
        theirs, ours = medians["keras_tuner", backend], medians["kerasdl", backend]
        lines.append(f"| {backend} | {theirs:.1f} s | {ours:.1f} s | {theirs / ours:.1f} x | {plain / ours:.1f} x |")
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return "\n".join([*lines, "", f"The plain PyTorch loop took {plain:.1f} s. {machine}; {versions}.", ""])


if __name__ == "__main__":
    main()
