"""Lets classes count more or less in the loss."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from kerasdl.data.dataset import Dataset
from kerasdl.errors import UserError, nearest


def with_class_weights(dataset: Dataset, weights: str | Mapping[str, float]) -> Dataset:
    """Gives the training rows of a data set the weights of their classes, as `class_weight` of Keras' `fit` does.

    Args:
        dataset: The data set.
        weights: A number for each class by its name, 1 for those that are not named; or `"balanced"`, which lets all
            classes count the same: `rows / (classes x rows of the class)`, scikit-learn's rule.

    Returns:
        The data set with weighted training rows.

    Raises:
        UserError: A class is not there, or the data set has a class for each pixel.
    """
    if dataset.task == "segmentation":
        raise UserError(
            f"class_weight: {dataset.name} has a class for each pixel, and classes can be weighted only where each row "
            "has one; leave it out, or take a loss that weighs classes itself"
        )
    y = dataset.train.y
    if isinstance(weights, str):
        counts = np.bincount(y, minlength=len(dataset.classes))
        by_class = len(y) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    else:
        by_class = np.ones(len(dataset.classes))
        for name, weight in weights.items():
            if name not in dataset.classes:
                raise UserError(f"class_weight: no class {name!r}; {nearest(name, dataset.classes)}")
            by_class[dataset.classes.index(name)] = weight
    train = replace(dataset.train, weights=by_class[y].astype("float32"))
    return replace(dataset, train=train)
