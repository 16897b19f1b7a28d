"""Trains the members of a pack as one program."""

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasdl.collection import uncollected
from kerasdl.data import Dataset
from kerasdl.train.backends import current_backend
from kerasdl.train.building import LookedAt, build
from kerasdl.train.checkpoint import Checkpoints
from kerasdl.train.frozen import body_of, dataset_of
from kerasdl.train.measuring import probed_rows
from kerasdl.train.member import MemberProgram, State
from kerasdl.train.order import batches, row_order
from kerasdl.train.pack_checkpoint import KIND, checkpoint_of, restored
from kerasdl.train.pack_scoring import member_weights, scores, test_scores
from kerasdl.train.programs import Programs, choose
from kerasdl.train.release import release
from kerasdl.train.resident import resident
from kerasdl.train.seats import Member, Seat
from kerasdl.train.trial import BatchTeller, Logs, Outcome, Progress, Recorder, Trial
from kerasdl.train.watching import Watch


class _Computed(NamedTuple):
    """What an epoch came to: the members' metrics, what was seen of steps, what was measured, its share of the time."""

    logs: Sequence[Logs]
    seen: list[np.ndarray]
    measured: np.ndarray | None
    seconds: float


class PackTrainer:
    """Trains members that build the same architecture, as one program on the running backend.

    Args:
        members: They share architecture, optimizer, loss, metrics and batch size, and differ in seed and in numbers
            that `kerasdl.train.numbers` names, or in the learning rate.
        dataset: What to learn from.
        recorder: Who is told.
        timed: A name for what is built where it must be timed whether running all members at once is faster than one
            after another; `None` where it is without question.
        checkpoints: Who keeps what a killed pack needs to go on.
        watch: What is to be seen of each step.
        thorough: Compile as for a long training, however short it is, so that an epoch's seconds can be compared.
    """

    def __init__(
        self,
        members: Sequence[Member],
        dataset: Dataset,
        recorder: Recorder,
        timed: str | None = None,
        checkpoints: Checkpoints | None = None,
        watch: Watch | None = None,
        *,
        thorough: bool = False,
    ) -> None:
        self._watch = watch
        self._thorough = thorough
        self._dataset = dataset
        self._recorder = recorder
        self._checkpoints = checkpoints
        self._seats = [Seat(member, Progress(member.longest.early_stopping), i) for i, member in enumerate(members)]
        self._batch_size = members[0].longest.batch_size
        self._backend = current_backend()
        self._seconds: list[float] = []
        self._measured_before: np.ndarray | None = None
        self._timed = timed
        self._key = min(self._numbers())
        self.trained = self._stepped = 0
        self._tell_batch = BatchTeller(recorder)
        self._initialize()
        self._data = resident(self._dataset, self._program.model, len(members))
        self._make_programs()
        self._restore()

    def _initialize(self) -> None:
        trials = [seat.member.longest for seat in self._seats]
        with uncollected():
            model = build(trials[0])
        self._dataset, self._body = dataset_of(model, self._dataset), body_of(model)
        split = self._dataset.train
        observer = None if self._watch is None else self._watch.observer(model)
        self._probe = None if self._watch is None else self._watch.probe(model)
        self._program = MemberProgram(model, split.x[:2], split.y[:2], self._backend, observer)
        self.parameters = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
        states = [self._program.initial_state(model), *self._other_states(trials[1:])]
        self._state = State(*keras.tree.map_structure(_stack, *[tuple(state) for state in states]))

    def _other_states(self, trials: Sequence[Trial]) -> list[State]:
        """Returns the initial states of members whose models nobody needs afterwards."""
        states: dict[int, State] = {}
        models = LookedAt()
        for index in sorted(range(len(trials)), key=lambda index: (trials[index].origin, trials[index].seed)):
            with uncollected():
                model = models.model(trials[index])
            if (body := body_of(model)) is not None and body.dataset is not self._dataset:
                raise ValueError("its members begin with different frozen layers")
            states[index] = self._program.initial_state(model)
        return [states[index] for index in range(len(trials))]

    def _make_programs(self) -> None:
        release()
        seeds = {seat.member.longest.seed for seat in self._seats}
        # Members that share their seed share their batches too: the first product is then one for all of them.
        self._shared_order = len(seeds) == 1
        self._begin_epoch(1)
        batch = tuple(part[: self._batch_size] for part in self._data.train)
        steps = self._steps_to_come()
        self.choice = choose(self._program, self._backend, self._state, batch, len(self._seats), steps, self._timed)
        self._programs = Programs(
            self._program,
            self._backend,
            len(self._seats),
            shared_order=self._shared_order,
            together=self.choice.together,
            steps=math.inf if self._thorough else self._epochs() * self._steps(),
            scorings=math.inf if self._thorough else self._epochs() * len(self._data.validation),
            convolves=self._timed is not None,
            probe=self._probe,
            after_step=self._step_ended,
        )

    def _steps(self) -> int:
        return -(-len(self._dataset.train) // self._batch_size)

    def _epochs(self) -> int:
        return max(seat.member.longest.epochs for seat in self._seats)

    def _steps_to_come(self) -> int:
        return (self._epochs() - self.trained) * self._steps()

    def _step_ended(self) -> None:
        self._stepped += 1
        turns = 1 if self._programs.together else len(self._seats)
        self._tell_batch(self._stepped, turns * self._steps())

    def prepare(self) -> None:
        """Compiles what the first epoch needs and measures what comes before it, in a thread of its own perhaps."""
        full, rest = batches(self._orders(1), self._batch_size)
        chunks = {len(chunk[0]): chunk for chunk in (*self._data.validation, *self._data.test)}
        self._programs.prepare(tuple(self._state), self._data.train, _device(full), _device(rest), [*chunks.values()])
        if not self.trained:
            self._measured_before = self._measured()

    @property
    def ended(self) -> bool:
        """Whether every member has ended."""
        return all(seat.ended for seat in self._seats)

    def run(self, how: str) -> None:
        """Trains until every member has ended, telling the recorder of each start, each epoch and each end.

        Args:
            how: A sentence on why they run together.
        """
        self.begin(how)
        while not self.ended:
            self.compute()
            self.tell()

    def begin(self, how: str) -> None:
        """Tells the recorder that the members begin to train."""
        if self._checkpoints is not None:
            self._checkpoints.begin(self._key)
        trials = [trial for seat in self._seats for trial in seat.member.trials]
        self._recorder.started(trials, f"{how}; {self.choice.why}" if self.choice.why else how, self.trained)
        if not self.trained:
            self._tell_measures(self._measured() if self._measured_before is None else self._measured_before)

    def compute(self, beside: int = 1) -> None:
        """Trains the next epoch, in a thread of its own perhaps; the recorder hears of nothing but batches.

        Args:
            beside: How many packs train now, itself among them, which share the processors and the time.
        """
        self._backend.share_processors(beside)
        started = time.perf_counter()
        full, rest = batches(self._orders(self.trained + 1), self._batch_size)
        self._begin_epoch(self.trained + 1)
        self._stepped = 0
        state, metrics, seen = self._programs.epoch(tuple(self._state), self._data.train, _device(full), _device(rest))
        self._state = State(*state)
        logs = self._logs(metrics, scores(self._programs, self._unscored(), self._data.validation))
        rows = [keras.ops.convert_to_numpy(one) for one in seen]
        # What is measured between epochs is no part of what training costs.
        seconds = (time.perf_counter() - started) / beside
        self._computed = _Computed(logs, rows, self._measured(), seconds)

    def tell(self) -> None:
        """Tells the recorder what `compute` came to."""
        logs, seen, measured, seconds = self._computed
        epoch = self.trained + 1
        self._tell_seen(epoch, seen)
        self._end_epoch(epoch, logs, seconds / sum(not seat.ended for seat in self._seats))
        self.trained = epoch
        self._tell_measures(measured)
        self._keep(epoch)
        self._regroup(epoch, seconds)
        if self.ended and self._checkpoints is not None:
            self._checkpoints.discard(self._key)

    def _tell_seen(self, epoch: int, seen: list[np.ndarray]) -> None:
        observer = self._program.observer
        if self._watch is None or observer is None:
            return
        (numbers,) = seen
        if self._programs.together:
            numbers = np.swapaxes(numbers, 0, 1)
        rows = observer.read(numbers[:, :: self._watch.every])
        self._watch.tell(epoch, observer.names, {number: rows[place] for number, place in self._lasting(epoch)})

    def _measured(self) -> np.ndarray | None:
        """Measures every member, `(members, batches, measures)`, where that is asked for."""
        if self._probe is None:
            return None
        measured = [
            self._programs.measure(tuple(self._state), tuple(part[rows] for part in self._data.train))
            for rows in probed_rows(len(self._dataset.train), self._batch_size)
        ]
        return np.stack([keras.ops.convert_to_numpy(one) for one in measured], axis=1)

    def _tell_measures(self, rows: np.ndarray | None) -> None:
        if self._watch is None or self._probe is None or rows is None:
            return
        own = {number: rows[place] for number, place in self._lasting(self.trained)}
        self._watch.tell_measures(self.trained, self._probe.names, own)

    def _lasting(self, epoch: int) -> list[tuple[int, int]]:
        """Returns the numbers of the trials that an epoch is part of, with their members' places in the stack."""
        return [
            (trial.number, seat.position)
            for seat in self._seats
            for trial in seat.member.trials
            if seat.lasted(trial, epoch)
        ]

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
        self._state = self._pick([seat.position for seat in left])
        for position, seat in enumerate(left):
            seat.position = position
        self._seats, self._seconds = left, []
        self._make_programs()

    def _pick(self, positions: Sequence[int]) -> State:
        places = list(positions)
        return State(
            *keras.tree.map_structure(lambda tensor: keras.ops.take(tensor, places, axis=0), tuple(self._state))
        )

    def _orders(self, epoch: int) -> np.ndarray:
        rows = len(self._dataset.train)
        seeds = dict.fromkeys(seat.member.longest.seed for seat in self._seats)
        found = {seed: row_order(rows, seed, epoch) for seed in seeds}
        if self._shared_order:
            return next(iter(found.values()))
        return np.stack([found[seat.member.longest.seed] for seat in self._seats])

    def _begin_epoch(self, epoch: int) -> None:
        own = [self._backend.random_state(seat.member.longest.seed, epoch) for seat in self._seats]
        random = [_stack(*arrays) for arrays in zip(*own, strict=True)]
        self._state = self._state._replace(metrics=self._fresh_metrics(), random=random)

    def _fresh_metrics(self) -> list[Any]:
        return [_device(np.stack([value] * len(self._seats))) for value in self._program.initial_metrics()]

    def _unscored(self) -> State:
        return self._state._replace(metrics=self._fresh_metrics())

    def _logs(self, train: dict[str, Any], validation: dict[str, Any]) -> list[dict[str, float]]:
        columns = {name: keras.ops.convert_to_numpy(value) for name, value in train.items()}
        columns |= {f"val_{name}": keras.ops.convert_to_numpy(value) for name, value in validation.items()}
        return [{name: float(value[seat.position]) for name, value in columns.items()} for seat in self._seats]

    def _end_epoch(self, epoch: int, logs: Sequence[Logs], share: float) -> None:
        rows: dict[int, Logs] = {}
        weights = member_weights(self._program, self._state)
        ending: list[tuple[Seat, list[Trial]]] = []
        for seat, own in zip(self._seats, logs, strict=True):
            if seat.ended:
                continue
            seat.logs = own
            running = [trial for trial in seat.member.trials if trial.epochs >= epoch]
            for trial in running:
                seat.seconds[trial.number] = seat.seconds.get(trial.number, 0.0) + share / len(running)
            rows.update({trial.number: own for trial in running})
            stop = seat.progress.update(epoch, own, functools.partial(weights, seat.position))
            ended = [trial for trial in running if stop or trial.epochs == epoch]
            seat.ended = stop or len(ended) == len(running)
            seat.last = epoch if seat.ended else None
            if ended:
                ending.append((seat, ended))
        self._recorder.epoch(epoch, rows, share)
        if ending:
            self._finish(ending, weights)

    def _finish(self, ending: Sequence[tuple[Seat, list[Trial]]], weights: Callable[[int], list[np.ndarray]]) -> None:
        outcomes: dict[int, Outcome] = {}
        for seat, _ in ending:
            outcome = Outcome("diverged", seat.logs, parameters=self.parameters, message=seat.progress.diverged)
            if not seat.progress.diverged:
                logs, left = seat.progress.ending(seat.logs, functools.partial(weights, seat.position))
                outcome = Outcome("completed", logs, weights=left, parameters=self.parameters)
            outcomes[seat.position] = outcome
        completed = {place: one.weights for place, one in outcomes.items() if one.weights is not None}
        program, programs, rows = self._program, self._programs, self._data.test
        tested = test_scores(program, programs, self._unscored(), rows, completed, len(self._seats))
        for place, parts in tested.items():
            outcomes[place] = replace(outcomes[place], **parts)
        for seat, trials in ending:
            for trial in trials:
                own = replace(outcomes[seat.position], seconds=seat.seconds[trial.number])
                if self._body is not None and own.weights is not None:
                    own = replace(own, weights=self._body.whole(own.weights))
                self._recorder.finished(trial, own)

    def _numbers(self) -> list[int]:
        return [seat.member.longest.number for seat in self._seats]

    def _keep(self, epoch: int) -> None:
        """Writes a checkpoint where it is time for one."""
        if self._checkpoints is None or self.ended or not self._checkpoints.due_after(epoch, self._key):
            return
        self._checkpoints.save(self._key, checkpoint_of(epoch, self._state, self._seats))

    def _restore(self) -> None:
        """Goes on after the last checkpoint that holds all members, if there is one."""
        found = self._checkpoints.find(self._numbers(), KIND) if self._checkpoints else None
        if found is None:
            return
        self._state = restored(found, self._state, self._seats)
        self.trained = found.epoch


def _stack(*values: np.ndarray) -> Any:
    return _device(np.stack(values))


def _device(array: np.ndarray) -> Any:
    return keras.ops.convert_to_tensor(array)
