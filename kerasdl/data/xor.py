"""Noisy continuous XOR: the smallest problem that no linear model solves."""

import numpy as np

from kerasdl.data.dataset import Dataset, assemble
from kerasdl.data.scaling import standardize
from kerasdl.data.spec import Spec

HELD_OUT = 500
"""The points of validation and of test, each drawn afresh."""


def load(spec: Spec, seed: int) -> Dataset:
    """Draws points uniformly in [-1, 1] x [-1, 1]; the class is whether the signs of the two coordinates differ.

    The label is that of the clean point; then Gaussian noise is added to both coordinates, so that points near an axis
    may lie on the wrong side and no model reaches 100 %.

    Args:
        spec: `rows` training points (1,000) and `noise`, the standard deviation of what is added (0.1).
        seed: Draws the points.

    Returns:
        The data set: features `x1` and `x2`, standardized; 500 validation and 500 test points.
    """
    rows = spec.parameters.get("rows", 1000)
    noise = spec.parameters.get("noise", 0.1)
    generator = np.random.default_rng(seed)
    train, validation, test = (_points(count, noise, generator) for count in (rows, HELD_OUT, HELD_OUT))
    scaling, _ = standardize(train[0])
    return assemble(
        spec.text,
        train=train,
        validation=validation,
        test=test,
        scaling=scaling,
        classes=("same sign", "different sign"),
        features=("x1", "x2"),
        source=f"drawn by kerasdl: seed {seed}, Gaussian noise of standard deviation {noise:g} on the inputs",
        licence="none needed",
    )


def _points(count: int, noise: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    clean = generator.uniform(-1, 1, size=(count, 2))
    labels = (clean[:, 0] > 0) != (clean[:, 1] > 0)
    return clean + generator.normal(0, noise, size=clean.shape), labels.astype("int64")
