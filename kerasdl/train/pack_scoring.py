"""Takes members out of a pack's stack: their weights, their scores, their answers."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasdl.train.answers import Answers, answers, joined
from kerasdl.train.member import MemberProgram, State
from kerasdl.train.programs import Programs
from kerasdl.train.scoring import confusion


def member_weights(program: MemberProgram, state: State) -> Callable[[int], list[np.ndarray]]:
    """Returns who gives the weights of the member at a place in the stack, in the order of `keras.Model.weights`.

    They leave the device once for all members: to cut a member out there is a program for each shape.
    """

    @functools.cache
    def on_host() -> tuple[list[np.ndarray], list[np.ndarray]]:
        return _on_host(state.trainable), _on_host(state.non_trainable)

    def weights(place: int) -> list[np.ndarray]:
        trainable, others = ([np.array(stack[place]) for stack in part] for part in on_host())
        return program.weights(state._replace(trainable=trainable, non_trainable=others))

    return weights


def scores(programs: Programs, state: State, chunks: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """Scores all members.

    Args:
        programs: Their programs.
        state: Their state, its metrics as before the first batch.
        chunks: The rows in batches; nothing is scored where there are none.

    Returns:
        The metrics by name, each of `(members,)`.
    """
    held = tuple(state)
    for batch in chunks:
        held, _ = programs.evaluate(held, batch)
    return dict(programs.results(State(*held).metrics)) if chunks else {}


def test_scores(
    program: MemberProgram,
    programs: Programs,
    state: State,
    chunks: Sequence[tuple[Any, ...]],
    weights: Mapping[int, list[np.ndarray]],
    members: int,
) -> dict[int, dict[str, Any]]:
    """Scores members on rows that their weights were not chosen by.

    Args:
        program: One of them.
        programs: The programs of all.
        state: Their state, its metrics as before the first batch.
        chunks: The rows in batches; nothing is scored where there are none.
        weights: Those to be scored, by the members' places in the stack.
        members: How many the stack holds.

    Returns:
        `test`, the metrics by name, `confusion` and `answers`, as `kerasdl.train.Outcome` holds them, by place.
    """
    if not chunks or not weights:
        return {}
    filler = next(iter(weights.values()))
    trainable, others = program.with_weights([weights.get(place, filler) for place in range(members)])
    device = keras.ops.convert_to_tensor
    held = tuple(state._replace(trainable=[*map(device, trainable)], non_trainable=[*map(device, others)]))
    counts: dict[int, Any] = dict.fromkeys(weights, 0)
    parts: dict[int, list[Answers]] = {place: [] for place in weights}
    for batch in chunks:
        held, predictions = programs.evaluate(held, batch)
        truth, found = _on_host([batch[1], predictions])
        for place, count in counts.items():
            own = confusion(truth, found[place])
            counts[place] = None if own is None or count is None else count + own
            parts[place].append(answers(truth, found[place]))
    results = programs.results(State(*held).metrics)
    columns = dict(zip(results, _on_host(list(results.values())), strict=True))
    return {
        place: {
            "test": {name: float(column[place]) for name, column in columns.items()},
            "confusion": counts[place],
            "answers": joined(parts[place]),
        }
        for place in weights
    }


def _on_host(tensors: Sequence[Any]) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]
