"""Starts a process for each row, opens its model there, and hands it the rows that it is called with."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from kerasdl.errors import UserError
from kerasdl.export.benchmark.candidates import Candidate, Missing
from kerasdl.export.benchmark.process import Process, WorkerError
from kerasdl.export.benchmark.result import Row, name_way
from kerasdl.export.benchmark.rows import COMPARED, Kind, check_names, check_rows, kind, random_rows, settle_shapes
from kerasdl.export.benchmark.runners import Input
from kerasdl.export.benchmark.settings import Settings
from kerasdl.export.benchmark.sources import Source

RANDOM = "rows are random: agreement with float32 means more on rows of one's own (--rows)"

# A process more must leave the machine this share of its memory.
FREE = 0.05


@dataclass
class Runner:
    """A row and the process that measures it."""

    row: Row
    process: Process
    inputs: list[Input]
    batch: int | None
    kind: Kind = ()
    distinct: int = 0
    samples: dict[int, list[list[int]]] = field(default_factory=dict)
    served: dict[float, list[np.ndarray]] = field(default_factory=dict)
    rates: dict[float, float] = field(default_factory=dict)
    spent: dict[int, float] = field(default_factory=dict)

    @property
    def source(self) -> Source:
        """The file."""
        return self.row.candidate.source

    def sizes(self, settings: Settings) -> list[int]:
        """Returns the batch sizes that the file takes."""
        return [size for size in settings.batch_sizes if self.batch in (None, size)]


def open_all(
    candidates: Sequence[Candidate], missing: list[Missing], stack: ExitStack, say: Callable[[str], None]
) -> list[Runner]:
    """Opens each model in a process of its own, one after another, so that no load time is disturbed by another.

    Args:
        candidates: What to open.
        missing: Takes what could not be opened.
        stack: Ends the processes.
        say: Is told what is done.

    Returns:
        The rows that can be measured.

    Raises:
        UserError: A file that was named could not be opened in any way.
    """
    names = short_names([candidate.source.path for candidate in candidates])
    runners: list[Runner] = []
    for candidate in candidates:
        file = names[candidate.source.path]
        way = name_way(candidate, candidate.requested)
        say(f"opening {file}, {way}")
        memory = psutil.virtual_memory()
        if memory.available < FREE * memory.total:
            missing.append(
                Missing(f"{file}, {way}", "no memory left for one more process; measure fewer files at once")
            )
            continue
        process = stack.enter_context(Process(candidate.environment))
        try:
            answer = process.ask("open", **candidate.request())
        except WorkerError as error:
            process.close()
            missing.append(Missing(f"{file}, {way}", str(error)))
            continue
        runners.append(_runner(candidate, file, process, answer))
    _check_opened(candidates, runners, missing, names)
    return runners


def _runner(candidate: Candidate, file: str, process: Process, answer: Mapping[str, Any]) -> Runner:
    facts = dict(answer["facts"])
    precision = candidate.source.precision or facts.pop("precision", "") or "float32"
    row = Row(
        file=file,
        candidate=candidate,
        provider=answer["provider"],
        precision=precision,
        import_seconds=answer["import_seconds"],
        load_seconds=answer["load_seconds"],
        facts=facts,
    )
    inputs = [Input(name, tuple(shape), dtype) for name, shape, dtype in answer["inputs"]]
    return Runner(row, process, inputs, answer["batch"])


def _check_opened(
    candidates: Sequence[Candidate], runners: Sequence[Runner], missing: Sequence[Missing], names: Mapping[Path, str]
) -> None:
    opened = {runner.source.path for runner in runners}
    for candidate in candidates:
        path = candidate.source.path
        if candidate.source.named and path not in opened:
            reason = next(each.reason for each in missing if each.what.startswith(f"{names[path]}, "))
            raise UserError(f"{path}: cannot be opened ({reason})")
    if candidates and not runners:
        raise UserError(f"nothing could be opened: {missing[-1].what}: {missing[-1].reason}")


def short_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Names files by as few of their last folders as tell them apart."""
    unique = sorted(set(paths))
    depth = 1
    while len({path.parts[-depth:] for path in unique}) < len(unique):
        depth += 1
    return {path: "/".join(path.parts[-depth:]) for path in unique}


