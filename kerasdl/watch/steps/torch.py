"""Recording on PyTorch, with its calls for many tensors at once: `keras.ops` would take one for each tensor and sum."""

from collections.abc import Sequence
from typing import Any

import keras
import torch

from kerasdl.train.backends.torch_norms import shortened
from kerasdl.watch.reduction import NORMS
from kerasdl.watch.seam import Update, heard_apply
from kerasdl.watch.steps.recording import ROWS, Listened, RecordingStep, Tensor


class Step(RecordingStep):
    """Runs the model's own train function, which is Python, and stacks the rows of many steps."""

    def __init__(self, model: keras.Model, listened: Listened, every: int) -> None:
        super().__init__(model, listened, every)
        self._plain = model.train_function
        self._step = 0
        self._waiting: list[Tensor] = []

    def __call__(self, *arguments: Any) -> Any:
        """Runs one call of the train function."""
        recorded = self._step % self._every == 0
        self._step += 1
        if not recorded:
            return self._plain(*arguments)
        heard: list[Update] = []
        with heard_apply(self._model.optimizer, self._listened, copies, heard.append):
            logs = self._plain(*arguments)
        if heard:
            with torch.no_grad():
                self._waiting.append(self._row(heard[-1]))
        if len(self._waiting) >= ROWS:
            self._empty()
        return logs

    def begin_epoch(self) -> None:
        """Forgets all rows and starts to count steps anew."""
        self._step, self._read, self._waiting = 0, [], []

    def _norms(self, gradients: Sequence[Tensor], old: Sequence[Tensor], new: Sequence[Tensor]) -> Tensor:
        return norms(gradients, old, new)

    def _empty(self) -> None:
        if self._waiting:
            self._read.append(torch.stack(self._waiting).cpu().numpy())
            self._waiting = []


def copies(weights: Sequence[Tensor]) -> list[Tensor]:
    """Copies tensors in one call."""
    # Adding zero would turn -0.0 into 0.0; multiplying by one keeps every bit.
    return list(torch._foreach_mul(list(weights), 1.0))


def norms(gradients: Sequence[Tensor], old: Sequence[Tensor], new: Sequence[Tensor]) -> Tensor:
    """Computes the norms with calls for many tensors at once."""
    measured = [*gradients, *old, *torch._foreach_sub(new, old), *torch._foreach_sign(gradients)]
    return torch.stack(torch._foreach_norm([shortened(tensor) for tensor in measured])).view(NORMS, len(old))
