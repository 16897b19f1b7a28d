"""A model that was opened by a runtime."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Input:
    """An input of a model.

    Attributes:
        name: Its name.
        shape: Without the batch axis; `None` for a size that the file leaves open.
        dtype: NumPy's name of its type.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass
class Opened:
    """A model that was opened by a runtime.

    Attributes:
        inputs: What the file says of its inputs; nothing where it says nothing.
        prepare: Takes arrays with the types of the inputs and gives a call without arguments, which returns when the
            outputs are there.
        fetch: Takes what a call returned and gives the outputs as NumPy arrays.
        provider: What really computes, such as `"CPUExecutionProvider"` or `"jax cpu"`.
        batch: The one number of rows that the file takes, `None` for any.
        facts: More for the record: versions, threads, precision.
    """

    inputs: Sequence[Input]
    prepare: Callable[[Arrays], Callable[[], Any]]
    provider: str
    fetch: Callable[[Any], Arrays] = list
    batch: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