def give_rows(
    runners: Sequence[Runner],
    settings: Settings,
    shapes: Mapping[str, tuple[int, ...]],
    rows: Sequence[np.ndarray] | None,
    notes: list[str],
    stack: ExitStack,
) -> Path:
    """Gives each process the rows that its model is called with: the same ones to all models that take the same.

    Args:
        runners: The rows of the benchmark.
        settings: Says how many.
        shapes: What the person gave for open shapes.
        rows: Rows of the person's own, by default those of a file's run, else random ones.
        notes: Takes what a reader must know.
        stack: Removes the files.

    Returns:
        A folder for more files.

    Raises:
        UserError: A shape is not known, or rows do not fit.
    """
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    count = max(*settings.batch_sizes, COMPARED)
    check_names(shapes, [each.name for runner in runners for each in runner.inputs])
    files: dict[tuple[Kind, Path | None, bool], Path] = {}
    distinct: dict[Path, int] = {}
    for runner in runners:
        source = runner.source
        inputs = _inputs(runner, runners, shapes)
        if rows is not None:
            check_rows(rows, source, inputs)
        runner.kind = kind(inputs)
        key = (runner.kind, source.run, source.scaled)
        if key not in files:
            found = list(rows) if rows is not None else _own_rows(runner)
            if found is None:
                found = random_rows(runner.kind, count, settings.seed)
                if RANDOM not in notes:
                    notes.append(RANDOM)
            if source.scaled and source.run is not None:
                found = [_scale(source.run, found[0])]
            files[key] = folder / f"rows-{len(files)}.npz"
            distinct[files[key]] = len(found[0])
            np.savez(files[key], *(np.take(array, range(count), axis=0, mode="wrap") for array in found))
        runner.process.ask("rows", path=str(files[key]))
        runner.distinct = distinct[files[key]]
        if source.scaled:
            note = f"{runner.row.file} takes scaled features: its times do not hold the scaling, which ONNX files do"
            notes += [note] if note not in notes else []
    return folder


def _inputs(runner: Runner, runners: Sequence[Runner], shapes: Mapping[str, tuple[int, ...]]) -> list[Input]:
    """Returns a model's inputs; those of a file that does not tell are another's of its folder, or the person's."""
    if runner.inputs:
        return settle_shapes(runner.source, runner.inputs, shapes)
    folder = runner.source.path.parent
    for other in runners:
        if other.inputs and other.source.path.parent == folder:
            # A run's Keras model takes scaled features, in the same shape.
            return settle_shapes(other.source, other.inputs, shapes)
    if not shapes:
        raise UserError(
            f"{runner.source.path}: TorchScript does not say which inputs it takes, and no other model in its folder "
            "does; give the shape of a row, as in --shape 28x28x1"
        )
    return [Input(name, shape, "float32") for name, shape in shapes.items()]


def _own_rows(runner: Runner) -> list[np.ndarray] | None:
    """Returns the test rows of the run that a file comes from, where they are what it takes."""
    if runner.source.run is None:
        return None
    found = run_rows(runner.source.run)
    return [found] if [tuple(found.shape[1:])] == [shape for shape, _ in runner.kind] else None


def run_rows(run: Path) -> np.ndarray:
    """Returns raw test rows of a run."""
    from kerasdl.runs import Run

    with Run.open(run) as opened:
        return opened.sample


def _scale(run: Path, rows: np.ndarray) -> np.ndarray:
    from kerasdl.export.run import scaling_of
    from kerasdl.runs import Run

    with Run.open(run) as opened:
        return scaling_of(opened.data).apply(rows)
