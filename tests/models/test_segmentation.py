from pathlib import Path

import numpy as np
import pytest

from kerasdl.errors import UserError

CLASSES = 3


@pytest.fixture(autouse=True)
def backend(backend_name: str, little_compiled: None) -> str:
    return backend_name


@pytest.fixture
def segmentation():
    from kerasdl.models import segmentation

    return segmentation


def batch(rows: int = 5, seed: int = 0, kind: str = "uint8") -> tuple[np.ndarray, np.ndarray]:
    """Masks and probabilities of images of 6 x 7 pixels; the last image lacks class 2 in both."""
    generator = np.random.default_rng(seed)
    masks = generator.integers(0, CLASSES, (rows, 6, 7))
    logits = generator.normal(size=(rows, 6, 7, CLASSES)) + 1.5 * np.eye(CLASSES)[masks]
    masks[-1] = np.minimum(masks[-1], 1)
    logits[-1, ..., 2] = -50
    shares = np.exp(logits)
    return masks.astype(kind), (shares / shares.sum(axis=-1, keepdims=True)).astype("float32")


def value(tensor) -> np.ndarray:
    import keras

    return keras.ops.convert_to_numpy(tensor)


def counts(masks: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in both, and the sum of those in either: `(images, classes)`."""
    truth, found = np.eye(CLASSES)[masks.astype(int)], np.eye(CLASSES)[probabilities.argmax(axis=-1)]
    return (truth * found).sum(axis=(1, 2)), (truth + found).sum(axis=(1, 2))


@pytest.mark.parametrize("kind", ["uint8", "int64", "float32"])
def test_dice_is_the_formula_for_masks_of_every_kind(segmentation, kind: str) -> None:
    masks, probabilities = batch(kind=kind)
    truth = np.eye(CLASSES)[masks.astype(int)]
    both = 2 * (truth * probabilities).sum(axis=(1, 2)) + 1
    expected = 1 - (both / (truth.sum(axis=(1, 2)) + probabilities.sum(axis=(1, 2)) + 1)).mean(axis=-1)
    loss = segmentation.Dice(reduction=None)
    np.testing.assert_allclose(value(loss(masks, probabilities)), expected, rtol=1e-5)
    np.testing.assert_allclose(value(loss(masks[..., None], probabilities)), expected, rtol=1e-5)
    assert float(value(segmentation.Dice()(masks, probabilities))) == pytest.approx(expected.mean(), rel=1e-5)


def test_dice_agrees_with_keras_on_one_hot_masks(segmentation) -> None:
    import keras

    masks, probabilities = batch(rows=1)
    ours = [segmentation.Dice(smooth=0)(masks, probabilities)]
    one_hot = np.eye(CLASSES, dtype="float32")[masks]
    # Keras' takes all pixels of a class together where it is given one class at a time; class 2 is in neither.
    theirs = [keras.losses.Dice()(one_hot[..., [c]], probabilities[..., [c]]) for c in range(CLASSES - 1)]
    two = segmentation.Dice(smooth=0)(masks, probabilities[..., :2])
    assert float(value(two)) == pytest.approx(float(np.mean([float(value(one)) for one in theirs])), abs=1e-5)
    assert np.isfinite(value(ours[0]))


def test_perfect_masks_cost_nothing(segmentation) -> None:
    masks, _ = batch()
    perfect = np.eye(CLASSES, dtype="float32")[masks]
    for loss in (segmentation.Dice(), segmentation.DiceCrossentropy()):
        assert float(value(loss(masks, perfect))) == pytest.approx(0, abs=1e-5)
    for metric in (segmentation.DiceScore(CLASSES), segmentation.IntersectionOverUnion(CLASSES)):
        metric.update_state(masks, perfect)
        assert float(value(metric.result())) == pytest.approx(1)


def test_the_sum_is_dice_plus_cross_entropy(segmentation) -> None:
    masks, probabilities = batch()
    parts = [segmentation.segmentation_loss(name)(masks, probabilities) for name in ("crossentropy", "dice")]
    total = segmentation.segmentation_loss("dice_crossentropy")(masks, probabilities)
    assert float(value(total)) == pytest.approx(sum(float(value(part)) for part in parts), rel=1e-4)


@pytest.mark.parametrize("name", ["crossentropy", "dice", "dice_crossentropy"])
def test_ignored_pixels_count_for_nothing(segmentation, name: str) -> None:
    masks, probabilities = batch()
    masks[:, :2] = 255
    loss = segmentation.segmentation_loss(name, ignore_class=255)
    other = probabilities.copy()
    other[:, :2] = other[:, :2, :, ::-1]
    whole = float(value(loss(masks, probabilities)))
    assert whole == pytest.approx(float(value(loss(masks, other))), rel=1e-6)
    assert whole == pytest.approx(float(value(loss(masks[:, 2:], probabilities[:, 2:]))), rel=1e-4)
    metric = segmentation.DiceScore(CLASSES, ignore_class=255)
    metric.update_state(masks, probabilities)
    cut = segmentation.DiceScore(CLASSES)
    cut.update_state(masks[:, 2:], probabilities[:, 2:])
    assert float(value(metric.result())) == pytest.approx(float(value(cut.result())))


@pytest.mark.parametrize("over", ["set", "images"])
@pytest.mark.parametrize("class_id", [None, 1])
def test_scores_are_the_formulas_however_the_set_is_cut_into_batches(
    segmentation, over: str, class_id: int | None
) -> None:
    masks, probabilities = batch()
    both, total = counts(masks, probabilities)
    for kind in (segmentation.DiceScore, segmentation.IntersectionOverUnion):
        above, below = (2 * both, total) if kind is segmentation.DiceScore else (both, total - both)
        if over == "set":
            scores = above.sum(axis=0) / below.sum(axis=0)
        else:
            # The image without class 2 has no score of it.
            with np.errstate(invalid="ignore"):
                scores = np.nanmean(above / below, axis=0)
        expected = scores.mean() if class_id is None else scores[class_id]
        metric = kind(CLASSES, class_id, over)
        for start, end in ((0, 2), (2, 3), (3, 5)):
            metric.update_state(masks[start:end], probabilities[start:end])
        assert float(value(metric.result())) == pytest.approx(expected, rel=1e-5)
        metric.reset_state()
        metric.update_state(masks, probabilities)
        assert float(value(metric.result())) == pytest.approx(expected, rel=1e-5)


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64:UserWarning")
def test_iou_is_keras_mean_iou(segmentation) -> None:
    import keras

    masks, probabilities = batch()
    ours, theirs = segmentation.IntersectionOverUnion(CLASSES), keras.metrics.MeanIoU(CLASSES, sparse_y_pred=False)
    for metric in (ours, theirs):
        metric.update_state(masks, probabilities)
    assert float(value(ours.result())) == pytest.approx(float(value(theirs.result())), rel=1e-5)


def test_weights_of_images_weigh(segmentation) -> None:
    masks, probabilities = batch()
    weights = np.array([1, 0, 0, 2, 0], "float32")
    metric, expected = segmentation.DiceScore(CLASSES), segmentation.DiceScore(CLASSES)
    metric.update_state(masks, probabilities, sample_weight=weights)
    rows = [0, 3, 3]
    expected.update_state(masks[rows], probabilities[rows])
    assert float(value(metric.result())) == pytest.approx(float(value(expected.result())), rel=1e-5)


def test_metrics_are_pure_sums(segmentation) -> None:
    masks, probabilities = batch()
    for over in ("set", "images"):
        metric = segmentation.DiceScore(CLASSES, over=over)
        state = [variable.value for variable in metric.variables]
        for row in (slice(0, 2), slice(2, 5)):
            state = metric.stateless_update_state(state, masks[row], probabilities[row])
        assert not any(value(variable).any() for variable in metric.variables)
        found = float(value(metric.stateless_result(state)))
        metric.update_state(masks, probabilities)
        assert found == pytest.approx(float(value(metric.result())), rel=1e-5)


def test_losses_and_metrics_are_mapped_over_models(segmentation) -> None:
    import keras

    masks, probabilities = batch()
    several = np.stack([probabilities, probabilities[..., ::-1]])
    metric, loss = segmentation.DiceScore(CLASSES), segmentation.DiceCrossentropy()

    def one(predicted):
        labels = keras.ops.convert_to_tensor(masks)
        state = metric.stateless_update_state([variable.value for variable in metric.variables], labels, predicted)
        return loss(labels, predicted), metric.stateless_result(state)

    losses, scores = keras.ops.vectorized_map(one, keras.ops.convert_to_tensor(several))
    for number in range(2):
        alone = [float(value(each)) for each in one(keras.ops.convert_to_tensor(several[number]))]
        together = [float(value(losses)[number]), float(value(scores)[number])]
        assert together == pytest.approx(alone, rel=1e-5)


def test_they_survive_saving_in_a_compiled_model(segmentation, tmp_path: Path) -> None:
    import keras

    from kerasdl import models

    masks, _ = batch()
    images = np.random.default_rng(0).random((5, 6, 7), "float32")
    model = models.unet((6, 7), CLASSES, filters=[2, 2])
    metrics = [segmentation.DiceScore(CLASSES, 1, "images"), segmentation.IntersectionOverUnion(CLASSES)]
    model.compile("sgd", segmentation.DiceCrossentropy(weight=0.5), metrics=metrics)
    expected = model.evaluate(images, masks, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(loaded.evaluate(images, masks, verbose=0), expected, rtol=1e-5)
    assert loaded.loss.weight == 0.5


def test_what_cannot_be_is_refused(segmentation) -> None:
    with pytest.raises(UserError, match="loss: 'dise' is not known; did you mean 'dice'"):
        segmentation.segmentation_loss("dise")
    with pytest.raises(UserError, match="DiceScore: over = 'image' cannot be; did you mean 'images'"):
        segmentation.DiceScore(2, over="image")
    with pytest.raises(UserError, match="class_id = 2 is none of 2 classes"):
        segmentation.IntersectionOverUnion(2, 2)
