"""The one narrow way to write a run: only the process that owns it does."""

import math
import os
import shutil
import sqlite3
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from kerasdl.errors import BusyError, UserError
from kerasdl.runs import answers
from kerasdl.runs.database import array_to_bytes, connect, readable_errors, to_json
from kerasdl.watch.table import STATISTICS

LOCK_NAME = "run.lock"
STUDY_NAME = "study.toml"
WEIGHTS_NAME = "weights"
_WEIGHT_COLUMNS = ("position", "layer", "variable", "quantity", *STATISTICS, "steps", "not_finite")
GRADIENT_COLUMNS = ("epoch", *_WEIGHT_COLUMNS)
SEEN_COLUMNS = ("trial", *_WEIGHT_COLUMNS)


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    Attributes:
        status: `"completed"`, `"diverged"` or `"failed"`.
        score: The objective at the end of training.
        test: Metrics on the test rows.
        parameters: Number of trainable parameters.
        seconds: The trial's share of the time.
        message: What a person should know about the end.
        confusion: int64, `(classes, classes)`, test rows by true and predicted class.
        weights: The model's weights at the end, in Keras' order.
        answers: What the model answers for each test row, arrays by name, see `kerasdl.runs.answers`.
    """

    status: str
    score: float | None = None
    test: Mapping[str, float] = field(default_factory=dict)
    parameters: int | None = None
    seconds: float = 0.0
    message: str | None = None
    confusion: np.ndarray | None = None
    weights: list[np.ndarray] | None = None
    answers: Mapping[str, np.ndarray] = field(default_factory=dict)


class RunWriter:
    """Writes the rows of a run. Use it as a context manager: leaving it gives the run free.

    Args:
        directory: The run's directory; made where it is missing.
        study: The text of the frozen study, TOML.
        fresh: Whether a run that is already there is moved aside (never deleted).

    Raises:
        BusyError: Another process writes this run.
        UserError: The directory holds a run of another study, or cannot be written to.
    """

    def __init__(self, directory: Path, study: str, *, fresh: bool = False) -> None:
        self.directory = directory
        self.path = directory / "run.sqlite"
        self.moved: Path | None = None
        with readable_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            _check_ours(directory)
            self._lock = _lock(directory)
        try:
            with readable_errors(directory):
                if fresh:
                    self.moved = _move_aside(directory)
                _check_same_study(directory, study)
                if not (directory / STUDY_NAME).exists():
                    write_atomically(directory / STUDY_NAME, study.encode())
            self._connection = connect(directory, write=True)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        untouched = any(isinstance(part, UserError) for part in exception) and self._is_empty()
        self._connection.close()
        if untouched:
            # Nothing was trained, and the mended study is not to be told that another one is here.
            for name in (STUDY_NAME, "run.sqlite", "run.sqlite-wal", "run.sqlite-shm"):
                (self.directory / name).unlink(missing_ok=True)
        self._lock.release()

    def _is_empty(self) -> bool:
        try:
            return self._connection.execute("SELECT COUNT(*) FROM trial").fetchone()[0] == 0
        except sqlite3.DatabaseError:
            return False

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with readable_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def record_fact(self, name: str, value: Any) -> None:
        """Writes one fact about the run (`"data"`, `"environment"`, ...), replacing an older one."""
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, to_json(value)))

    def record_array(self, name: str, array: np.ndarray) -> None:
        """Writes one array that belongs to the run, replacing an older one."""
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO array VALUES (?, ?)", (name, array_to_bytes(array)))

    def record_event(self, kind: str, message: str) -> None:
        """Writes one event with the time it is now."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._transaction():
            self._connection.execute("INSERT INTO event (time, kind, message) VALUES (?, ?, ?)", (time, kind, message))

    def add_configurations(self, round_number: int, configurations: Mapping[int, Mapping[str, Any]]) -> None:
        """Writes the configurations of one round of the oracle, all or none."""
        rows = [(number, to_json(dict(settings)), round_number) for number, settings in configurations.items()]
        with self._transaction():
            self._connection.executemany("INSERT INTO configuration VALUES (?, ?, ?)", rows)

    def start_trials(self, trials: Iterable[tuple[int, int, int, str]], after_epoch: int = 0) -> None:
        """Marks trials as running, forgetting what an interrupted attempt left of them beyond its last checkpoint.

        Args:
            trials: Number, configuration, seed and a sentence on how it runs, of each.
            after_epoch: How many of their epochs are kept, and not trained again.
        """
        rows = list(trials)
        with self._transaction():
            for table in ("epoch", "gradient", "measure"):
                self._connection.executemany(
                    f"DELETE FROM {table} WHERE trial = ? AND epoch > ?", [(row[0], after_epoch) for row in rows]
                )
            self._connection.executemany(
                "INSERT INTO trial (trial, configuration, seed, status, how) VALUES (?, ?, ?, 'running', ?) "
                "ON CONFLICT (trial) DO UPDATE SET status = 'running', how = excluded.how",
                rows,
            )

    def record_programs(self, programs: Iterable[Sequence[Mapping[int, int]]], after_epoch: int = 0) -> None:
        """Notes which trials run side by side, and which of these share their epochs.

        Args:
            programs: For each program its members, and for each member the epochs that its trials ask for by their
                number. Members that run one after another are programs of their own.
            after_epoch: How many of their epochs are kept, as in `start_trials`: trials that go on keep their places.
        """
        query = "INSERT OR IGNORE INTO place" if after_epoch else "INSERT OR REPLACE INTO place"
        with self._transaction():
            first = self._connection.execute("SELECT COALESCE(MAX(program) + 1, 0) FROM place").fetchone()[0]
            rows = [
                (trial, program, member, epochs)
                for program, members in enumerate(programs, start=first)
                for member, trials in enumerate(members)
                for trial, epochs in trials.items()
            ]
            self._connection.executemany(f"{query} VALUES (?, ?, ?, ?)", rows)

    def record_epoch(
        self, epoch: int, metrics: Mapping[int, Mapping[str, float]], seconds: float, waited: float = 0.0
    ) -> None:
        """Writes one finished epoch of trials that ran together, committed when this returns.

        Args:
            epoch: 1 is the first.
            metrics: For each trial, the value of each metric.
            seconds: Each trial's share of the epoch's time.
            waited: Seconds of these for which training waited for data.
        """
        rows = [(trial, epoch, to_json(dict(values)), seconds, waited) for trial, values in metrics.items()]
        with self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO epoch VALUES (?, ?, ?, ?, ?)", rows)

    def record_gradients(self, epoch: int, gradients: Iterable[Sequence[Any]]) -> None:
        """Writes what was seen of the gradients of one epoch.

        Args:
            epoch: 1 is the first.
            gradients: Rows with the values of `SEEN_COLUMNS` in their order; statistics are NaN of no value.
        """
        places = ", ".join("?" * (1 + len(SEEN_COLUMNS)))
        query = f"INSERT OR REPLACE INTO gradient (epoch, {', '.join(SEEN_COLUMNS)}) VALUES ({places})"
        with self._transaction():
            # SQLite keeps NaN as null.
            self._connection.executemany(query, ((epoch, *row) for row in gradients))

    def record_measures(self, epoch: int, measures: Mapping[int, Mapping[str, float]]) -> None:
        """Writes what was measured after an epoch.

        Args:
            epoch: 0 is before training.
            measures: For each trial, the value of each measure.
        """
        rows = [
            (trial, epoch, name, value if math.isfinite(value) else None)
            for trial, own in measures.items()
            for name, value in own.items()
        ]
        with self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO measure VALUES (?, ?, ?, ?)", rows)

    def finish_trial(self, trial: int, result: TrialResult) -> None:
        """Writes a trial's end: first its weights, then, in one transaction, its row."""
        if result.weights is not None:
            with readable_errors(self.directory):
                self._save_weights(trial, result.weights)
        with self._transaction():
            self._connection.execute(
                "UPDATE trial SET status = ?, score = ?, test = ?, parameters = ?, seconds = ?, message = ? "
                "WHERE trial = ?",
                (
                    result.status,
                    None if result.score is None or not np.isfinite(result.score) else float(result.score),
                    to_json(dict(result.test)),
                    result.parameters,
                    result.seconds,
                    result.message,
                    trial,
                ),
            )
            if result.confusion is not None:
                truth, predicted = np.nonzero(result.confusion)
                counts = result.confusion[truth, predicted]
                rows = [(trial, int(a), int(b), int(n)) for a, b, n in zip(truth, predicted, counts, strict=True)]
                self._connection.executemany("INSERT OR REPLACE INTO confusion VALUES (?, ?, ?, ?)", rows)
            arrays = [(answers.name(trial, key), array_to_bytes(one)) for key, one in result.answers.items()]
            self._connection.executemany("INSERT OR REPLACE INTO array VALUES (?, ?)", arrays)

    def drop_answers(self, trials: Iterable[int]) -> None:
        """Deletes what trials answered for each test row."""
        names = [(answers.name(trial, key),) for trial in trials for key in answers.KINDS]
        if names:
            with self._transaction():
                self._connection.executemany("DELETE FROM array WHERE name = ?", names)

    def _save_weights(self, trial: int, weights: list[np.ndarray]) -> None:
        path = weights_path(self.directory, trial)
        path.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
            named: dict[str, Any] = {f"{number:05d}": array for number, array in enumerate(weights)}
            np.savez(file, **named)
        Path(file.name).replace(path)

    def keep_weights(self, trials: Iterable[int]) -> None:
        """Deletes the saved weights of all trials but these."""
        kept = {weights_path(self.directory, trial) for trial in trials}
        for path in (self.directory / WEIGHTS_NAME).glob("*"):
            if path not in kept:
                path.unlink()
        if not kept:
            shutil.rmtree(self.directory / WEIGHTS_NAME, ignore_errors=True)


