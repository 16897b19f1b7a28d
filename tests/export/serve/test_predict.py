"""predict.py, run as a stranger runs it, in a process that can import nothing that trained the model."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.export.graphs import LAND, Bare, bundle, reference

pytestmark = pytest.mark.backend_free

ROWS = np.array([[48.85, 2.35], [60.5, 20.0], [40.0, -5.0], [52.5, 13.4]], "float32")


@pytest.fixture
def predict(bare):
    """Runs a bundle's predict.py."""
    return lambda folder, *arguments, **options: bare.run(folder / "predict.py", *arguments, **options)


def answers(done):
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def mistake(done):
    assert done.returncode == 2, done.stdout
    (line,) = done.stderr.splitlines()
    return line


def test_formats_and_orders_of_columns_give_what_the_model_gives(predict, bundles, tmp_path):
    folder = bundles["table"]
    expected = reference(folder, features=ROWS)[0]
    plain = tmp_path / "plain.csv"
    plain.write_text("".join(f"{a},{b}\n" for a, b in ROWS.tolist()))
    named = tmp_path / "named.csv"
    named.write_text("\ufeffkind;longitude;latitude\n" + "".join(f"x;{b};{a}\n" for a, b in ROWS.tolist()))
    lists = tmp_path / "lists.json"
    lists.write_text(json.dumps(ROWS.tolist()))
    lines = tmp_path / "lines.jsonl"
    lines.write_text("\n".join(json.dumps({"longitude": b, "latitude": a}) for a, b in ROWS.tolist()))
    done = predict(folder, plain, lists, lines, "--batch", "3")
    found = answers(done)
    assert len(found) == 12
    for number, answer in enumerate(found):
        row = number % 4
        assert int(answer["row"]) == row + 1
        assert answer["class"] == LAND[expected[row].argmax()]
        chances = [float(answer[f"probability of {name}"]) for name in LAND]
        assert np.abs(chances - expected[row]).max() < 1e-6
    semicolons = predict(folder, named, "--separator", ";")
    assert [answer["class"] for answer in answers(semicolons)] == [answer["class"] for answer in found[:4]]
    assert "columns that the model does not use: kind" in semicolons.stderr


def test_standard_input_is_recognized(predict, bundles):
    given = [
        b"48.85,2.35\n",
        b"[[48.85, 2.35]]",
        b'{"rows": [{"latitude": 48.85, "longitude": 2.35}]}',
        b"\n[48.85,2.35]\n[1,2]",
    ]
    (expected,) = reference(bundles["table"], features=ROWS[:1])
    for content in given:
        done = predict(bundles["table"], "-", "--output", "jsonl", given=content)
        assert done.returncode == 0, done.stderr
        first = json.loads(done.stdout.splitlines()[0])
        assert np.abs(np.array(first["probabilities"]) - expected[0]).max() < 1e-6


MISTAKES = {
    b"latitud,longitude\n1,2\n": "-, line 1: has no column 'latitude'; rename 'latitud', if that is it",
    b"x,y\n1,2\n": "-, line 1: has no column 'latitude'; its columns are x, y",
    b"latitude,longitude,latitude\n1,2,3\n": "-, line 1: has several columns 'latitude'",
    b"latitude,longitude\n1,2\n3,north\n": "-, line 3: column 'longitude': 'north' is not a number",
    b"1,2\n3\n": "-, line 2: has 1 cells, the first line 2",
    b"1,2,3\n": "-, row[1]: shape (3), and a row of 'features' has shape (2)",
    b"1,2\n3,nan\n": "-, row[2]: holds a value that is NaN or infinite",
    b"1,1e39\n": "-, row[1]: holds a number too large for float32",
    b"latitude,longitude\n": "-: has a header and no rows",
    b"": "-: is empty",
    b"[[1, 2], [3, true]]": "-, rows[1]: True is not a number",
    b'{"row": [[1, 2]]}': "-: field 'row' is not known; did you mean 'rows'?",
    b"[1, 2": "-, line 1, column 6: not JSON: Expecting ',' delimiter",
    b"[1,2]\n[3,null]\n": "-, line 2, row[0]: None is not a number",
    b"\xff\xfe1,2": "-: is no text in UTF-8",
}


