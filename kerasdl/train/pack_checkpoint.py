"""What a pack keeps to go on in the middle of its training."""

from collections.abc import Sequence

import keras
import numpy as np

from kerasdl.train.checkpoint import Checkpoint
from kerasdl.train.member import State
from kerasdl.train.seats import Seat

KIND = "pack"


def checkpoint_of(epoch: int, state: State, seats: Sequence[Seat]) -> Checkpoint:
    """Returns all that a pack's members are after an epoch.

    Args:
        epoch: 1 is the first.
        state: The members' tensors.
        seats: Who stands where in them.
    """
    leaves = keras.tree.flatten(_changing(state))
    arrays = {f"state.{i}": np.asarray(keras.ops.convert_to_numpy(leaf)) for i, leaf in enumerate(leaves)}
    held = {}
    for seat in seats:
        number = seat.member.longest.number
        held[str(number)] = {
            "position": seat.position,
            "seconds": {str(trial): seconds for trial, seconds in seat.seconds.items()},
            "progress": seat.progress.facts(),
        }
        arrays |= {f"best.{number}.{i:05d}": one for i, one in enumerate(seat.progress.best_weights or [])}
    trials = [seat.member.longest.number for seat in seats]
    return Checkpoint(epoch, {"kind": KIND, "trials": trials, "seats": held}, arrays)


def restored(found: Checkpoint, state: State, seats: Sequence[Seat]) -> State:
    """Lets members go on after a checkpoint that holds all of them, in whatever places.

    Args:
        found: The checkpoint.
        state: The members' tensors at the start.
        seats: The members; how they go is set as it was.

    Returns:
        Their tensors after the checkpoint's epoch.
    """
    held = [found.facts["seats"][str(seat.member.longest.number)] for seat in seats]
    places = [seat["position"] for seat in held]
    kept = _changing(state)
    arrays = (found.arrays[f"state.{i}"][places] for i in range(len(keras.tree.flatten(kept))))
    again = State(*keras.tree.pack_sequence_as(kept, [keras.ops.convert_to_tensor(array) for array in arrays]))
    for seat, facts in zip(seats, held, strict=True):
        prefix = f"best.{seat.member.longest.number}."
        best = [found.arrays[name] for name in sorted(found.arrays) if name.startswith(prefix)]
        seat.progress.restore(facts["progress"], best or None)
        seat.seconds = {int(trial): seconds for trial, seconds in facts["seconds"].items()}
    return again._replace(numbers=state.numbers)


def _changing(state: State) -> tuple[list[object], ...]:
    """Leaves out what every epoch begins anew, and numbers that stay."""
    return tuple(state._replace(metrics=[], numbers=[], random=[]))
