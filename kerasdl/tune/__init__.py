"""What is tried: studies, and the search that answers them; KerasTuner's tuners, whose trials run as packs."""

from typing import TYPE_CHECKING, Any

from kerasdl.tune.study import Study

if TYPE_CHECKING:
    from kerasdl.tune.tuners import BayesianOptimization, GridSearch, Hyperband, RandomSearch

__all__ = ["BayesianOptimization", "GridSearch", "Hyperband", "RandomSearch", "Study"]


def __getattr__(name: str) -> Any:
    # KerasTuner imports Keras: the backend is settled by then, and not before.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kerasdl import backend

    backend.choose()
    backend.start()
    from kerasdl.tune import tuners

    return getattr(tuners, name)
