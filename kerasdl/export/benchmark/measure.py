"""Measures models side by side, each in a process of its own, all of them in turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kerasdl.errors import UserError
from kerasdl.export.benchmark.agree import compare_with_float32
from kerasdl.export.benchmark.candidates import Missing, find_candidates
from kerasdl.export.benchmark.machine import describe
from kerasdl.export.benchmark.opening import Runner, give_rows, open_all
from kerasdl.export.benchmark.process import WorkerError
from kerasdl.export.benchmark.progress import Progress
from kerasdl.export.benchmark.result import Benchmark, Cell, Load
from kerasdl.export.benchmark.settings import Settings
from kerasdl.export.benchmark.sources import find_sources
from kerasdl.export.benchmark.statistics import PERCENTS, mean_interval, percentile

# A row whose calls are slow leaves the turns after this many times its share of seconds, and not before these rounds.
PATIENCE = 3
FEWEST_ROUNDS = 3

# Turns of the server scenario at each load: at most so many, and fewer where each would have fewer requests than this.
SERVER_TURNS = 10
FEWEST_TURNS = 3
REQUESTS = 30


def benchmark(
    paths: Sequence[Any] | Any,
    *,
    settings: Settings | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    rows: np.ndarray | Sequence[np.ndarray] | None = None,
    progress: Progress | None = None,
) -> Benchmark:
    """Measures models side by side on every runtime and provider that really loads here.

    Each row has a process of its own. All take turns, forth and back, at each batch size, so that a machine whose speed
    drifts treats them alike. With the default settings a row takes about 15 seconds on 2 cores.

    Args:
        paths: Model files, folders with models, runs, or live Keras models, which are saved to a temporary file; one,
            or several in a list.
        settings: How long and how often; `Settings()` by default.
        shapes: The shape of a row, without the batch axis, for inputs whose file leaves it open, by the input's name
            (`""` for the one input).
        rows: Rows to call with, one array for each input; by default a run's own, else random ones.
        progress: Shows how far it is.

    Returns:
        What was found. After an interruption that came between rounds, what was found until then.

    Raises:
        UserError: A file cannot be used, or the shape of its rows is not known.

    Example:
        >>> found = benchmark(["runs/digits"])
        >>> found.table()[["file", "way", "batch_size", "median", "rows_per_second"]]
        >>> found.picks()[0].row
        'best.onnx, ONNX Runtime CPU, 1 thread'
    """
    settings = settings or Settings()
    progress = progress or Progress(enabled=False)
    started = time.perf_counter()
    given = None if rows is None else [rows] if isinstance(rows, np.ndarray) else list(rows)
    with ExitStack() as stack:
        stack.enter_context(progress)
        sources = find_sources(_files(paths, stack))
        machine = describe()
        candidates, missing = find_candidates(sources, settings)
        if not candidates:
            reasons = "; ".join(f"{each.what}: {each.reason}" for each in missing)
            raise UserError(f"nothing can be measured here: {reasons}")
        progress.plan(len(candidates), settings)
        runners = open_all(candidates, missing, stack, progress.opened)
        found = Benchmark([], missing, machine, settings)
        folder = give_rows(runners, settings, shapes or {}, given, found.notes, stack)
        try:
            _measure(runners, found, folder, progress)
        except KeyboardInterrupt:
            if not any(runner.samples for runner in runners):
                raise
            found.interrupted = True
        _summarize(runners, found)
        found.seconds = time.perf_counter() - started
    return found


def _files(paths: Sequence[Any] | Any, stack: ExitStack) -> list[Path]:
    """Returns the paths; a live model is saved."""
    given: list[Any] = list(paths) if isinstance(paths, list | tuple) else [paths]
    if all(isinstance(each, str | Path) for each in given):
        return [Path(each) for each in given]
    import tempfile

    import keras

    files = []
    for each in given:
        if isinstance(each, str | Path):
            files.append(Path(each))
        elif isinstance(each, keras.Model):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            files.append(folder / f"{each.name}.keras")
            each.save(files[-1])
        else:
            raise UserError(f"benchmark takes paths and Keras models, not {type(each).__name__}")
    return files


def _measure(runners: list[Runner], found: Benchmark, folder: Path, progress: Progress) -> None:
    settings = found.settings
    for runner in list(runners):
        progress.say(f"first run and warming up: {runner.row.label}")
        _attempt(runner, runners, found, partial(_first, runner, found))
        progress.step()
    compare_with_float32(runners, settings, folder, found.missing)
    for number in range(settings.rounds):
        order = list(runners) if number % 2 == 0 else list(reversed(runners))
        for size in settings.batch_sizes:
            for runner in order:
                if runner in runners and _has_turn(runner, size, number, settings):
                    progress.say(f"round {number + 1} of {settings.rounds}, {size} at once: {runner.row.label}")
                    _attempt(runner, runners, found, partial(_burst, runner, size, settings))
        progress.step(len(runners))
    if settings.server:
        _serve_all(runners, found, progress)
    for runner in list(runners):
        _attempt(runner, runners, found, partial(_memory, runner))


def _attempt(runner: Runner, runners: list[Runner], found: Benchmark, what: Callable[[], None]) -> None:
    """Does something with a row; a row that fails is measured no further, and the reason is kept."""
    try:
        what()
    except WorkerError as error:
        runner.process.close()
        runners.remove(runner)
        found.missing.append(Missing(runner.row.label, str(error)))


def _first(runner: Runner, found: Benchmark) -> None:
    """Runs each batch size for the first time and warms it up."""
    sizes = runner.sizes(found.settings)
    if not sizes:
        raise WorkerError(f"takes {runner.batch} rows at once and nothing else; give --batch-sizes {runner.batch}")
    if sizes != list(found.settings.batch_sizes):
        found.notes.append(f"{runner.row.label} takes {runner.batch} rows at once and nothing else")
    for size in sizes:
        try:
            answer = runner.process.ask("first", batch_size=size, limit=found.settings.warm_up)
        except WorkerError as error:
            # One size may be too much for the memory, or not what an operator of the file was written for.
            if not runner.process.alive or (size == sizes[-1] and not runner.row.cells):
                raise
            found.missing.append(Missing(f"{runner.row.label}, {size} at once", str(error)))
            continue
        runner.row.cells[size] = Cell(size, answer["first_seconds"], answer["stable"], (), mean_interval([0.0]), (), ())


def _has_turn(runner: Runner, size: int, number: int, settings: Settings) -> bool:
    spent = runner.spent.get(size, 0.0)
    return size in runner.row.cells and (number < FEWEST_ROUNDS or spent < PATIENCE * settings.seconds)


def _burst(runner: Runner, size: int, settings: Settings) -> None:
    seconds = settings.seconds / settings.rounds
    # Where one call is longer than a turn, calls that are not counted would double its time.
    settle = runner.spent.get(size, 0.0) < PATIENCE * seconds * (len(runner.samples.get(size, [])) or 1)
    answer = runner.process.ask("burst", batch_size=size, seconds=seconds, settle=settle)
    runner.samples.setdefault(size, []).append(answer["nanoseconds"])
    runner.spent[size] = runner.spent.get(size, 0.0) + answer["seconds"]


def _serve_all(runners: list[Runner], found: Benchmark, progress: Progress) -> None:
    """Loads each row at fractions of its own capacity: what it does one call after another, at the smallest size."""
    settings = found.settings
    size = settings.batch_sizes[0]
    for turn in range(SERVER_TURNS):
        for fraction in settings.loads:
            for runner in [each for each in runners if size in each.samples]:
                progress.say(f"server at {fraction:.0%} of its capacity: {runner.row.label}")
                _attempt(runner, runners, found, partial(_serve, runner, size, fraction, turn, settings))
        progress.step(len(runners))


def _serve(runner: Runner, size: int, fraction: float, turn: int, settings: Settings) -> None:
    rate = fraction * 1e9 / float(np.mean(np.concatenate(runner.samples[size])))
    turns = max(min(SERVER_TURNS, int(rate * settings.server_seconds / REQUESTS)), FEWEST_TURNS)
    if turn >= turns:
        return
    seconds = settings.server_seconds / turns
    seed = settings.seed + turn
    answer = runner.process.ask("serve", batch_size=size, rate=rate, seconds=seconds, seed=seed)
    runner.served.setdefault(fraction, []).append(np.array(answer["latencies"]))
    runner.rates[fraction] = rate


def _memory(runner: Runner) -> None:
    answer = runner.process.ask("memory")
    runner.row.memory = max(answer["peak"] - answer["empty"], 0)


def _summarize(runners: Sequence[Runner], found: Benchmark) -> None:
    """Turns samples into percentiles; rows and sizes without any are left out."""
    for runner in runners:
        runner.row.cells = {size: _cell(runner, size) for size in runner.row.cells if runner.samples.get(size)}
        runner.row.loads = [_load(runner, fraction) for fraction in sorted(runner.served)]
        if runner.row.cells:
            found.rows.append(runner.row)
    sizes = {row.label: [str(size) for size, cell in row.cells.items() if not cell.stable] for row in found.rows}
    load, cores = found.machine["load_at_start"], found.machine["cores"]
    if load is not None and load > cores:
        found.notes.append(
            f"{load:.1f} programs wanted to run on {cores} cores before this began: times and tails are also theirs"
        )
    unstable = [f"{label} ({', '.join(those)})" for label, those in sizes.items() if those]
    if unstable:
        found.notes.append(
            f"not stable after {found.settings.warm_up:g} s of warming up (rows at once): {'; '.join(unstable)}"
        )


def _cell(runner: Runner, size: int) -> Cell:
    before = runner.row.cells[size]
    rounds = [np.array(each) / 1e9 for each in runner.samples[size]]
    rates = [size / float(each.mean()) for each in rounds]
    return Cell(
        batch_size=size,
        first_seconds=before.first_seconds,
        stable=before.stable,
        percentiles=tuple(percentile(rounds, percent) for percent in PERCENTS),
        throughput=mean_interval(rates),
        medians=tuple(float(np.median(each)) for each in rounds),
        rates=tuple(rates),
    )


def _load(runner: Runner, fraction: float) -> Load:
    rounds = runner.served[fraction]
    percentiles = tuple(percentile(rounds, percent) for percent in PERCENTS)
    return Load(fraction, runner.rates[fraction], percentiles)
