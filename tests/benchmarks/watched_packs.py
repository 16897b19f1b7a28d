"""`python -m tests.benchmarks.watched_packs`: what watching every batch's gradients costs in packs.

Two packs of the same learning rates of an MLP of six layers of 64, one of them watched as an empty `[watch]` table
asks for, train in turns in one process, an epoch each; what is compared is each epoch with its neighbour, because a
machine's speed drifts. An epoch ends when its rows are in the run's database.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.measuring import FIRST, Benchmark, Case, Facts, Options, in_turns, markdown, run
from tests.benchmarks.training import BATCH_SIZE, data, declare, rates

SIDES: dict[str, dict[str, object] | None] = {"plain": None, "watched": {}}


def paired(options: Options) -> Facts:
    """Trains both packs in turns: the median seconds of an epoch of each, and the median ratio of neighbours."""

    def timed(epochs: Iterator[int]) -> float:
        begun = time.perf_counter()
        next(epochs)
        return time.perf_counter() - begun

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        packs = {name: _epochs(options, Path(folder) / name, watch, stack) for name, watch in SIDES.items()}
        kept = in_turns({name: partial(timed, epochs) for name, epochs in packs.items()}, options.epochs)
    ratios = [watched / plain for plain, watched in zip(kept["plain"], kept["watched"], strict=True)]
    return {**{name: statistics.median(own) for name, own in kept.items()}, "ratio": statistics.median(ratios)}


def _epochs(options: Options, directory: Path, watch: dict[str, object] | None, stack: ExitStack) -> Iterator[int]:
    """Makes a pack that writes a run, and trains it an epoch at a time."""
    from kerasdl.runs import Run, RunWriter
    from kerasdl.train.pack import PackTrainer
    from kerasdl.tune import Study
    from kerasdl.tune.interruption import Interruption
    from kerasdl.tune.progress import Progress
    from kerasdl.tune.recorder import RunRecorder
    from kerasdl.tune.tracking import Tracking
    from kerasdl.tune.trials import TrialMaker
    from kerasdl.tune.watching import trial_watch

    given: dict[str, Any] = {"data": data(options), "epochs": options.epochs, "batch_size": BATCH_SIZE, "watch": watch}
    given |= {"fixed": {"depth": 6, "width": 64}, "space": {"learning_rate": rates(options.members)}}
    study = Study(model="mlp", optimizer="adam", **given)
    writer = stack.enter_context(RunWriter(directory, study.frozen({})))
    read = stack.enter_context(Run.open(directory))
    progress = Progress(study, enabled=False)
    recorder = RunRecorder(
        writer, study.goal.name, progress, Interruption(), Tracking([], study.name, writer, read, progress)
    )
    seen = trial_watch(study.watch, writer)
    maker = TrialMaker(study, study.load_data(), seen)
    settings = {number: study.settings({"learning_rate": rate}) for number, rate in enumerate(rates(options.members))}
    writer.add_configurations(0, settings)
    trials = maker.trials(settings)
    progress.round(trials, set(), None)
    (pack,) = maker.packs(trials, maker.blueprints(trials)[0])
    trainer = PackTrainer(pack.members, maker.dataset_of(trials[0]), recorder, pack.timed, None, seen)
    trainer.begin(pack.how)
    while not trainer.ended:
        trainer.compute()
        trainer.tell()
        yield trainer.trained


def table(medians: Mapping[Case, Facts], options: Options) -> str:
    """Returns the section."""
    rows = []
    for backend in options.backends:
        found = medians["paired", backend]
        rows.append([backend, f"{found['plain']:.3f} s", f"{found['watched']:.3f} s", f"{found['ratio']:.2f} x"])
    return (
        f"{options.members} learning rates of an MLP of six layers of 64 with Adam as one pack on Fashion-MNIST, "
        f"{options.rows or 'all'} rows, batch 128. Two such packs, one watched, train in turns in one process, "
        f"{options.epochs} epochs each, the first {FIRST} left out; the ratio is the median of neighbouring epochs' "
        f"(medians of {options.times} processes). Watched: four numbers of each weight in every step, their "
        "statistics and the run's rows. `python -m tests.benchmarks.watched_packs` measures them again.\n\n"
        f"{markdown(['backend', 'epoch', 'epoch, watched', 'watched / not'], rows)}"
    )


def options_of(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    declare(parser, epochs=22, rows=12_000)
    parser.add_argument("--members", type=int, default=9)


BENCHMARK = Benchmark(
    module="tests.benchmarks.watched_packs",
    title="Watching gradients in packs",
    description="Packs of an MLP with gradients watched in every step and without.",
    peers={"paired": paired},
    table=table,
    declare=options_of,
)

if __name__ == "__main__":
    run(BENCHMARK)
