"""What a model answers for each row, held against counting by hand."""

import numpy as np
import pytest

from kerasdl.train.answers import answers, joined
from kerasdl.train.scoring import confusion

pytestmark = pytest.mark.backend_free


def softmax(values: np.ndarray) -> np.ndarray:
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 5, 300])
def test_rows_are_answered_by_their_most_probable_class(classes: int) -> None:
    random = np.random.default_rng(classes)
    logits = random.normal(size=(40, classes)).astype("float32") * 4
    probabilities, y = softmax(logits), random.integers(0, classes, 40)
    found = answers(y, probabilities)
    assert found["predicted"].dtype == ("uint8" if classes <= 256 else "uint16")
    np.testing.assert_array_equal(found["predicted"], probabilities.argmax(axis=1))
    np.testing.assert_allclose(found["probability"], probabilities.max(axis=1), rtol=1e-6)
    # Logits say the same, with the probabilities that they stand for.
    of_logits = answers(y, logits)
    np.testing.assert_array_equal(of_logits["predicted"], found["predicted"])
    np.testing.assert_allclose(of_logits["probability"], found["probability"], rtol=1e-5)
    # They are the rows that the confusion matrix counts.
    matrix = np.zeros((classes, classes), "int64")
    np.add.at(matrix, (y, found["predicted"].astype("int64")), 1)
    np.testing.assert_array_equal(matrix, confusion(y, probabilities))


def test_one_output_is_the_probability_of_the_second_class() -> None:
    y = np.array([0, 1, 1])
    found = answers(y, np.array([[0.1], [0.9], [0.3]], "float32"))
    assert found["predicted"].tolist() == [0, 1, 0]
    np.testing.assert_allclose(found["probability"], [0.9, 0.9, 0.7], rtol=1e-6)


@pytest.mark.parametrize("single", [False, True])
def test_overlaps_are_the_pixels_of_each_image(single: bool) -> None:
    random = np.random.default_rng(1)
    classes = 2 if single else 4
    masks = random.integers(0, classes, (7, 5, 6)).astype("uint8")
    masks[0, 0, 0] = 255
    outputs = random.random((7, 5, 6, 1 if single else classes)).astype("float32")
    predicted = (outputs[..., 0] > 0.5).astype(int) if single else outputs.argmax(axis=-1)
    found = answers(masks, outputs)["overlap"]
    assert found.shape == (7, classes, 2) and found.dtype == "uint32"
    for image, (mask, own) in enumerate(zip(masks, predicted, strict=True)):
        counts = mask != 255
        for one in range(classes):
            assert found[image, one, 0] == ((mask == one) & (own == one)).sum()
            assert found[image, one, 1] == (mask == one).sum() + ((own == one) & counts).sum()
    np.testing.assert_array_equal(found.sum(axis=0)[:, 0], np.diag(confusion(masks, outputs)))


def test_parts_are_joined_in_their_order_and_what_has_no_classes_has_no_answers() -> None:
    y, outputs = np.arange(6) % 3, np.eye(3, dtype="float32")[np.arange(6) % 3]
    whole = answers(y, outputs)
    parts = joined([answers(y[:4], outputs[:4]), answers(y[4:], outputs[4:])])
    assert all(np.array_equal(parts[name], whole[name]) for name in whole) and set(parts) == set(whole)
    assert answers(y, outputs[:, 0]) == {}
    assert joined([whole, {}]) == {} and joined([]) == {}
