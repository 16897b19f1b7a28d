"""What is trained: plain functions that return a Keras model."""

from kerasdl.models.augmented import augmented
from kerasdl.models.builders import Builder, find, names
from kerasdl.models.cnn import cnn
from kerasdl.models.frozen import body_fingerprint, split_frozen
from kerasdl.models.mlp import mlp
from kerasdl.models.softmax import softmax
from kerasdl.models.transfer import transfer
from kerasdl.models.unet import unet

__all__ = [
    "Builder",
    "augmented",
    "body_fingerprint",
    "cnn",
    "find",
    "mlp",
    "names",
    "softmax",
    "split_frozen",
    "transfer",
    "unet",
]
