"""`python -m tests.benchmarks.watch`: what GradientMagnitude costs, against the same `fit` without it.

Two equal models of six dense layers of 64 train in turns in one process, one of them watched at every batch; what is
compared is each turn with its neighbour, because a machine's speed drifts. Beside the wall time stands the processor
time of all threads, which other processes on the machine disturb less.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

MODES: dict[str, dict[str, Any]] = {"as compiled by default": {}, "jit_compile=False": {"jit_compile": False}}


def measure(batch_size: int, turns: int, mode: str) -> dict[str, float]:
    """Times turns of one epoch of about 220 steps with and without the callback, in this process."""
    import keras

    from kerasdl import data
    from kerasdl.watch import GradientMagnitude

    digits = data.load("digits").train
    times = -(-220 * batch_size // len(digits.x))
    x = np.tile(digits.x.reshape(len(digits.x), -1), (times, 1)).astype("float32")
    y = np.tile(digits.y, times)
    steps = -(-len(x) // batch_size)

    def model() -> keras.Model:
        keras.utils.set_random_seed(0)
        hidden = [keras.layers.Dense(64, activation="relu") for _ in range(6)]
        model = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(10, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **MODES[mode])
        return model

    def turn(model: keras.Model, callbacks: list[Any]) -> tuple[float, float]:
        wall, processor = time.perf_counter(), time.process_time()
        model.fit(x, y, batch_size=batch_size, verbose=0, shuffle=False, callbacks=callbacks)
        return time.perf_counter() - wall, time.process_time() - processor

    watch = GradientMagnitude()
    sides = {"plain": (model(), []), "watched": (model(), [watch])}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number in range(turns + 2):
        for name in sorted(sides, reverse=bool(number % 2)):
            spent = turn(*sides[name])
            # The first turns compile.
            if number >= 2:
                seconds[name].append(spent)
    for one, other in zip(sides["plain"][0].get_weights(), sides["watched"][0].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    return {
        "microseconds": statistics.median(wall for wall, _ in seconds["plain"]) / steps * 1e6,
        **{
            name: statistics.median(
                watched[kind] / plain[kind] for plain, watched in zip(seconds["plain"], seconds["watched"], strict=True)
            )
            for kind, name in enumerate(("wall", "processor"))
        },
    }


def main() -> None:
    """Measures each backend in a process of its own, several times, and prints every result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=["jax", "tensorflow", "torch"])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES)[:1])
    parser.add_argument("--here", action="store_true", help="measure in this process, on KERAS_BACKEND")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.batch_size, options.turns, options.modes[0])))
        return
    for backend in options.backends:
        for mode in options.modes:
            for _ in range(options.times):
                command = [sys.executable, "-m", "tests.benchmarks.watch", "--here", "--modes", mode]
                command += ["--batch-size", str(options.batch_size), "--turns", str(options.turns)]
                environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
                output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
                found = json.loads(output.splitlines()[-1])
                print(
                    f"{backend}, {mode}, batch {options.batch_size}: {found['microseconds']:.0f} us a step; "
                    f"watched {found['wall'] - 1:+.1%} of wall time, {found['processor'] - 1:+.1%} of processor time",
                    flush=True,
                )


if __name__ == "__main__":
    main()
