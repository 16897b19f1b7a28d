"""What a pack runs: an epoch, an evaluation and the metrics, of all members at once or of one after another."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import keras

from kerasdl.train.building import exclusive
from kerasdl.train.member import MemberProgram, State
from kerasdl.train.trial import first_line
from kerasdl.train.watching import Probe

METRICS = State._fields.index("metrics")
TIMED_STEPS = 3
# With fewer steps to come, no program of convolutions is worth timing: the two that would be timed take longer to make.
FEWEST_TIMED_STEPS = 100
# How much faster than one after another all at once can be hoped to be, where it is not known.
HOPED = 2.0

_chosen: dict[str, "Choice"] = {}


@dataclass(frozen=True)
class Choice:
    """Whether members run at once.

    Attributes:
        together: At once, or one after another.
        why: What decided it, for the reader of a run; empty where nothing had to be decided.
    """

    together: bool
    why: str = ""


class Programs:
    """The compiled functions of one pack.

    `epoch(state, data, full, rest)` gives the state after an epoch, its metrics, and what was seen of its steps,
    `evaluate(state, batch)` the state with its metrics updated and the predictions, `results(metrics)` the metrics by
    name. States, metrics and predictions have the members as their first axis.

    Args:
        program: One member.
        backend: The file of `kerasdl.train.backends` for the running backend.
        members: How many there are.
        shared_order: Whether all see the same batches.
        together: Whether one program runs them all at once.
        steps: How many steps a member takes in all; where training was interrupted they make the same programs again.
        scorings: How often rows are scored in all.
        convolves: Whether steps hold convolutions.
        probe: Who measures members between epochs, by `measure(state, batch)`.
        after_step: Called after each step of an epoch, where the backend has no loop of its own.
    """

    def __init__(
        self,
        program: MemberProgram,
        backend: ModuleType,
        members: int,
        *,
        shared_order: bool,
        together: bool,
        steps: float,
        scorings: float,
        convolves: bool = False,
        probe: Probe | None = None,
        after_step: Callable[[], None] = lambda: None,
    ) -> None:
        self.together = together and members > 1
        step, evaluate = _of_tuples(program.train_step), _of_tuples(program.evaluate)
        results = exclusive(program.results)
        if self.together:
            step = backend.map_members(step, (0, None if shared_order else 0))
            evaluate = backend.map_members(evaluate, (0, None))
            results = backend.map_members(results, (0,))
        turns = 1 if self.together else members
        runs = steps * turns
        brief = runs < backend.brief_steps()
        quick = brief or scorings * turns < backend.brief_scorings()
        observer = program.observer
        seen: tuple[int, ...] | None = None if observer is None else (observer.numbers, len(observer.names))
        if seen is not None and self.together:
            seen = (members, *seen)
        epoch = backend.epoch_program(
            step, lambda state: results(state[METRICS]), seen, after_step, convolves=convolves, steps=runs
        )
        compiled = backend.compiled(evaluate, brief=quick), backend.compiled(results, brief=quick)
        self._compiled = (epoch, compiled[0])
        # Where the members are in the state, the data, and the rows of full batches and of the rest.
        self._axes = (0, None, None, None) if shared_order else (0, None, 1, 0)
        if self.together:
            self.epoch: Callable[..., Any] = epoch
            self.evaluate, self.results = compiled
        else:
            self.epoch = _in_turn(epoch, self._axes, members)
            self.evaluate = _in_turn(compiled[0], (0, None), members)
            self.results = _in_turn(compiled[1], (0,), members)
        if probe is not None:
            self.measure = self._measuring(program, probe, backend, members, brief=quick)

    def _measuring(
        self, program: MemberProgram, probe: Probe, backend: ModuleType, members: int, *, brief: bool
    ) -> Callable[..., Any]:
        @exclusive
        def measure(state: Any, batch: Any) -> Any:
            return probe(program, State(*state), batch)

        if self.together:
            return cast(Callable[..., Any], backend.compiled(backend.map_members(measure, (0, None)), brief=brief))
        return _in_turn(backend.compiled(measure, brief=brief), (0, None), members)

    def prepare(self, state: Any, data: Any, full: Any, rest: Any, chunks: list[Any]) -> None:
        """Compiles what an epoch needs without running it, so that another thread can meanwhile run another pack."""
        if not self.together:
            parts = zip((state, data, full, rest), self._axes, strict=True)
            state, data, full, rest = (_member(part, 0, axis) for part, axis in parts)
        self._compiled[0].prepare(state, data, full, rest)
        for batch in chunks:
            self._compiled[1].prepare(state, batch)


def choose(
    program: MemberProgram,
    backend: ModuleType,
    state: State,
    batch: tuple[Any, ...],
    members: int,
    steps: int,
    key: str | None,
) -> Choice:
    """Times a few steps both ways where running members together may lose.

    Convolutions whose kernels differ between members run as grouped ones, which processors are slow at.

    Args:
        program: One member.
        backend: The running backend's file.
        state: The members' state at the start.
        batch: One batch, shared by all.
        members: How many members there are.
        steps: How many steps are to come.
        key: What is timed, once in a process; `None` where running together wins without question.

    Returns:
        What to do.
    """
    if key is None or members == 1:
        return Choice(True)
    if steps < FEWEST_TIMED_STEPS:
        return Choice(False, f"one member after another: {steps} steps are too few to try the other way")
    key = f"{backend.device()} {members} {batch[0].shape} {key}"
    if key in _chosen:
        return _chosen[key]
    step = _of_tuples(program.train_step)
    making, alone = _seconds(_in_turn(backend.compiled(step), (0, None), members), state, batch)
    if alone * steps * (1 - 1 / HOPED) < making:
        return Choice(False, f"one member after another: {steps} steps take less time than trying the other way")
    try:
        _, together = _seconds(backend.compiled(backend.map_members(step, (0, None))), state, batch)
    except Exception as error:  # noqa: BLE001 - whatever a backend cannot map runs one after another
        choice = Choice(False, f"one member after another, since mapping over them fails ({first_line(error)})")
    else:
        ratio = together / alone
        how = "one member after another" if ratio > 1 else "all members at once"
        choice = Choice(ratio <= 1, f"{how}: a step of all at once took {ratio:.2f} times as long")
    return _chosen.setdefault(key, choice)


def _seconds(step: Callable[..., Any], state: State, batch: tuple[Any, ...]) -> tuple[float, float]:
    """Returns how long the first step takes, which makes the program, and how long one takes after it."""
    begun = time.perf_counter()
    _finish(step(tuple(state), batch)[0])
    made = time.perf_counter()
    for _ in range(TIMED_STEPS):
        _finish(step(tuple(state), batch)[0])
    return made - begun, (time.perf_counter() - made) / TIMED_STEPS


def _finish(state: Any) -> None:
    """Waits until a backend has computed what it promised."""
    keras.ops.convert_to_numpy(state[METRICS][0])


def _of_tuples(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a function of a `State`, which gives one and more, take and give plain tuples; every backend maps those."""

    @exclusive
    def with_tuples(state: Any, *arguments: Any) -> Any:
        after, more = function(State(*state), *arguments)
        return tuple(after), more

    return with_tuples


def _in_turn(function: Callable[..., Any], axes: tuple[int | None, ...], members: int) -> Callable[..., Any]:
    """Makes a function of one member take and give stacks, one member after another."""

    def of_all(*arguments: Any) -> Any:
        outputs = [
            function(*(_member(argument, number, axis) for argument, axis in zip(arguments, axes, strict=True)))
            for number in range(members)
        ]
        return keras.tree.map_structure(lambda *own: keras.ops.stack(own), *outputs)

    return of_all


def _member(argument: Any, number: int, axis: int | None) -> Any:
    if axis is None:
        return argument
    return keras.tree.map_structure(lambda tensor: tensor[number] if axis == 0 else tensor[:, number], argument)
