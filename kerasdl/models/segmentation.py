"""Losses and metrics of per-pixel classification: integer masks against softmax probabilities.

All take masks `(batch, height, width)` of whole numbers, uint8 or int64 as they come or as floats, and probabilities
`(batch, height, width, classes)`. Keras' own Dice takes one-hot masks only.
"""

from typing import Any, Literal

import keras

from kerasdl.errors import UserError, nearest

Over = Literal["set", "images"]
LOSSES = ("crossentropy", "dice", "dice_crossentropy")


def _one_hot(masks: Any, classes: int, dtype: str) -> Any:
    """Masks as float `(..., classes)`, elementwise, so that it can be mapped; labels beyond the classes are in none."""
    labels = keras.ops.cast(masks, "int32")
    return keras.ops.cast(keras.ops.equal(labels[..., None], keras.ops.arange(classes, dtype="int32")), dtype)


def _masks(masks: Any, probabilities: Any) -> Any:
    """Drops the last axis of masks `(batch, height, width, 1)`."""
    return masks[..., 0] if len(masks.shape) == len(probabilities.shape) else masks


def _counting(masks: Any, probabilities: Any, ignore_class: int | None) -> Any:
    """Float `(batch, height, width)`: 1 for pixels that count."""
    if ignore_class is None:
        return keras.ops.cast(keras.ops.ones_like(masks), probabilities.dtype)
    return keras.ops.cast(keras.ops.not_equal(keras.ops.cast(masks, "int32"), ignore_class), probabilities.dtype)


