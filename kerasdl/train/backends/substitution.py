"""Functions of Keras that others stand in for, in one thread and for a while."""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class Substitution:
    """Lets callers put other functions in the place of some of a module's or a class'.

    Another pack may be compiled in one thread while `fit` runs in another: whoever is outside the `with` statement
    calls what was there before.

    Args:
        owner: The module or class.
        names: The names of its functions.
    """

    def __init__(self, owner: Any, *names: str) -> None:
        self._present: ContextVar[Mapping[str, Callable[..., Any]] | None] = ContextVar(owner.__name__, default=None)
        for name in names:
            setattr(owner, name, self._either(name, getattr(owner, name)))

    def _either(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*arguments: Any, **options: Any) -> Any:
            present = self._present.get()
            return (original if present is None else present[name])(*arguments, **options)

        return call

    @contextmanager
    def by(self, functions: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
        """Puts `functions`, by name, in the place of the owner's within a `with` statement."""
        token = self._present.set(functions)
        try:
            yield
        finally:
            self._present.reset(token)