@pytest.mark.parametrize("given", MISTAKES)
def test_mistakes_end_in_one_line_that_names_the_place(predict, bundles, given):
    assert mistake(predict(bundles["table"], "-", given=given)) == f"error: {MISTAKES[given]}"


def test_a_file_that_is_not_there(predict, bundles):
    assert mistake(predict(bundles["table"], "no.csv")) == "error: no.csv: No such file or directory"


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_images_become_what_they_were_in_training(predict, tmp_path, resize):
    """Compared with the package's own reader, on a picture of another size, with transparency."""
    from kerasdl.data.form import Form
    from kerasdl.data.image_file import read_image

    folder = bundle(tmp_path / "bundle", "digits", resize=resize)
    facts = json.loads((folder / "model.json").read_text())
    facts["preprocessing"]["image"]["resize"] = resize
    (folder / "model.json").write_text(json.dumps(facts))
    pixels = np.random.default_rng(0).integers(0, 256, (37, 50, 4)).astype("uint8")
    Image.fromarray(pixels, "RGBA").save(tmp_path / "picture.png")
    Image.fromarray(pixels[..., 0]).convert("P").save(tmp_path / "palette.bmp")
    found = answers(predict(folder, tmp_path / "picture.png", tmp_path / "palette.bmp"))
    for name, answer in zip(("picture.png", "palette.bmp"), found, strict=True):
        grey = read_image(tmp_path / name, Form((8, 8), 1, resize), 1, "uint8")
        (expected,) = reference(folder, features=grey[None].astype("float32") / 255 * 16)
        chances = [float(answer[f"probability of {name}"]) for name in "0123456789"]
        assert np.abs(chances - expected[0]).max() < 1e-5


def test_dark_strokes_on_white_are_turned_round_when_asked(predict, bundles, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8)).astype("uint8")
    Image.fromarray(pixels).save(tmp_path / "light.png")
    Image.fromarray(255 - pixels).save(tmp_path / "dark.png")
    light = answers(predict(bundles["digits"], tmp_path / "light.png"))
    dark = answers(predict(bundles["digits"], tmp_path / "dark.png", "--invert"))
    assert [answer | {"input": ""} for answer in light] == [answer | {"input": ""} for answer in dark]


def test_images_need_pillow_and_nothing_else_does(bundles, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    program, without = bundles["digits"] / "predict.py", Bare("PIL")
    assert mistake(without.run(program, tmp_path / "black.png")) == "error: images need Pillow: pip install pillow"
    row = json.dumps([np.zeros((8, 8, 1)).tolist()]).encode()
    assert answers(without.run(program, "-", given=row))[0]["row"] == "1"
    without.close()


def test_what_is_no_image(predict, bundles, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    assert "broken.png: cannot be read as a PNG" in mistake(predict(bundles["digits"], tmp_path / "broken.png"))
    assert "this model takes rows of numbers, not images" in mistake(predict(bundles["table"], tmp_path / "black.png"))


def test_masks_are_written_and_never_over_one_another(predict, bundles, tmp_path):
    pixels = np.zeros((4, 4, 3), "uint8")
    pixels[:2, :, 0] = 250
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "picture.png")
    pictures = [tmp_path / folder / "picture.png" for folder in ("one", "two")]
    found = answers(predict(bundles["pixels"], *pictures, "--masks", tmp_path / "masks"))
    assert len({answer["mask"] for answer in found}) == 2
    for answer in found:
        assert json.loads(answer["shares"]) == {"other": 0.5, "red": 0.5}
        with Image.open(answer["mask"]) as mask:
            assert (np.asarray(mask) == np.repeat([1, 1, 0, 0], 4).reshape(4, 4)).all()
    shown = predict(bundles["pixels"], pictures[0], "--output", "jsonl")
    assert json.loads(shown.stdout)["mask"][0] == [1, 1, 1, 1]
    assert "--masks FOLDER or --output json" in mistake(predict(bundles["pixels"], pictures[0]))
    assert "this one does not" in mistake(predict(bundles["table"], "x.csv", "--masks", tmp_path))


def test_one_probability_of_two_classes(predict, bundles):
    found = answers(predict(bundles["one_output"], "-", given=b"3,1\n1,3\n"))
    assert [answer["class"] for answer in found] == ["yes", "no"]
    assert float(found[0]["probability of yes"]) == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)
    assert float(found[1]["probability"]) == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)


