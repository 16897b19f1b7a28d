"""Recording inside a compiled step: a block of rows on the device, written in place."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasdl.watch import reduction
from kerasdl.watch.seam import Update, replaced
from kerasdl.watch.steps.recording import ROWS, Listened, RecordingStep, Tensor

Write = Callable[[Tensor, Tensor], Any]


class CompiledStep(RecordingStep):
    """Keeps rows in a block of fixed size that the compiled step writes in place.

    The block is `(1 + rows, 4, variables)`. Two numbers of its first row count: the steps of this epoch, and the rows
    written since the last reading. One tensor for all of it costs the step less than three.
    """

    def __init__(self, model: keras.Model, listened: Listened, every: int) -> None:
        super().__init__(model, listened, every)
        self._at_once = -(-model.steps_per_execution // every)
        self._rows = max(ROWS, self._at_once)
        self._expected = 0
        self._function: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Runs one call of the train function."""
        if self._function is None:
            self._function = self._make()
        if self._expected + self._at_once > self._rows:
            self._empty()
        self._expected += self._at_once
        return self._run(*arguments)

    def begin_epoch(self) -> None:
        """Forgets all rows and starts to count steps anew."""
        self._read, self._expected = [], 0
        block = self._block_now()
        if block is not None:
            self._replace(self._empty_block(block.shape[-1]))

    def _empty(self) -> None:
        """Brings the rows on the device to the host."""
        block = self._block_now()
        if block is None:
            return
        values = ops.convert_to_numpy(block)
        steps, written = values[0, :2, 0]
        self._read.append(np.array(values[1 : 1 + int(written)]))
        self._expected = 0
        self._replace(self._empty_block(block.shape[-1], steps))

    def _empty_block(self, variables: int, steps: float = 0) -> np.ndarray:
        block = np.zeros((1 + self._rows, reduction.NORMS, variables), "float32")
        block[0, 0, 0] = steps
        return block

    def _written(self, counts: Tensor, update: Update, write: Write) -> Any:
        """Writes what a step came to, and returns what `write` does.

        Args:
            counts: The block's first row, `(4, variables)`.
            update: The step.
            write: Puts rows, `(places, 4, variables)`, at their places, `(places, 1)`, into the block.
        """

        def with_row() -> Any:
            row = self._row(update)
            place = ops.stack([ops.zeros((), "int32"), 1 + ops.cast(counts[1, 0], "int32")])
            return write(place[:, None], ops.stack([counts + both, row]))

        both = np.zeros(counts.shape, "float32")
        both[:2, 0] = 1
        if self._every == 1:
            return with_row()
        step = np.zeros(counts.shape, "float32")
        step[0, 0] = 1
        return ops.cond(ops.equal(counts[0, 0] % self._every, 0), with_row, lambda: write([[0]], (counts + step)[None]))

    def _made(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Lets Keras make a train function from a step, and leaves the model's own in place."""
        model, plain = self._model, self._model.train_function
        with replaced(model, "train_step", step):
            try:
                model.make_train_function(force=True)
                made: Callable[..., Any] = model.train_function
            finally:
                model.train_function = plain
        return made

    def _make(self) -> Callable[..., Any]:
        """Makes the train function that records."""
        raise NotImplementedError

    def _run(self, *arguments: Any) -> Any:
        raise NotImplementedError

    def _block_now(self) -> Tensor | None:
        """Returns the block, `None` before the first step."""
        raise NotImplementedError

    def _replace(self, block: np.ndarray) -> None:
        raise NotImplementedError
