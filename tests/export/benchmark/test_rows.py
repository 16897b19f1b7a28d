"""Which rows models are called with, and what a difference between outputs is worth."""

from pathlib import Path

import numpy as np
import pytest

from kerasdl.errors import UserError
from kerasdl.export.benchmark.rows import check_names, compare, kind, random_rows, read_rows, settle_shapes
from kerasdl.export.benchmark.runners import Input
from kerasdl.export.benchmark.sources import Source

pytestmark = pytest.mark.backend_free

SOURCE = Source(Path("model.onnx"), "onnxruntime", "float32", 1, True)
OPEN = Input("image", (None, None, 3), "float32")


def test_an_open_shape_must_be_given_and_the_message_says_how():
    with pytest.raises(UserError, match=r"model.onnx: input 'image' has the open shape \?x\?x3.*--shape 32x32x3"):
        settle_shapes(SOURCE, [OPEN], {})
    assert settle_shapes(SOURCE, [OPEN], {"": (8, 9, 3)})[0].shape == (8, 9, 3)
    assert settle_shapes(SOURCE, [OPEN], {"image": (8, 9, 3)})[0].shape == (8, 9, 3)


@pytest.mark.parametrize("given", [(8, 9, 4), (8, 9)])
def test_a_shape_that_does_not_fit_is_refused(given):
    with pytest.raises(UserError, match=r"input 'image' takes \?x\?x3 a row"):
        settle_shapes(SOURCE, [OPEN], {"": given})


def test_a_shape_for_no_input_is_refused():
    with pytest.raises(UserError, match="did you mean 'image'"):
        check_names({"imag": (1,)}, ["image", "mask"])


def test_rows_have_the_types_that_models_know_what_to_do_with():
    kinds = kind([Input("a", (3,), "float16"), Input("b", (2, 2), "uint8"), Input("c", (5,), "int64")])
    numbers, image, tokens = random_rows(kinds, 100, seed=0)
    assert abs(numbers.mean()) < 0.3 and abs(numbers.std() - 1) < 0.3
    assert image.dtype == np.uint8 and image.max() > 200
    assert set(np.unique(tokens)) == {0, 1}
    # The same rows for a file of another precision.
    assert kind([Input("x", (3,), "float32")]) == kinds[:1]


def test_rows_of_ones_own(tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((4, 2)))
    assert read_rows(tmp_path / "rows.npy")[0].shape == (4, 2)
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "text.npz").write_text("no arrays")
    for name in ("objects.npy", "text.npz", "absent.npy"):
        with pytest.raises(UserError, match="--rows"):
            read_rows(tmp_path / name)


def test_agreement_counts_classes_and_errors():
    generator = np.random.default_rng(0)
    expected = generator.standard_normal((200, 5))
    same = compare("reference", [expected], [expected.astype("float32")])
    assert same.same_class == 1.0 and same.relative_error < 1e-6 and same.good(0.99)
    wrong = expected.copy()
    wrong[:10] = -wrong[:10]
    found = compare("reference", [expected], [wrong])
    assert found.same_class == pytest.approx(0.95)
    assert not found.good(0.99) and found.good(0.9)


def test_without_classes_the_error_decides():
    expected = np.random.default_rng(0).standard_normal((500, 1))
    found = compare("reference", [expected], [expected + 0.1])
    assert found.same_class is None
    assert found.relative_error == pytest.approx(0.1, rel=0.1)
    assert not found.good(0.99) and found.good(0.8)


def test_what_is_not_finite_is_never_good():
    expected = np.ones((3, 2))
    found = compare("reference", [expected], [np.array([[1, 1], [np.nan, 1], [1, 1]])])
    assert not found.good(0.0)


def test_outputs_of_another_shape_are_of_another_model():
    assert compare("reference", [np.ones((3, 2))], [np.ones((3, 4))]) is None
    assert compare("reference", [np.ones((3, 2))], [np.ones((3, 2))] * 2) is None
