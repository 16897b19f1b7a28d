"""The learning rate range test: which learning rates are worth trying, for the price of a hundred batches."""

from kerasdl.watch.range_test.find import find_learning_rate
from kerasdl.watch.range_test.result import RangeTest

__all__ = ["RangeTest", "find_learning_rate"]