def test_several_inputs_and_outputs(predict, bundles):
    body = {"inputs": {"tokens": [[1, 2], [3, 4]], "offset": [[0.5, 0], [0, 0]]}}
    done = predict(bundles["words"], "-", "--output", "json", given=json.dumps(body).encode())
    assert done.returncode == 0, done.stderr
    tokens, offset = np.array(body["inputs"]["tokens"]), np.array(body["inputs"]["offset"], "float32")
    expected = reference(bundles["words"], tokens=tokens, offset=offset)
    for row, answer in enumerate(json.loads(done.stdout)):
        assert answer["outputs"] == {"sum": expected[0][row].tolist(), "positive": expected[1][row].tolist()}
    body["inputs"]["tokens"][1][0] = 99
    assert "the model does not take these values" in mistake(
        predict(bundles["words"], "-", given=json.dumps(body).encode())
    )


def test_a_file_that_takes_one_row_at_a_time_gets_one(predict, tmp_path):
    folder = bundle(tmp_path, "table", rows=1)
    found = answers(predict(folder, "-", given=b"48,2\n60,30\n40,0\n"))
    assert [answer["row"] for answer in found] == ["1", "2", "3"]


def test_a_model_that_was_exchanged_is_not_run(predict, tmp_path):
    folder = bundle(tmp_path, "table")
    content = bytearray((folder / "model.onnx").read_bytes())
    content[-40] ^= 1
    (folder / "model.onnx").write_bytes(content)
    assert "not the file that model.json describes" in mistake(predict(folder, "-", given=b"1,2"))


def test_a_reader_that_leaves_early_is_no_failure(bundles, tmp_path):
    import subprocess
    import sys

    rows = tmp_path / "many.csv"
    rows.write_text("48,2\n" * 20000)
    program = [sys.executable, str(bundles["table"] / "predict.py"), str(rows)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith(b"input,row")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_a_model_whose_range_of_pixels_is_not_known_says_how_to_tell_it(predict, tmp_path):
    image = {"height": 8, "width": 8, "channels": 1, "resize": "stretch", "range": None}
    folder = bundle(tmp_path / "bundle", "digits", preprocessing={"image": image})
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8)).astype("uint8")
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    assert "as preprocessing.image.range" in mistake(predict(folder, tmp_path / "picture.png"))
    facts = json.loads((folder / "model.json").read_text())
    facts["preprocessing"]["image"]["range"] = [0, 16]
    (folder / "model.json").write_text(json.dumps(facts))
    (found,) = answers(predict(folder, tmp_path / "picture.png"))
    (expected,) = reference(folder, features=pixels[None, ..., None].astype("float32") / 255 * 16)
    assert float(found["probability"]) == pytest.approx(expected.max(), abs=1e-6)


def test_a_device_that_is_not_there_is_a_mistake_and_no_answer_is_printed(predict, bundles):
    done = predict(bundles["table"], "-", "--device", "cuda", given=b"1,2\n")
    if done.returncode == 0:
        pytest.skip("there is a CUDA device")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "cpu" in done.stderr.splitlines()[-1]
