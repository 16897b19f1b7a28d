"""The one seam between kerasdl and the backends.

Each file offers the same functions, and only these files import a backend:

- `value_and_grad(function)`: `function(tensors) -> (loss, more)` becomes `tensors -> ((loss, more), gradients)`.
- `map_members(function, axes)`: `function` of one member becomes one of all members, stacked along the first axis of
  each argument whose entry in `axes` is 0; the others are shared (`None`).
- `epoch_program(step, results)`: one epoch as one program, `(state, x, y, full, rest) -> (state, metrics)`; `full` holds
  the row numbers of each full batch, `rest` those of what is left over, as `kerasdl.train.order.batches` gives them.
- `compiled(function)`: a function of tensors as one program.
- `device()`: what it computes on, in words. `free_memory()`: bytes that are free there.
"""

import importlib
from types import ModuleType


def current_backend() -> ModuleType:
    """Returns the file for the backend that Keras runs on."""
    import keras

    return importlib.import_module(f"kerasdl.train.backends.{keras.backend.backend()}")


def free_host_memory() -> int:
    """Returns how much of the machine's memory is free, in bytes."""
    import psutil

    return int(psutil.virtual_memory().available)
