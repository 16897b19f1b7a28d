"""Where else training is followed: TensorBoard, Weights & Biases, MLflow; of a study's trials or of `fit`."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasdl.track.mlflow import MLflow
    from kerasdl.track.tensorboard import TensorBoard
    from kerasdl.track.wandb import WandB

__all__ = ["MLflow", "TensorBoard", "WandB"]


def __getattr__(name: str) -> Any:
    # These import Keras: the backend is settled by then, and not before.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kerasdl import backend
    from kerasdl.track.finding import check_installed

    module = name.lower()
    check_installed([module], name)
    backend.choose()
    backend.start()
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
