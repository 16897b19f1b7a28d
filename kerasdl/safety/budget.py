"""Keeps a configuration from asking for more memory than the weights that came with it could fill."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError

# An optimizer that was not saved has up to three variables for each of the model's.
PER_BYTE = 4
FREE = 2**26


@contextlib.contextmanager
def variables_within(stored: int, path: Path) -> Iterator[None]:
    """Refuses the first Keras variable with which those made inside become much larger than the weights stored.

    Keras makes a model's variables from its configuration before it reads a weight, so a file of 2 KB that says
    `units: 10**9` would take the machine's memory; it offers no place to look at a shape before that.

    Args:
        stored: The bytes of the stored weights.
        path: The file, for the message.

    Yields:
        Nothing.

    Raises:
        UserError: The limit is passed.
    """
    import keras

    first, made = keras.Variable.__init__, 0
    limit = PER_BYTE * stored + FREE

    def counted(self: Any, initializer: Any, shape: Any = None, dtype: Any = None, *more: Any, **options: Any) -> None:
        nonlocal made
        if shape is not None:
            made += 4 * math.prod(int(size or 1) for size in ((shape,) if isinstance(shape, int) else shape))
            if made > limit:
                raise UserError(
                    f"{path}: refused, as its configuration asks for variables of {made:,} bytes "
                    f"and its weights have {stored:,}"
                )
        first(self, initializer, shape, dtype, *more, **options)

    keras.Variable.__init__ = counted
    try:
        yield
    finally:
        keras.Variable.__init__ = first
