"""What configurations are compared by, and what ends a trial early."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from kerasdl.errors import UserError

Direction = Literal["min", "max"]

# Parts of the names of metrics, by the direction that is better.
_BETTER: dict[Direction, tuple[str, ...]] = {
    "min": ("loss", "error", "mse", "mae", "entropy", "divergence", "seconds"),
    "max": ("acc", "auc", "precision", "recall", "f1", "iou", "dice", "r2"),
}


class Objective(BaseModel):
    """What is compared.

    Attributes:
        name: A metric's name, `val_` before it for the validation rows.
        direction: Which values are better.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    direction: Direction


class Stopping(BaseModel):
    """The `[early_stopping]` table; see `kerasdl.train.EarlyStopping`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    monitor: str = "val_loss"
    direction: Direction | None = None
    patience: int = Field(5, ge=1)
    min_delta: float = Field(0.0, ge=0)
    restore_best_weights: bool = True


def direction_of(metric: str, key: str) -> Direction:
    """Returns which values of a metric are better, by its name.

    Args:
        metric: The metric's name, with or without `val_`.
        key: The key of the study that names it.

    Raises:
        UserError: The name does not tell.
    """
    name = metric.removeprefix("val_")
    for direction, parts in _BETTER.items():
        if any(part in name for part in parts):
            return direction
    inside = f"{{name = {metric!r}, direction = 'min'}}" if key == "objective" else "direction = 'min'"
    raise UserError(f"{key}: whether {metric!r} is better low or high is not known; say {inside}, or 'max'")