@keras.saving.register_keras_serializable(package="kerasdl")
class Dice(keras.losses.Loss):
    """One minus the soft Dice coefficient: of each image and class, then the mean over classes (Milletari et al. 2016).

    The coefficient is `(2 * sum(p * t) + smooth) / (sum(p) + sum(t) + smooth)` over an image's pixels; the reference is
    https://arxiv.org/abs/1606.04797, here without its squares. One value for each image, so that batches of any size
    and rows with weights mean what they say.

    Args:
        smooth: Added to both sides of the fraction: a class that an image lacks costs little where little of it is
            predicted.
        ignore_class: The label of pixels that count for nothing; `None` where all count.
        name: The loss' name.
        reduction: As in Keras.
        dtype: As in Keras.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        ignore_class: int | None = None,
        name: str = "dice",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.smooth = smooth
        self.ignore_class = ignore_class

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns float `(batch,)`."""
        masks = _masks(y_true, y_pred)
        truth = _one_hot(masks, y_pred.shape[-1], y_pred.dtype)
        counting = _counting(masks, y_pred, self.ignore_class)[..., None]
        y_pred, truth = y_pred * counting, truth * counting
        axes = tuple(range(1, len(y_pred.shape) - 1))
        both = keras.ops.sum(truth * y_pred, axis=axes)
        total = keras.ops.sum(truth, axis=axes) + keras.ops.sum(y_pred, axis=axes)
        return 1 - keras.ops.mean((2 * both + self.smooth) / (total + self.smooth), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the loss."""
        return {**super().get_config(), "smooth": self.smooth, "ignore_class": self.ignore_class}


@keras.saving.register_keras_serializable(package="kerasdl")
class PixelCrossentropy(keras.losses.Loss):
    """The mean cross-entropy of each image's pixels.

    Keras' own cannot be differentiated on torch for probabilities of more than one axis.

    Args:
        ignore_class: As in `Dice`.
        name: The loss' name.
        reduction: As in Keras.
        dtype: As in Keras.
    """

    def __init__(
        self,
        ignore_class: int | None = None,
        name: str = "crossentropy",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.ignore_class = ignore_class

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns float `(batch,)`."""
        masks = _masks(y_true, y_pred)
        counting = _counting(masks, y_pred, self.ignore_class)
        likely = keras.ops.sum(_one_hot(masks, y_pred.shape[-1], y_pred.dtype) * y_pred, axis=-1)
        entropy = -keras.ops.log(keras.ops.maximum(likely, keras.config.epsilon())) * counting
        axes = tuple(range(1, len(entropy.shape)))
        return keras.ops.sum(entropy, axis=axes) / keras.ops.maximum(keras.ops.sum(counting, axis=axes), 1)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the loss."""
        return {**super().get_config(), "ignore_class": self.ignore_class}


@keras.saving.register_keras_serializable(package="kerasdl")
class DiceCrossentropy(Dice):
    """Dice plus the mean cross-entropy of each image's pixels.

    Args:
        weight: What the cross-entropy is multiplied by.
        smooth: As in `Dice`.
        ignore_class: As in `Dice`.
        name: The loss' name.
        reduction: As in Keras.
        dtype: As in Keras.
    """

    def __init__(
        self,
        weight: float = 1.0,
        smooth: float = 1.0,
        ignore_class: int | None = None,
        name: str = "dice_crossentropy",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(smooth, ignore_class, name, reduction, dtype)
        self.weight = weight
        self._entropy = PixelCrossentropy(ignore_class, dtype=dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns float `(batch,)`."""
        return super().call(y_true, y_pred) + self.weight * self._entropy.call(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the loss."""
        return {**super().get_config(), "weight": self.weight}


class _Overlap(keras.metrics.Metric):
    """Sums over pixels of what is in the mask, in the prediction and in both, by class.

    Updates only add to variables, so that they may be mapped over several models and run in any order.
    """

    def __init__(
        self,
        classes: int,
        class_id: int | None = None,
        over: Over = "set",
        ignore_class: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if over not in ("set", "images"):
            raise UserError(
                f"{type(self).__name__}: over = {over!r} cannot be; {nearest(str(over), ('set', 'images'))}"
            )
        if class_id is not None and not 0 <= class_id < classes:
            raise UserError(f"{type(self).__name__}: class_id = {class_id} is none of {classes} classes; count from 0")
        self.classes = classes
        self.class_id = class_id
        self.over = over
        self.ignore_class = ignore_class
        # Over the set: pixels in both and pixels of both; over images: sums of scores and numbers of images.
        self.above = self.add_variable((classes,), "zeros", name="above")
        self.below = self.add_variable((classes,), "zeros", name="below")

    def _fraction(self, both: Any, total: Any) -> tuple[Any, Any]:
        """The score's numerator and denominator, from the pixels in both and the sum of those in either."""
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: Masks `(batch, height, width)`.
            y_pred: Probabilities `(batch, height, width, classes)`.
            sample_weight: Of each image `(batch,)` or each pixel `(batch, height, width)`.
        """
        y_true, y_pred = keras.ops.convert_to_tensor(y_true), keras.ops.convert_to_tensor(y_pred)
        masks = _masks(y_true, y_pred)
        truth = _one_hot(masks, self.classes, self.dtype)
        predicted = _one_hot(keras.ops.argmax(y_pred, axis=-1), self.classes, self.dtype)
        counting = keras.ops.cast(keras.ops.ones_like(masks), self.dtype)
        if self.ignore_class is not None:
            ignored = keras.ops.equal(keras.ops.cast(masks, "int32"), self.ignore_class)
            counting = keras.ops.where(ignored, keras.ops.zeros_like(counting), counting)
        weight = None if sample_weight is None else keras.ops.cast(sample_weight, self.dtype)
        if weight is not None and len(weight.shape) == len(masks.shape):
            counting, weight = counting * weight, None
        axes = tuple(range(1, len(masks.shape)))
        counting = counting[..., None]
        both = keras.ops.sum(truth * predicted * counting, axis=axes)
        total = keras.ops.sum((truth + predicted) * counting, axis=axes)
        above, below = self._fraction(both, total)
        if self.over == "images":
            present = keras.ops.cast(below > 0, self.dtype)
            above, below = above / keras.ops.where(below > 0, below, keras.ops.ones_like(below)), present
        if weight is not None:
            weight = keras.ops.reshape(weight, (-1, 1))
            above, below = above * weight, below * weight
        self.above.assign(self.above + keras.ops.sum(above, axis=0))
        self.below.assign(self.below + keras.ops.sum(below, axis=0))

    def result(self) -> Any:
        """Returns the score, a scalar in [0, 1]; 0 where nothing was to be scored."""
        above, below = keras.ops.convert_to_tensor(self.above), keras.ops.convert_to_tensor(self.below)
        present = keras.ops.cast(below > 0, self.dtype)
        scores = above / keras.ops.where(below > 0, below, keras.ops.ones_like(below))
        if self.class_id is not None:
            return scores[self.class_id]
        return keras.ops.sum(scores * present) / keras.ops.maximum(keras.ops.sum(present), 1)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the metric."""
        own = {name: getattr(self, name) for name in ("classes", "class_id", "over", "ignore_class")}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="kerasdl")
class DiceScore(_Overlap):
    """Dice score of the most probable classes, `2 * both / (mask + prediction)` in pixels; for one class its F1 score.

    Args:
        classes: Number of classes.
        class_id: The class that is scored; `None` for the mean over those classes that occur in masks or predictions.
        over: `"set"`: pixels of all images are counted together, so that large objects weigh more. `"images"`: each
            image is scored by itself and the mean taken, of each class over the images whose mask or prediction has it.
        ignore_class: The label of pixels that count for nothing; `None` where all count.
        name: The metric's name.
        dtype: As in Keras.
    """

    def __init__(
        self,
        classes: int,
        class_id: int | None = None,
        over: Over = "set",
        ignore_class: int | None = None,
        name: str = "dice_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(classes, class_id, over, ignore_class, name, dtype)

    def _fraction(self, both: Any, total: Any) -> tuple[Any, Any]:
        return 2 * both, total


@keras.saving.register_keras_serializable(package="kerasdl")
class IntersectionOverUnion(_Overlap):
    """Intersection over union of the most probable classes, `both / (mask + prediction - both)` in pixels.

    Args:
        classes: Number of classes.
        class_id: As in `DiceScore`.
        over: As in `DiceScore`.
        ignore_class: As in `DiceScore`.
        name: The metric's name.
        dtype: As in Keras.
    """

    def __init__(
        self,
        classes: int,
        class_id: int | None = None,
        over: Over = "set",
        ignore_class: int | None = None,
        name: str = "iou",
        dtype: Any = None,
    ) -> None:
        super().__init__(classes, class_id, over, ignore_class, name, dtype)

    def _fraction(self, both: Any, total: Any) -> tuple[Any, Any]:
        return both, total - both


def segmentation_loss(name: str, ignore_class: int | None = None) -> keras.losses.Loss:
    """Makes a loss of per-pixel classification by its name.

    Args:
        name: `"crossentropy"`, `"dice"` or `"dice_crossentropy"`.
        ignore_class: The label of pixels that count for nothing.

    Raises:
        UserError: There is no such loss.
    """
    if name == "crossentropy":
        return PixelCrossentropy(ignore_class)
    if name == "dice":
        return Dice(ignore_class=ignore_class)
    if name == "dice_crossentropy":
        return DiceCrossentropy(ignore_class=ignore_class)
    raise UserError(f"loss: {name!r} is not known; {nearest(name, LOSSES)}")
