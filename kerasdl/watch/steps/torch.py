"""Recording on PyTorch, with its calls for many tensors at once: `keras.ops` would take one for each tensor and sum."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import torch

from kerasdl.watch.seam import Update, heard_apply
from kerasdl.watch.steps.recording import ROWS, Listened, RecordingStep, Tensor, without_ratio


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
                rows = reduce(heard[-1].gradients, heard[-1].old, heard[-1].new)
                self._waiting.append(without_ratio(rows, heard[-1].moved))
        if len(self._waiting) >= ROWS:
            self._empty()
        return logs

    def begin_epoch(self) -> None:
        """Forgets all rows and starts to count steps anew."""
        self._step, self._read, self._waiting = 0, [], []

    def rows(self) -> np.ndarray:
        """Returns the rows recorded since `begin_epoch`, `(recorded steps, variables, 4)`."""
        self._empty()
        return self._joined()

    def _empty(self) -> None:
        if self._waiting:
            self._read.append(torch.stack(self._waiting).cpu().numpy())
            self._waiting = []


def copies(weights: Sequence[Tensor]) -> list[Tensor]:
    """Copies tensors in one call."""
    # Adding zero would turn -0.0 into 0.0; multiplying by one keeps every bit.
    return list(torch._foreach_mul(list(weights), 1.0))


def reduce(gradients: Sequence[Tensor | None], old: Sequence[Tensor], new: Sequence[Tensor]) -> Tensor:
    """Computes what `kerasdl.watch.reduction.reduce` computes, outside compiled programs.

    Args:
        gradients: The gradients, `None` where there is none.
        old: The weights before the step.
        new: The weights after it.

    Returns:
        A float32 tensor `(weights, 4)`.
    """
    given = [torch.zeros_like(old[i]) if gradient is None else gradient for i, gradient in enumerate(gradients)]
    given, old, new = (list(map(_float32, tensors)) for tensors in (given, old, new))
    measured = [*given, *old, *torch._foreach_sub(new, old), *torch._foreach_sign(given)]
    norms = torch.stack(torch._foreach_norm(measured)).view(4, len(old))
    sizes = torch.tensor([weight.numel() for weight in old], device=norms.device)
    # The squared norm of the signs counts them; the sign of NaN is zero here.
    zero_share = (sizes - norms[3].square().round()) / sizes
    zero_share = torch.where(norms[0].isnan(), norms[0], zero_share)
    rows = torch.stack([norms[0], norms[1], norms[2] / norms[1], zero_share], dim=1)
    for index, gradient in enumerate(gradients):
        if gradient is None:
            rows[index, 0] = rows[index, 3] = float("nan")
    return rows


def _float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float32 else tensor.float()
