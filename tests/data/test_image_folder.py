"""Folders of images, as people have them: every image once, in the class of its folder, and faults named."""

import numpy as np
import pytest
from PIL import Image

from kerasdl import data
from kerasdl.data.spec import located
from kerasdl.errors import UserError


@pytest.fixture
def pictures(tmp_path, draw_image):
    """A folder of three classes of 20, 10 and 5 grey images whose first row of pixels is 10 times the class."""
    root = tmp_path / "pictures"
    for label, (name, count) in enumerate({"ant": 20, "bee": 10, "cow": 5}.items()):
        for number in range(count):
            draw_image(root / name / f"{number}.png", mark=10 * label)
    return root


def all_rows(dataset):
    splits = (dataset.train, dataset.validation, dataset.test)
    return np.concatenate([split.x for split in splits]), np.concatenate([split.y for split in splits])


def refused(*arguments, **keywords):
    with pytest.raises(UserError) as caught:
        data.load(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_class_folders_are_split_and_scaled(pictures):
    dataset = data.load(f"folder:{pictures}")
    assert dataset.task == "classification" and dataset.classes == ("ant", "bee", "cow")
    assert dataset.input_shape == (6, 8, 1) and dataset.train.x.dtype == "float32" and dataset.train.y.dtype == "int64"
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (22, 6, 7)
    x, y = all_rows(dataset)
    assert np.array_equal(np.round(x[:, 0, 0, 0] * 255), 10 * y)
    stored = [np.asarray(Image.open(path)).tobytes() for path in pictures.rglob("*.png")]
    assert sorted(np.round(dataset.scaling.invert(image)).astype("uint8").tobytes() for image in x) == sorted(stored)
    for split in (dataset.train, dataset.validation, dataset.test):
        assert set(split.y) == {0, 1, 2}
    assert dataset.source == str(pictures) and not dataset.notes


def test_the_seed_decides_the_split(pictures):
    first, again, other = (data.load(f"folder:{pictures}", seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_endings_in_capitals_and_folders_in_folders(pictures, draw_image):
    draw_image(pictures / "ant" / "more" / "A.PNG", mark=0)
    draw_image(pictures / "bee" / "B.Bmp", mark=10)
    assert len(all_rows(data.load(f"folder:{pictures}"))[0]) == 37


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "webp", "bmp"])
def test_every_format(tmp_path, ending):
    for name, value in (("dark", 40), ("light", 200)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (9, 7), (value, value // 2, 10)).save(tmp_path / "set" / name / f"{number}.{ending}")
    x, y = all_rows(data.load(f"folder:{tmp_path / 'set'}"))
    assert x.shape == (10, 7, 9, 3)
    assert np.abs(x[:, 3, 3] * 255 - np.where(y[:, None] == 0, [40, 20, 10], [200, 100, 10])).max() < 5


def save_all(root, make):
    """Gives both classes five images of each kind that `make` makes."""
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(5):
            for kind, image in make().items():
                image.save(root / name / f"{kind}{number}.png")


def test_grey_stored_as_colour_is_grey_and_one_coloured_pixel_is_colour(tmp_path):
    save_all(tmp_path / "set", lambda: {"rgb": Image.new("RGB", (4, 4), (7, 7, 7)), "l": Image.new("L", (4, 4), 7)})
    dataset = data.load(f"folder:{tmp_path / 'set'}")
    assert dataset.input_shape == (4, 4, 1) and np.allclose(dataset.train.x * 255, 7)
    assert data.load(f"folder:{tmp_path / 'set'}?channels=3").input_shape == (4, 4, 3)
    spot = Image.new("RGB", (4, 4), (7, 7, 7))
    spot.putpixel((1, 1), (8, 7, 7))
    spot.save(tmp_path / "set" / "a" / "spot.png")
    assert data.load(f"folder:{tmp_path / 'set'}").input_shape == (4, 4, 3)
    assert data.load(f"folder:{tmp_path / 'set'}?channels=1").input_shape == (4, 4, 1)


def test_odd_modes(tmp_path):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    kinds = {
        "p": palette,
        "clear": Image.new("RGBA", (4, 4), (9, 9, 9, 0)),
        "solid": Image.new("RGBA", (4, 4), (200, 100, 50, 255)),
        "la": Image.new("LA", (4, 4), (60, 255)),
        "bit": Image.new("1", (4, 4), 1),
    }
    save_all(tmp_path / "set", lambda: kinds)
    x, _ = all_rows(data.load(f"folder:{tmp_path / 'set'}"))
    colours, counts = np.unique(np.round(x[:, 0, 0] * 255).astype(int), axis=0, return_counts=True)
    # Transparent pixels show white paper.
    assert colours.tolist() == [[60, 60, 60], [200, 100, 50], [255, 255, 255]] and counts.tolist() == [10, 20, 20]


def test_sixteen_bits_stay(tmp_path):
    deep = np.array([[0, 1, 257, 65535]], "uint16")
    save_all(tmp_path / "set", lambda: {"deep": Image.fromarray(deep), "flat": Image.new("L", (4, 1), 255)})
    x, _ = all_rows(data.load(f"folder:{tmp_path / 'set'}"))
    assert np.unique(x.reshape(20, 4), axis=0) == pytest.approx(np.array([[0, 1 / 65535, 1 / 255, 1], [1] * 4]))


def test_images_are_turned_upright(tmp_path):
    upright = np.zeros((8, 16, 3), "uint8")
    upright[:, :8] = 250
    turned = Image.fromarray(np.rot90(upright).copy())
    tag = Image.Exif()
    tag[0x0112] = 6  # Turn by 90 degrees to the right to see it upright.
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(3):
            turned.save(tmp_path / "set" / name / f"t{number}.jpg", exif=tag, quality=95)
            Image.fromarray(upright).save(tmp_path / "set" / name / f"u{number}.jpg", quality=95)
    x, _ = all_rows(data.load(f"folder:{tmp_path / 'set'}"))
    assert x.shape == (12, 8, 16, 1)
    assert np.abs(x[..., 0] * 255 - upright[..., 0]).max() < 12


def test_several_sizes_need_a_size(pictures, draw_image):
    draw_image(pictures / "bee" / "odd.png", size=(12, 5), mark=10)
    message = refused(f"folder:{pictures}")
    assert "6x8 (35 images, such as ant/0.png)" in message and "12x5 (1 images, such as bee/odd.png)" in message
    assert "size=6x8" in message and "resize=" in message
    for how in ("stretch", "crop", "pad"):
        assert data.load(f"folder:{pictures}", size="7x9", resize=how).input_shape == (7, 9, 1)
    assert data.load(f"folder:{pictures}", size=5).input_shape == (5, 5, 1)


def test_how_sizes_are_met(tmp_path):
    wide = Image.fromarray(np.repeat(np.array([[10, 50, 50, 90]], "uint8"), 2, axis=0))
    save_all(tmp_path / "set", lambda: {"wide": wide})

    def first(how):
        return np.round(data.load(f"folder:{tmp_path / 'set'}", size=2, resize=how).train.x[0, ..., 0] * 255).tolist()

    assert first("crop") == [[50, 50], [50, 50]]
    above, below = first("pad")
    assert below == [0, 0] and 30 <= above[0] < 50 < above[1] <= 70
    left, right = first("stretch")[0]
    assert 10 < left < 50 < right < 90


def test_damaged_files_are_counted_and_named_or_left_out(pictures):
    whole = (pictures / "ant" / "0.png").read_bytes()
    (pictures / "ant" / "0.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "bee" / "1.png").write_bytes(b"not an image")
    (pictures / "cow" / "empty.jpg").write_bytes(b"")
    message = refused(f"folder:{pictures}")
    assert "3 of 36 files cannot be read" in message and "corrupt=skip" in message
    for name in ("ant/0.png", "bee/1.png", "cow/empty.jpg (is empty)"):
        assert name in message
    dataset = data.load(f"folder:{pictures}?corrupt=skip")
    assert len(all_rows(dataset)[0]) == 33
    assert dataset.notes == ("left out 3 files that cannot be read: ant/0.png, bee/1.png, cow/empty.jpg",)


def test_a_class_of_damaged_files_alone_is_named(pictures):
    for path in (pictures / "cow").iterdir():
        path.write_bytes(b"nothing")
    assert "class 'cow' has 0 rows" in refused(f"folder:{pictures}?corrupt=skip")


def test_what_is_no_image_is_passed_over_and_told(pictures, draw_image):
    (pictures / "ant" / ".DS_Store").write_bytes(b"x")
    (pictures / "ant" / "Thumbs.db").write_bytes(b"x")
    (pictures / ".git" / "x").mkdir(parents=True)
    draw_image(pictures / "loose.png")
    notes = data.load(f"folder:{pictures}").notes
    assert [note.partition(":")[2].strip() for note in notes] == ["ant/.DS_Store", "ant/Thumbs.db", "loose.png"]
    assert all(note.startswith("passed over 1 ") for note in notes)


def test_a_class_without_images_is_named(pictures):
    (pictures / "dog").mkdir()
    assert "class folder 'dog' holds no images" in refused(f"folder:{pictures}")
    (pictures / "dog" / "x.gif").write_bytes(b"GIF")
    assert "x.gif" in refused(f"folder:{pictures}")


def test_a_folder_without_classes(tmp_path, draw_image):
    draw_image(tmp_path / "set" / "one.png")
    assert "no class folders (1 images lie directly in it)" in refused(f"folder:{tmp_path / 'set'}")
    draw_image(tmp_path / "set" / "only" / "one.png")
    assert "only one class, 'only'" in refused(f"folder:{tmp_path / 'set'}")
    draw_image(tmp_path / "set" / "other" / "one.png")
    assert "class 'only' has 1 rows (and 1 more classes), and 3 are needed" in refused(f"folder:{tmp_path / 'set'}")


@pytest.fixture
def split(tmp_path, draw_image):
    """A folder with train/ and test/ of two classes."""
    root = tmp_path / "split"
    for part, count in (("train", 20), ("test", 4)):
        for label, name in enumerate(("ant", "bee")):
            for number in range(count):
                draw_image(root / part / name / f"{number}.png", mark=10 * label)
    return root


def test_test_rows_are_those_of_the_folder(split, draw_image):
    dataset = data.load(f"folder:{split}")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (36, 4, 8)
    stored = sorted(np.asarray(Image.open(path)).tobytes() for path in (split / "test").rglob("*.png"))
    assert sorted(np.round(image * 255).astype("uint8").tobytes() for image in dataset.test.x) == stored
    assert dataset.notes == ("no val/: 10% of train/ was held out for validation",)
    for name in ("ant", "bee"):
        for number in range(3):
            draw_image(split / "Valid" / name / f"{number}.png")
    dataset = data.load(f"folder:{split}")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (40, 6, 8) and not dataset.notes


def test_a_missing_test_is_held_out_and_told(split):
    (split / "test").rename(split / "val")
    dataset = data.load(f"folder:{split}")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (32, 8, 8)
    assert dataset.notes == ("no test/: 20% of train/ was held out for test",)
    (split / "val").rename(split.parent / "away")
    dataset = data.load(f"folder:{split}")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (26, 6, 8)
    assert "64/16/20" in dataset.notes[0]


def test_splits_with_other_classes_are_refused(split):
    (split / "test" / "bee").rename(split / "test" / "wasp")
    message = refused(f"folder:{split}")
    assert "'bee' is only in train/" in message and "'wasp' is only in test/" in message


def test_a_split_without_train_is_refused(split):
    (split / "train").rename(split.parent / "away")
    assert "has test/ and no train/" in refused(f"folder:{split}")


def test_train_may_be_a_class(tmp_path, draw_image):
    for name in ("train", "tram"):
        for number in range(4):
            draw_image(tmp_path / "set" / name / f"{number}.png")
    assert data.load(f"folder:{tmp_path / 'set'}").classes == ("train", "tram")


def test_rows_are_a_stratified_sample(pictures, split):
    dataset = data.load(f"folder:{pictures}?rows=14")
    assert np.bincount(all_rows(dataset)[1]).tolist() == [7, 4, 3]
    assert dataset.notes == ("a sample, stratified by class: 14 of 35 images",)
    dataset = data.load(f"folder:{split}?rows=10")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (8, 2, 8)
    assert "rows=99 is out of range; there are 35 images" in refused(f"folder:{pictures}?rows=99")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sise=3", "did you mean 'size'"),
        ("size=0", "from 1 to 4096"),
        ("size=3x", "not a size in pixels"),
        ("size=3x4x5", "not a size in pixels"),
        ("channels=2", "choose from 1, 3"),
        ("resize=cropp", "did you mean 'crop'"),
        ("corrupt=skpi", "did you mean 'skip'"),
        ("memory=lots", "memory=500MB"),
    ],
)
def test_a_misspelt_parameter_is_answered(pictures, query, words):
    assert words in refused(f"folder:{pictures}?{query}")


def test_the_path_must_be_a_folder(pictures, tmp_path):
    assert "is a file" in refused(f"folder:{pictures}/ant/0.png")
    assert "no such folder" in refused(f"folder:{tmp_path}/none")
    assert "folder:PATH" in refused(str(pictures))
    assert "did you mean 'folder'" in refused(f"foldr:{pictures}")


def test_relative_paths_are_located(pictures):
    text = located("folder:pictures?size=4x6&memory=1GB", pictures.parent)
    assert text == f"folder:{pictures}?memory=1000000000&size=4x6"
    assert data.load(text).name == text
