"""Images with masks: pixels keep their classes through pairing, resizing and splitting, and faults are named."""

import numpy as np
import pytest
from PIL import Image

from kerasdl import data
from kerasdl.errors import UserError


def put(root, name, image, mask, part="", ending="png"):
    """Writes an image and its mask, of which either may be absent."""
    for folder, picture, suffix in (("images", image, ending), ("masks", mask, "png")):
        (root / part / folder).mkdir(parents=True, exist_ok=True)
        if picture is not None:
            picture.save(root / part / folder / f"{name}.{suffix}")


def scene(number, values=(0, 255), size=(12, 16)):
    """Returns a grey image whose pixels tell the mask's values, and the mask: a rectangle on background."""
    mask = np.full(size, values[0], "uint8")
    for place, value in enumerate(values[1:]):
        mask[1 + number % 4 :, 2 + 3 * place : 5 + 3 * place] = value
    return Image.fromarray(mask // 2 + 20), Image.fromarray(mask)


@pytest.fixture
def cells(tmp_path):
    """Ten pairs of binary masks."""
    for number in range(10):
        put(tmp_path / "cells", f"c{number}", *scene(number))
    return tmp_path / "cells"


def pixels(dataset):
    splits = (dataset.train, dataset.validation, dataset.test)
    return np.concatenate([split.x for split in splits]), np.concatenate([split.y for split in splits])


def refused(*arguments, **keywords):
    with pytest.raises(UserError) as caught:
        data.load(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_binary_masks(cells):
    dataset = data.load(f"segmentation:{cells}")
    assert dataset.task == "segmentation" and dataset.facts()["task"] == "segmentation"
    assert dataset.classes == ("background", "class 1") and dataset.input_shape == (12, 16, 1)
    assert dataset.train.y.dtype == "uint8" and dataset.train.y.shape == (6, 12, 16)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (6, 2, 2)
    x, y = pixels(dataset)
    assert np.array_equal(np.round(x[..., 0] * 255), np.where(y == 1, 147, 20))
    assert not dataset.notes


@pytest.mark.parametrize("how", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(24, 32), (24, 24), (6, 8), (18, 20)])
def test_masks_stay_with_their_images(cells, how, size):
    dataset = data.load(f"segmentation:{cells}", size=size, resize=how)
    x, y = pixels(dataset)
    assert y.shape == x.shape[:3] == (10, *size) and set(np.unique(y)) == {0, 1}
    # Where an image is not on an edge, which averages, its grey tells the class.
    grey = np.round(x[..., 0] * 255)
    sure = np.isin(grey, (0, 20, 147))
    assert sure.mean() > 0.3 and np.array_equal(y[sure], (grey[sure] == 147).astype("uint8"))
    # Neither is moved against the other: the middles of both are the same.
    for image, mask in zip(grey, y, strict=True):
        bright = image > 83
        assert np.abs(np.argwhere(bright).mean(axis=0) - np.argwhere(mask).mean(axis=0)).max() < 0.6


def test_palettes_and_greys_are_values(tmp_path):
    root = tmp_path / "set"
    for number in range(8):
        image, mask = scene(number, values=(0, 1, 3))
        if number % 2:
            mask = mask.copy()
            mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
        put(root, f"{number}", image, mask)
    dataset = data.load(f"segmentation:{root}")
    assert dataset.classes == ("background", "class 1", "class 3")
    x, y = pixels(dataset)
    assert np.array_equal(np.round(x[..., 0] * 255), np.array([20, 20, 21])[y])
    named = data.load(f"segmentation:{root}?classes=none,left,right")
    assert named.classes == ("none", "left", "right") and np.array_equal(pixels(named)[1], y)
    # More names than values: the values are the numbers of the classes.
    five = data.load(f"segmentation:{root}", classes=["a", "b", "c", "d", "e"])
    assert np.array_equal(pixels(five)[1], np.array([0, 1, 3])[y])
    assert "names 2 classes, and the masks hold 3 values: 0, 1, 3" in refused(f"segmentation:{root}?classes=a,b")
    assert "names one class twice" in refused(f"segmentation:{root}?classes=a,a,b")


def test_a_value_that_only_a_few_pixels_hold_is_a_class_at_any_size(tmp_path):
    for number in range(6):
        image, mask = scene(number, values=(0, 1))
        mask.putpixel((15, 0), 7)
        put(tmp_path / "set", f"{number}", image, mask)
    assert data.load(f"segmentation:{tmp_path / 'set'}?size=3").classes == ("background", "class 1", "class 7")


def test_the_value_255_beside_others_is_told(tmp_path):
    for number in range(6):
        put(tmp_path / "set", f"{number}", *scene(number, values=(0, 1, 255)))
    assert "class of its own" in data.load(f"segmentation:{tmp_path / 'set'}").notes[-1]


def test_what_has_no_partner_is_named_or_left_out(cells):
    put(cells, "alone", scene(0)[0], None)
    put(cells, "lonely", None, scene(0)[1])
    message = refused(f"segmentation:{cells}")
    assert "1 images have no mask: images/alone.png" in message and "unpaired=skip" in message
    assert "1 masks have no image: masks/lonely.png" in message
    dataset = data.load(f"segmentation:{cells}?unpaired=skip")
    assert len(pixels(dataset)[0]) == 10
    assert [note for note in dataset.notes if "alone.png" in note] and [n for n in dataset.notes if "lonely.png" in n]


def test_other_sizes_of_masks_are_named(cells):
    put(cells, "odd", scene(0)[0], scene(0, size=(6, 8))[1])
    message = refused(f"segmentation:{cells}?size=8")
    assert "1 masks have another size" in message and "masks/odd.png (6x8, where the image is 12x16)" in message


def test_damaged_and_coloured_masks(cells):
    put(cells, "red", scene(0)[0], Image.new("RGB", (16, 12), (255, 0, 0)))
    put(cells, "cut", *scene(1))
    path = cells / "masks" / "cut.png"
    path.write_bytes(path.read_bytes()[:40])
    put(cells, "rgb", scene(0)[0], scene(0)[1].convert("RGB"))
    message = refused(f"segmentation:{cells}")
    assert "2 of 26 files cannot be read: masks/cut.png" in message and "masks/red.png (is in colour" in message
    dataset = data.load(f"segmentation:{cells}?corrupt=skip")
    assert len(pixels(dataset)[0]) == 11 and "left out 2 files" in dataset.notes[0]


def test_masks_of_which_none_can_be_read(tmp_path):
    for number in range(4):
        put(tmp_path / "set", f"{number}", scene(0)[0], Image.new("RGB", (16, 12), (255, 0, 0)))
    assert "4 of 8 files cannot be read: masks/0.png (is in colour" in refused(f"segmentation:{tmp_path / 'set'}")
    message = refused(f"segmentation:{tmp_path / 'set'}?corrupt=skip")
    assert (
        "without the 4 files that cannot be read: holds 0 images with a mask to learn from, and 3 are needed" in message
    )


def test_smooth_masks_are_refused(tmp_path):
    ramp = Image.fromarray(np.arange(256, dtype="uint8").reshape(16, 16))
    for number in range(4):
        put(tmp_path / "set", f"{number}", ramp, ramp)
    assert "hold 256 values" in refused(f"segmentation:{tmp_path / 'set'}")
    flat = Image.new("L", (16, 16), 0)
    for number in range(4):
        put(tmp_path / "set", f"{number}", ramp, flat)
    assert "every mask holds the value 0 alone" in refused(f"segmentation:{tmp_path / 'set'}")


def test_padding_needs_a_class_of_value_0(tmp_path):
    for number in range(6):
        put(tmp_path / "set", f"{number}", *scene(number, values=(1, 2)))
    assert "resize=pad" in refused(f"segmentation:{tmp_path / 'set'}?size=8&resize=pad")
    assert data.load(f"segmentation:{tmp_path / 'set'}?size=8&resize=crop").classes == ("class 1", "class 2")


def test_folders_that_are_split_already(tmp_path):
    root = tmp_path / "set"
    for part, count in (("train", 10), ("val", 3), ("test", 4)):
        for number in range(count):
            put(root, f"{number}", *scene(number), part=part, ending="jpg")
    dataset = data.load(f"segmentation:{root}")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (10, 3, 4) and not dataset.notes
    (root / "val").rename(tmp_path / "away")
    dataset = data.load(f"segmentation:{root}?rows=6")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (5, 1, 4)
    assert "10% of train/" in dataset.notes[0] and "drawn at random: 6 of 10" in dataset.notes[1]


def test_folders_that_are_missing_are_named(tmp_path, cells):
    (cells / "masks").rename(cells / "labels")
    assert "has no masks/" in refused(f"segmentation:{cells}")
    (tmp_path / "empty").mkdir()
    assert "has no images/ and no masks/" in refused(f"segmentation:{tmp_path / 'empty'}")


def test_names_that_differ_in_their_endings_alone(cells):
    scene(0)[0].save(cells / "images" / "c0.bmp")
    assert "c0.bmp, c0.png differ in their endings alone" in refused(f"segmentation:{cells}")


def test_empty_masks_are_in_every_split(tmp_path):
    for number in range(20):
        values = (0, 255) if number % 2 else (0,)
        put(tmp_path / "set", f"{number:02}", *scene(number, values=values))
    dataset = data.load(f"segmentation:{tmp_path / 'set'}")
    for split in (dataset.train, dataset.validation, dataset.test):
        assert 0.3 < split.y.any(axis=(1, 2)).mean() < 0.7


def test_mapped_masks_hold_the_same(cells):
    kept, mapped = data.load(f"segmentation:{cells}"), data.load(f"segmentation:{cells}?memory=1KB")
    assert isinstance(mapped.train.x, np.memmap) and isinstance(mapped.train.y, np.memmap)
    assert kept.fingerprint == mapped.fingerprint and mapped.train.y.dtype == "uint8"


def test_class_weights_are_refused(cells):
    with pytest.raises(UserError, match=r"class_weight: .* a class for each pixel"):
        data.with_class_weights(data.load(f"segmentation:{cells}"), "balanced")
