"""The one seam between kerasdl and the backends.

Each file offers the same functions, and only these files import a backend:

- `value_and_grad(function)`: `function(tensors) -> (loss, more)` becomes `tensors -> ((loss, more), gradients)`.
- `map_members(function, axes)`: `function` of one member becomes one of all members, stacked along the first axis of
  each argument whose entry in `axes` is 0; the others are shared (`None`).
- `cut(tensor, sizes)`: a flat tensor in pieces of these sizes, in one operation.
- `FUSES_ROWS`: whether a program adds up many rows in one loop of vector instructions, whatever is done to each first.
- `norm(tensor)`: the 2-norm of a flat tensor, as programs find it soonest, where they do not.
- `epoch_program(step, results, seen, after_step, convolves=, steps=)`: one epoch as one program, `(state, data, full,
  rest) -> (state, metrics, seen)`; `data` holds the parts of batches, all rows of each, `full` the row numbers of each
  full batch, `rest` those left over, as `kerasdl.train.order.batches` gives them. A step gives the state and a list of
  one float32 tensor of the shape `seen`, which are stacked along a new first axis, or an empty one where that is
  `None`. `convolves` says that steps hold convolutions, `steps` how many will run in all. `after_step()` is called
  after each, where Python calls them.
- `compiled(function, brief=)`: a function of tensors as one program. This and an epoch have `prepare(*arguments)`,
  which compiles for arguments of these shapes without training, and may run in a thread of its own. `brief` says that
  few steps are to come, so that a program which is made quickly ends before a fast one.
- `brief_steps()`, `brief_scorings()`: fewer steps than this, and fewer scorings of rows, are few.
- `forget()`: lets go of what the backend keeps of programs that nobody holds any more.
- `set_seed(seed)`: the backend's own random state.
- `random_state(seed, epoch)`: the arrays from which layers without a seed of their own draw in an epoch of a trial;
  `pure(state)` lets Keras' layers run as pure functions that draw from it, and `begin_epoch(seed, epoch)` sets it for
  Keras' `fit`; `drawn_state()` gives what that has come to in the middle of an epoch, and `restore_drawn(arrays)` sets
  it again.
- `quick_layers()`: within this `with` statement Keras' layers compute the same in the way that suits the device; `pure`
  does so, too.
- `quick_variables()`: within this `with` statement variables are made in the way that takes least time.
- `read(variable)`: the value of a Keras variable as a NumPy array.
- `settle(model)`: lets a model's variables hold what `fit` has made of them, in the middle of an epoch.
- `packs_at_once()`: how many packs of small operations may train at once, in threads. `share_processors(packs)` is
  called in each such thread before an epoch, with the number that train now.
- `device()`: what it computes on, in words. `free_memory()`: bytes that are free there.
"""

import importlib
import random
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import psutil

from kerasdl.cores import cores

if TYPE_CHECKING:
    import keras

# Each holds its members and its program in memory.
MOST_AT_ONCE = 4


def current_backend() -> ModuleType:
    """Returns the file for the backend that Keras runs on."""
    import keras

    return importlib.import_module(f"kerasdl.train.backends.{keras.backend.backend()}")


def set_seed(seed: int) -> None:
    """Sets the random states that Keras' layers draw from.

    `keras.utils.set_random_seed` does the same, but imports TensorFlow wherever that is installed.
    """
    random.seed(seed)
    np.random.seed(seed)
    current_backend().set_seed(seed)


def values(variables: Sequence["keras.Variable"]) -> list[np.ndarray]:
    """Returns the values of variables as NumPy arrays of their own."""
    read = current_backend().read
    return [np.array(read(variable)) for variable in variables]


def most_at_once() -> int:
    """Returns how many packs may train at once on processors, each of which keeps little more than one busy."""
    return min(MOST_AT_ONCE, cores())


def free_host_memory() -> int:
    """Returns how much of the machine's memory is free, in bytes."""
    return int(psutil.virtual_memory().available)
