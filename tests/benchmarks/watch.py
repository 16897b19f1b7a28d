"""`python -m tests.benchmarks.watch`: what GradientMagnitude costs, against the same `fit` without it.

Two equal models of six dense layers of 64 train in turns in one process, one of them watched at every batch; what is
compared is each turn with its neighbour, because a machine's speed drifts. Beside the wall time stands the processor
time of all threads, which other processes on the machine disturb less.
"""

import argparse
import statistics
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from tests.benchmarks.measuring import FIRST, Benchmark, Case, Facts, Options, in_turns, markdown, run

STEPS = 220


def paired(options: Options) -> Facts:
    """Times turns of one epoch with and without the callback: microseconds of a step, and the ratio of neighbours."""
    import keras
    import numpy as np

    from kerasdl import data
    from kerasdl.watch import GradientMagnitude

    digits = data.load("digits").train
    times = -(-STEPS * options.batch_size // len(digits.x))
    x = np.tile(digits.x.reshape(len(digits.x), -1), (times, 1)).astype("float32")
    y = np.tile(digits.y, times)

    def model() -> keras.Model:
        keras.utils.set_random_seed(0)
        hidden = [keras.layers.Dense(64, activation="relu") for _ in range(6)]
        model = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(10, activation="softmax")])
        compiled = {"jit_compile": False} if options.graph else {}
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **compiled)
        return model

    def turn(model: keras.Model, callbacks: list[Any]) -> tuple[float, float]:
        wall, processor = time.perf_counter(), time.process_time()
        model.fit(x, y, batch_size=options.batch_size, verbose=0, shuffle=False, callbacks=callbacks)
        return time.perf_counter() - wall, time.process_time() - processor

    plain, watched = model(), model()
    sides = {"plain": partial(turn, plain, []), "watched": partial(turn, watched, [GradientMagnitude()])}
    spent = in_turns(sides, options.turns + FIRST)
    for one, other in zip(plain.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    steps = -(-len(x) // options.batch_size)
    pairs = list(zip(spent["plain"], spent["watched"], strict=True))
    return {
        "step": statistics.median(plain[0] for plain, _ in pairs) / steps * 1e6,
        "wall": statistics.median(watched[0] / plain[0] for plain, watched in pairs),
        "processor": statistics.median(watched[1] / plain[1] for plain, watched in pairs),
    }


def table(medians: Mapping[Case, Facts], options: Options) -> str:
    """Returns the section."""
    rows = []
    for backend in options.backends:
        found = medians["paired", backend]
        rows.append([backend, f"{found['step']:.0f} us", f"{found['wall']:.3f} x", f"{found['processor']:.3f} x"])
    return (
        f"An MLP of six layers of 64 with Adam by Keras' `fit`, batch {options.batch_size}"
        f"{', `jit_compile=False`' if options.graph else ''}: two equal models train in turns in one process, one with "
        f"`GradientMagnitude()` at every batch, {options.turns} turns of about {STEPS} steps each; the ratio is the "
        f"median of neighbouring turns' (medians of {options.times} processes). Both end with the same weights to the "
        "bit. `python -m tests.benchmarks.watch` measures them again.\n\n"
        f"{markdown(['backend', 'a step', 'watched / not', 'the same of processor time'], rows)}"
    )


def options_of(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--graph", action="store_true", help="compile the models with jit_compile=False")


BENCHMARK = Benchmark(
    module="tests.benchmarks.watch",
    title="Watching gradients in fit",
    description="Keras' fit with GradientMagnitude at every batch and without.",
    peers={"paired": paired},
    table=table,
    declare=options_of,
)

if __name__ == "__main__":
    run(BENCHMARK)
