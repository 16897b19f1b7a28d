"""Trains the members of a pack as one program."""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from kerasdl.data import Dataset, Split
from kerasdl.train.backends import current_backend, set_seed
from kerasdl.train.member import MemberProgram, State
from kerasdl.train.order import batches, row_order
from kerasdl.train.scoring import test_scores
from kerasdl.train.trial import Logs, Outcome, Progress, Recorder, Trial

# Bytes of predictions that are held at once while rows are scored.
SCORING_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Member:
    """Trials that differ in the number of epochs alone, so that the longest holds the others.

    Attributes:
        trials: In ascending order of their epochs.
    """

    trials: tuple[Trial, ...]

    @property
    def longest(self) -> Trial:
        """The trial that is trained; the others end on its way."""
        return self.trials[-1]


@dataclass
class _Seat:
    """One member while it trains: where it stands in the stack, and how it goes."""

    member: Member
    progress: Progress
    position: int
    logs: Logs = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    ended: bool = False


class PackTrainer:
    """Trains members that build the same architecture, as one program on the running backend.

    Args:
        members: They share architecture, optimizer, loss, metrics and batch size, and differ in seed and in numbers
            that `kerasdl.train.numbers` names, or in the learning rate.
        dataset: What to learn from.
        recorder: Who is told.
    """

    def __init__(self, members: Sequence[Member], dataset: Dataset, recorder: Recorder) -> None:
        self._dataset = dataset
        self._recorder = recorder
        self._seats = [_Seat(member, Progress(member.longest.early_stopping), i) for i, member in enumerate(members)]
        self._batch_size = members[0].longest.batch_size
        self._backend = current_backend()
        self._seconds: list[float] = []
        self._initialize(members)
        self._make_programs()
        self._validation_chunks = self._chunks(dataset.validation)

    def _initialize(self, members: Sequence[Member]) -> None:
        states = []
        for number, member in enumerate(members):
            model = build(member.longest)
            if number == 0:
                split = self._dataset.train
                self._program = MemberProgram(model, split.x[:2], split.y[:2], self._backend.value_and_grad)
                self.parameters = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
            states.append(self._program.initial_state(model))
        self._state = State(*keras.tree.map_structure(_stack, *[tuple(state) for state in states]))

    def _make_programs(self) -> None:
        program, backend = self._program, self._backend
        seeds = {seat.member.longest.seed for seat in self._seats}
        # Members that share their seed share their batches too: the first product is then one for all of them.
        self._shared_order = len(seeds) == 1
        batch = None if self._shared_order else 0
        single = len(self._seats) == 1
        mapped = _unmapped if single else backend.map_members
        step = mapped(_as_tuple(program.train_step), (0, batch, batch))
        results = mapped(program.results, (0,))
        evaluate = mapped(_as_tuple(program.evaluate), (0, None, None))
        self._epoch = backend.epoch_program(step, lambda state: results(state[3]))
        self._evaluate = backend.compiled(evaluate)
        self._results = backend.compiled(results)

    def run(self) -> None:
        """Trains until every member has ended, telling the recorder of each epoch and each end."""
        train = self._dataset.train
        x, y = keras.ops.convert_to_tensor(train.x), keras.ops.convert_to_tensor(train.y)
        epoch = 0
        while any(not seat.ended for seat in self._seats):
            epoch += 1
            started = time.perf_counter()
            full, rest = batches(self._orders(epoch), self._batch_size)
            self._reset_metrics()
            state, metrics = self._epoch(tuple(self._state), x, y, _device(full), _device(rest))
            self._state = State(*state)
            logs = self._logs(metrics, self._validation())
            seconds = time.perf_counter() - started
            self._end_epoch(epoch, logs, seconds / sum(not seat.ended for seat in self._seats))
            self._regroup(epoch, seconds)

    def _regroup(self, epoch: int, seconds: float) -> None:
        """Lets the members that ended go, where a smaller program repays its making."""
        self._seconds.append(seconds)
        left = [seat for seat in self._seats if not seat.ended]
        if len(self._seconds) < 2 or not left or len(left) == len(self._seats):
            return
        to_come = max(seat.member.longest.epochs for seat in left) - epoch
        usual = min(self._seconds[1:])
        # An epoch is not proportional to the number of members; half of the share that ended is a careful guess.
        saved = 0.5 * usual * (1 - len(left) / len(self._seats)) * to_come
        if saved <= self._seconds[0] - usual:
            return
        places = [seat.position for seat in left]
        self._state = State(
            *keras.tree.map_structure(lambda tensor: keras.ops.take(tensor, places, axis=0), tuple(self._state))
        )
        for position, seat in enumerate(left):
            seat.position = position
        self._seats, self._seconds = left, []
        self._make_programs()

    def _orders(self, epoch: int) -> np.ndarray:
        rows = len(self._dataset.train)
        orders = {seat.member.longest.seed: None for seat in self._seats}
        found = {seed: row_order(rows, seed, epoch) for seed in orders}
        if self._shared_order:
            return next(iter(found.values()))
        return np.stack([found[seat.member.longest.seed] for seat in self._seats])

    def _reset_metrics(self) -> None:
        members = len(self._seats)
        fresh = [_device(np.stack([value] * members)) for value in self._program.initial_metrics()]
        self._state = self._state._replace(metrics=fresh)

    def _validation(self) -> dict[str, Any]:
        if not self._validation_chunks:
            return {}
        self._reset_metrics()
        for x, y in self._validation_chunks:
            state, _ = self._evaluate(tuple(self._state), x, y)
            self._state = State(*state)
        return dict(self._results(self._state.metrics))

    def _logs(self, train: dict[str, Any], validation: dict[str, Any]) -> list[dict[str, float]]:
        columns = {name: keras.ops.convert_to_numpy(value) for name, value in train.items()}
        columns |= {f"val_{name}": keras.ops.convert_to_numpy(value) for name, value in validation.items()}
        return [{name: float(value[seat.position]) for name, value in columns.items()} for seat in self._seats]

    def _chunks(self, split: Split) -> list[tuple[Any, Any]]:
        size = self._chunk_size(max(1, len(split)))
        return [(_device(split.x[i : i + size]), _device(split.y[i : i + size])) for i in range(0, len(split), size)]

    def _chunk_size(self, rows: int) -> int:
        widest = max(int(np.prod(layer.output.shape[1:])) for layer in self._program.model.layers if _has_output(layer))
        return max(1, min(rows, SCORING_BYTES // (4 * widest * len(self._seats))))

    def _end_epoch(self, epoch: int, logs: list[dict[str, float]], share: float) -> None:
        rows: dict[int, Logs] = {}
        ending: list[tuple[_Seat, list[Trial]]] = []
        for seat, own in zip(self._seats, logs, strict=True):
            if seat.ended:
                continue
            seat.logs = own
            running = [trial for trial in seat.member.trials if trial.epochs >= epoch]
            for trial in running:
                seat.seconds[trial.number] = seat.seconds.get(trial.number, 0.0) + share / len(running)
            rows.update({trial.number: own for trial in running})
            stop = seat.progress.update(epoch, own, functools.partial(self._weights, seat))
            ended = [trial for trial in running if stop or trial.epochs == epoch]
            seat.ended = stop or len(ended) == len(running)
            if ended:
                ending.append((seat, ended))
        self._recorder.epoch(epoch, rows, share)
        for seat, trials in ending:
            self._finish(seat, trials)

    def _weights(self, seat: _Seat) -> list[np.ndarray]:
        def pick(tensor: Any) -> np.ndarray:
            return np.asarray(keras.ops.convert_to_numpy(tensor[seat.position]))

        held = self._state._replace(optimizer=[], metrics=[], numbers=[])
        return self._program.weights(State(*keras.tree.map_structure(pick, tuple(held))))

    def _finish(self, seat: _Seat, trials: list[Trial]) -> None:
        logs, weights = seat.progress.ending(seat.logs, lambda: self._weights(seat))
        parts: dict[str, Any] = {"logs": logs, "parameters": self.parameters}
        if seat.progress.diverged:
            outcome = Outcome("diverged", **parts, message=seat.progress.diverged)
        else:
            outcome = Outcome("completed", **parts, weights=weights, **self._test(seat, weights))
        for trial in trials:
            self._recorder.finished(trial, replace(outcome, seconds=seat.seconds[trial.number]))

    def _test(self, seat: _Seat, weights: list[np.ndarray]) -> dict[str, Any]:
        model, split = self._program.model, self._dataset.test
        own = [float(keras.ops.convert_to_numpy(number[seat.position])) for number in self._state.numbers]
        with self._program.with_numbers(own):
            return test_scores(model, weights, split)


def build(trial: Trial) -> keras.Model:
    """Builds a trial's model with every random state set by the trial's seed.

    Raises:
        TypeError: What was built is no compiled Keras model.
    """
    set_seed(trial.seed)
    model = trial.build()
    if not isinstance(model, keras.Model) or not model.compiled:
        raise TypeError(f"the builder gave {type(model).__name__}, not a compiled keras.Model")
    return model


def _as_tuple(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a function of a `State` take and give plain tuples, which every backend maps over."""

    def with_tuples(state: Any, *arguments: Any) -> Any:
        result = function(State(*state), *arguments)
        if isinstance(result, State):
            return tuple(result)
        return (tuple(result[0]), *result[1:])

    return with_tuples


def _unmapped(function: Callable[..., Any], axes: Sequence[int | None]) -> Callable[..., Any]:
    """Makes a function of one member take and give a stack of one: a pack of one pays for no mapping."""

    def of_one(*arguments: Any) -> Any:
        own = [
            argument if axis is None else keras.tree.map_structure(lambda tensor: tensor[0], argument)
            for argument, axis in zip(arguments, axes, strict=True)
        ]
        return keras.tree.map_structure(lambda tensor: tensor[None], function(*own))

    return of_one


def _stack(*values: np.ndarray) -> Any:
    return _device(np.stack(values))


def _device(array: np.ndarray) -> Any:
    return keras.ops.convert_to_tensor(array)


def _has_output(layer: keras.Layer) -> bool:
    try:
        return isinstance(layer.output, keras.KerasTensor)
    except (AttributeError, ValueError):
        return False
