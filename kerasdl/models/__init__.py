"""What is trained: plain functions that return a Keras model."""

from kerasdl.models.builders import Builder, find, names
from kerasdl.models.mlp import mlp
from kerasdl.models.softmax import softmax

__all__ = ["Builder", "find", "mlp", "names", "softmax"]
