"""What is seen while training: Keras callbacks for gradients, activations and batch normalization; learning rates."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasdl.watch.activations import Activations
    from kerasdl.watch.batch_norm import BatchNormStats
    from kerasdl.watch.compare import compare_batch_norm
    from kerasdl.watch.gradient_check import check_gradients
    from kerasdl.watch.gradients import GradientMagnitude
    from kerasdl.watch.range_test import find_learning_rate
    from kerasdl.watch.schedules import ExpRange, OneCycle, Triangular, Triangular2

_MODULES = {
    "Activations": "activations",
    "BatchNormStats": "batch_norm",
    "ExpRange": "schedules",
    "GradientMagnitude": "gradients",
    "OneCycle": "schedules",
    "Triangular": "schedules",
    "Triangular2": "schedules",
    "check_gradients": "gradient_check",
    "compare_batch_norm": "compare",
    "find_learning_rate": "range_test",
}

__all__ = [
    "Activations",
    "BatchNormStats",
    "ExpRange",
    "GradientMagnitude",
    "OneCycle",
    "Triangular",
    "Triangular2",
    "check_gradients",
    "compare_batch_norm",
    "find_learning_rate",
]


def __getattr__(name: str) -> Any:
    # These import Keras: the backend is settled by then, and not before.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kerasdl import backend

    backend.choose()
    backend.start()
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
