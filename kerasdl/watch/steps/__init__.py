"""A model's train function that also records: the same step with the reduction inside it, a thin file for each backend.

Their differences are how a step is run: JAX's is a function that takes and gives back its state, TensorFlow's a graph
that assigns variables, PyTorch's plain Python.
"""

import importlib

import keras

from kerasdl.watch.steps.recording import Listened, RecordingStep


def recording_step(model: keras.Model, listened: Listened, every: int) -> RecordingStep:
    """Returns the recording step for the running backend.

    Args:
        model: A compiled model whose `make_train_function` was called.
        listened: Returns the variables to record; asked when the first step runs, and the same ever after.
        every: Record every so many steps, counted from the start of each epoch.
    """
    module = importlib.import_module(f"{__name__}.{keras.backend.backend()}")
    step: RecordingStep = module.Step(model, listened, every)
    return step
