"""Learning rates that rise and fall: schedules for any Keras optimizer, saved and loaded with it.

Importing this package registers them with Keras, which loads a saved model's schedule only then.
"""

from kerasdl.watch.schedules.cyclical import ExpRange, Triangular, Triangular2
from kerasdl.watch.schedules.one_cycle import OneCycle

__all__ = ["ExpRange", "OneCycle", "Triangular", "Triangular2"]
