import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from kerasdl import data
from kerasdl.errors import UserError


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


def test_balanced_weights_are_those_of_scikit_learn(digits: data.Dataset) -> None:
    weighted = data.with_class_weights(digits, "balanced")
    expected = compute_sample_weight("balanced", digits.train.y)
    np.testing.assert_allclose(weighted.train.weights, expected, rtol=1e-6)
    assert weighted.validation.weights is None
    assert weighted.fingerprint == digits.fingerprint


def test_named_classes_weigh_what_is_said_and_the_others_one(digits: data.Dataset) -> None:
    weights = data.with_class_weights(digits, {"3": 2.5, "4": 0}).train.weights
    assert weights is not None
    for label, weight in ((3, 2.5), (4, 0.0), (5, 1.0)):
        assert set(weights[digits.train.y == label]) == {weight}


def test_an_unknown_class_is_named(digits: data.Dataset) -> None:
    with pytest.raises(UserError, match="class_weight: no class 'three'"):
        data.with_class_weights(digits, {"three": 2.0})