def weights_path(directory: Path, trial: int) -> Path:
    """Returns where the weights of a trial are kept while its configuration may still win."""
    return directory / WEIGHTS_NAME / f"trial-{trial:06d}.npz"


def load_weights(directory: Path, trial: int) -> list[np.ndarray]:
    """Reads the weights of a trial, in Keras' order."""
    with np.load(weights_path(directory, trial), allow_pickle=False) as content:
        return [content[name] for name in sorted(content.files)]


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that a reader sees the old one or the new one, never a part."""
    with replacing(path) as partial:
        partial.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a file beside `path` to write to within a `with` statement, which then takes its place, or goes."""
    with readable_errors(path):
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix, delete=False
        ) as file:
            partial = Path(file.name)
        try:
            yield partial
            partial.chmod(0o666 & ~_umask())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _lock(directory: Path) -> FileLock:
    lock = FileLock(directory / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(
            f"{directory}: another process is writing this run; wait for it, stop it, or choose another "
            f"directory with --out"
        ) from None
    return lock


def _move_aside(directory: Path) -> Path | None:
    """Moves what a run left in its directory into a sibling with the time in its name."""
    content = [path for path in directory.iterdir() if path.name != LOCK_NAME]
    if not content:
        return None
    place = directory.absolute()
    target = place.with_name(f"{place.name}.{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
    target.mkdir()
    for path in content:
        path.rename(target / path.name)
    return target


def _check_ours(directory: Path) -> None:
    """Refuses somebody's folder that is no run before anything is written into it or moved out of it."""
    others = [path.name for path in directory.iterdir() if path.name != LOCK_NAME and not path.name.startswith(".")]
    if others and STUDY_NAME not in others:
        raise UserError(
            f"{directory}: not empty and not a run (it holds {min(others)!r}); choose another directory with --out"
        )


def _check_same_study(directory: Path, study: str) -> None:
    frozen = directory / STUDY_NAME
    if not frozen.exists():
        return
    try:
        old = _flatten(tomllib.loads(frozen.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{frozen}: damaged ({error}); use --fresh to move this run aside, or another --out") from error
    new = _flatten(tomllib.loads(study))
    differing = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if differing:
        shown = "; ".join(f"{key} was {_show(old.get(key))}, now {_show(new.get(key))}" for key in differing[:3])
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise UserError(
            f"{directory}: holds a run of another study: {shown}{more}; choose another directory with --out, "
            f"or --fresh to move the old run aside"
        )


def _show(value: Any) -> str:
    return "not set" if value is None else repr(value)


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
