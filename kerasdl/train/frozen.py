"""Features that frozen beginnings of models give, computed once for every trial that shares them."""

from collections import OrderedDict
from dataclasses import dataclass, replace

import keras
import numpy as np

from kerasdl.data import Dataset, Split
from kerasdl.models import body_fingerprint, split_frozen
from kerasdl.train.backends import current_backend, free_host_memory
from kerasdl.train.body import slow_alike
from kerasdl.train.numbers import unscaled
from kerasdl.train.scoring import rows_at_once

# How many bodies' features are kept.
KEPT = 4
# Images that a body looks at together.
BATCH = 64
# The share of the memory now free that features may take.
SHARE = 0.5


@dataclass(frozen=True, eq=False)
class FrozenBody:
    """What stands behind the head of a model whose beginning is frozen.

    Attributes:
        dataset: The data set with the body's features in the place of the rows'.
        fingerprint: What two bodies share where they give the same features.
        weights: The values of the whole model's weights, in the order of `keras.Model.weights`.
        places: Where the head's weights stand among them, in the order of the head's own.
    """

    dataset: Dataset
    fingerprint: str
    weights: tuple[np.ndarray, ...]
    places: tuple[int, ...]

    def whole(self, weights: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the weights of the whole model from those of its head."""
        whole = list(self.weights)
        for place, value in zip(self.places, weights, strict=True):
            whole[place] = value
        return whole


class FrozenBodies:
    """Parts models where their frozen beginning ends."""

    def __init__(self) -> None:
        self._features: OrderedDict[tuple[str, int], Dataset] = OrderedDict()

    def parted(self, model: keras.Model, dataset: Dataset, fold: int = 0) -> keras.Model:
        """Returns the head of a compiled model, compiled as the model is.

        What the head learns from is `body_of(head).dataset`. The model itself is given back where nothing is frozen at
        its beginning, where memory would not hold the features, and where it trains in a way of its own or cannot say
        how it was compiled.

        Args:
            model: The model.
            dataset: What it learns from.
            fold: Models that learn from other rows have another.
        """
        if not isinstance(model, keras.Model) or not type(model).__module__.startswith("keras."):
            return model
        parts = split_frozen(model) if model.compiled else None
        if parts is None:
            return model
        body, head = parts
        try:
            head.compile_from_config(model.get_compile_config())
        except (TypeError, ValueError):
            return model
        slow_alike(unscaled(model.optimizer), head)
        key = body_fingerprint(body)
        if (key, fold) not in self._features and not _fits(body, dataset):
            return model
        places = {id(variable): place for place, variable in enumerate(model.weights)}
        weights = tuple(np.array(value) for value in model.get_weights())
        features = self._of(key, fold, body, dataset)
        head.frozen_body = FrozenBody(features, key, weights, tuple(places[id(one)] for one in head.weights))
        return head

    def _of(self, fingerprint: str, fold: int, body: keras.Model, whole: Dataset) -> Dataset:
        key = fingerprint, fold
        if key not in self._features:
            train, validation, test = (_features(body, split) for split in (whole.train, whole.validation, whole.test))
            self._features[key] = replace(whole, train=train, validation=validation, test=test)
        self._features.move_to_end(key)
        while len(self._features) > KEPT:
            self._features.popitem(last=False)
        return self._features[key]


def body_of(model: keras.Model) -> FrozenBody | None:
    """Returns what stands behind a head that `FrozenBodies` gave; `None` for a whole model."""
    found = getattr(model, "frozen_body", None)
    return found if isinstance(found, FrozenBody) else None


def dataset_of(model: keras.Model, dataset: Dataset) -> Dataset:
    """Returns what a model learns from: the features of its frozen body, or the data set itself."""
    body = body_of(model)
    return dataset if body is None else body.dataset


def whole_weights(model: keras.Model, weights: list[np.ndarray]) -> list[np.ndarray]:
    """Returns the weights of the whole model of which `model` may be the head."""
    body = body_of(model)
    return weights if body is None else body.whole(weights)


def _features(body: keras.Model, split: Split) -> Split:
    # Batches of one size let one compiled program serve all splits.
    size = min(rows_at_once(body), BATCH)
    parts = [np.zeros((0, *body.output_shape[1:]), "float32")]
    for start in range(0, len(split), size):
        x = np.asarray(split.x[start : start + size])
        padded = np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)])
        with current_backend().quick_layers():
            parts.append(np.asarray(body.predict_on_batch(padded))[: len(x)])
    return replace(split, x=np.concatenate(parts))


def _fits(body: keras.Model, whole: Dataset) -> bool:
    rows = len(whole.train) + len(whole.validation) + len(whole.test)
    return bool(4 * rows * int(np.prod(body.output_shape[1:])) <= SHARE * free_host_memory())
