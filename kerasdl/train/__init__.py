"""How a model is trained: one trial by Keras' `fit`, many trials as one program."""

from kerasdl.train.trial import EarlyStopping, Outcome, Recorder, Trial

__all__ = ["EarlyStopping", "Outcome", "Recorder", "Trial"]
