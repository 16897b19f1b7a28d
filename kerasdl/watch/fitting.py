"""Puts a recording step in place of a model's own while one fit runs, and takes it away, whatever ends that fit."""

from typing import Any

import keras

from kerasdl.errors import UserError
from kerasdl.watch.steps import RecordingStep


class WatchedFunction:
    """A train function that records for one call of `fit`, and is gone after it.

    A fit that ends by an error or an interrupt tells no callback. So this notices, at its next call, that another fit
    has begun, puts the model's own function back and hands the call on.

    Args:
        model: The model that trains.
        step: What to run instead of its train function.
    """

    def __init__(self, model: keras.Model, step: RecordingStep) -> None:
        self.model = model
        self.step = step
        self.plain = model.train_function
        self.place()

    def place(self) -> None:
        """Puts this in place for the fit that runs now."""
        self._fit = _current_fit(self.model)
        self.model.train_function = self

    def __call__(self, *arguments: Any) -> Any:
        """Runs one call of the train function."""
        if not self.belongs_to_current_fit():
            self.remove()
            return self.plain(*arguments)
        try:
            return self.step(*arguments)
        except StopIteration:
            # The data ran out, which Keras handles: the fit goes on.
            raise
        except BaseException:
            self.remove()
            raise

    def belongs_to_current_fit(self) -> bool:
        """Tells whether the fit that this was made for still runs."""
        return self._fit is _current_fit(self.model)

    def is_in_place(self) -> bool:
        """Tells whether the model trains through this; compiling it anew takes it away."""
        return self.model.train_function is self

    def remove(self) -> None:
        """Gives the model its own train function back."""
        if self.is_in_place():
            self.model.train_function = self.plain


def _current_fit(model: keras.Model) -> object:
    """Returns what tells one call of `fit` from the next: each begins with a History of its own."""
    return getattr(model, "history", None)


def clear_place(model: keras.Model, where: str) -> None:
    """Makes sure that a model trains through its own function.

    Args:
        model: A model at the start of a fit.
        where: Who asks, for messages.

    Raises:
        UserError: Another callback already watches this fit.
    """
    there = model.train_function
    if isinstance(there, WatchedFunction):
        if there.belongs_to_current_fit():
            raise UserError(f"{where}: one watches this fit already; give one of them all the layers")
        there.remove()
