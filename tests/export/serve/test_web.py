"""The page: its arithmetic beside Pillow's, and the whole of it in a browser beside onnxruntime in Python."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import tempfile
import threading

import numpy as np
import pytest
from PIL import Image

from kerasdl.data.form import Form
from kerasdl.data.image_file import read_image
from kerasdl.recipes import folder as recipes
from tests.export.graphs import LAND, bundle, reference

try:
    from playwright.sync_api import expect, sync_playwright
except ModuleNotFoundError:
    expect = sync_playwright = None

pytestmark = pytest.mark.backend_free

PAGE = recipes("export") / "serve" / "web"
NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

RESIZE = """
import { flatten, toRow } from "./resize.mjs";
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const cases = JSON.parse(Buffer.concat(chunks).toString());
const rows = cases.map(({ width, height, data, image, invert }) =>
  Array.from(toRow(flatten({ width, height, data }, image.channels, invert), width, height, image)));
console.log(JSON.stringify(rows));
"""


def test_the_page_names_only_files_that_it_brings():
    for path in [*PAGE.glob("*.js"), PAGE / "index.html"]:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r'(?:from|src=|href=)\s*"(?:\./)?([\w./-]+\.\w+)"', text):
            assert (PAGE / name).is_file(), f"{path.name} names {name}"
        assert not re.findall(r"https?://(?!127\.0\.0\.1)[\w.]+", text), f"{path.name} looks beyond its own server"


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_pictures_are_resized_as_pillow_does(tmp_path):
    shutil.copy(PAGE / "resize.js", tmp_path / "resize.mjs")
    (tmp_path / "run.mjs").write_text(RESIZE)
    generator = np.random.default_rng(0)
    cases, expected = [], []
    for number, (height, width, channels, resize, size, invert) in enumerate(
        [
            (320, 320, 1, "stretch", (8, 8), False),
            (320, 320, 1, "stretch", (28, 28), True),
            (30, 47, 3, "crop", (12, 10), False),
            (47, 30, 3, "crop", (12, 10), False),
            (30, 47, 3, "pad", (12, 10), False),
            (9, 40, 1, "pad", (12, 10), False),
            (5, 7, 3, "stretch", (12, 10), False),
            (12, 10, 1, "stretch", (12, 10), False),
        ]
    ):
        pixels = generator.integers(0, 256, (height, width, 4)).astype("uint8")
        pixels[..., 3] = 255 if number % 2 else pixels[..., 3]
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels, "RGBA").save(path)
        image = {"height": size[0], "width": size[1], "channels": channels, "resize": resize, "range": [0, 255]}
        cases.append(
            {"width": width, "height": height, "data": pixels.ravel().tolist(), "image": image, "invert": invert}
        )
        found = read_image(path, Form(size, channels, resize), channels, "uint8").astype("float64")
        expected.append(255 - found if invert else found)
    done = subprocess.run(
        [NODE, "run.mjs"], cwd=tmp_path, input=json.dumps(cases).encode(), capture_output=True, timeout=60, check=True
    )
    for row, pixels in zip(json.loads(done.stdout), expected, strict=True):
        # One step of 255 is what rounding along the way may cost.
        assert np.abs(np.array(row).reshape(pixels.shape) - pixels).max() <= 1


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The folder of each bundle, with onnxruntime-web in each as README.md says, on a server."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    if sync_playwright is None:
        pytest.skip("playwright is not installed")
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("pages")
    models = {"table": {}, "plane": {"features": ["a", "b"]}, "digits": {}, "pixels": {}, "one_output": {}, "words": {}}
    made = {
        name: bundle(folder / name, {"plane": "table"}.get(name, name), **options) for name, options in models.items()
    }
    made["large"] = bundle(folder / "large", "digits", size=28, resize="pad")
    web = made["table"] / "web"
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(command, cwd=web, capture_output=True, text=True, timeout=280, check=False)
    if done.returncode:
        pytest.skip(f"onnxruntime-web cannot be had: {done.stderr.strip().splitlines()[-1:]}")
    shutil.rmtree(web / "node_modules")
    for each in made.values():
        if each != made["table"]:
            shutil.copytree(web / "ort", each / "web" / "ort")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield {name: (each, f"http://127.0.0.1:{server.server_port}/{name}/web/") for name, each in made.items()}
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(pages):
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        context = playwright.chromium.launch_persistent_context(profile, executable_path=CHROMIUM, args=OPTIONS)
        yield context
        context.close()


@pytest.fixture
def visit(browser, pages):
    """Opens the page of a model; afterwards nothing may have gone wrong in it, nor have left its server."""
    wrong, asked = [], []
    page = browser.new_page()
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))

    def open_page(name):
        folder, address = pages[name]
        page.goto(address)
        page.wait_for_selector("html[data-ready=true]", state="attached", timeout=60_000)
        return page, folder, address

    yield open_page
    addresses = [address for _, address in pages.values()]
    assert not wrong, wrong
    assert not [url for url in asked if not url.startswith((*addresses, "data:", "blob:"))]
    page.close()


def body_of(page):
    return json.loads(page.locator("#body").text_content())


def shares(page):
    """What the table of the answer says, by class."""
    lines = page.locator("#details tbody tr").all()
    cells = [(line.locator("th").inner_text().strip(), line.locator("td.number").inner_text()) for line in lines]
    return {name: float(text.strip("<> %")) / 100 for name, text in cells}


def check(page, folder, classes):
    """Whether the page says what onnxruntime says in Python of the same input."""
    expect(page.locator("#body")).not_to_be_empty()
    page.wait_for_timeout(100)
    array = np.array(body_of(page)["rows"], "float32")
    values = reference(folder, features=array)[0][0]
    values = np.array([1 - values[0], values[0]]) if len(values) == 1 else values
    assert page.locator("#best").inner_text().split("\n")[0].startswith(classes[values.argmax()])
    for name, share in shares(page).items():
        assert share == pytest.approx(values[classes.index(name)], abs=0.0011)
    return array


def stroke(page, *points):
    box = page.locator("#drawing").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()
    page.wait_for_timeout(200)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("digits", 8), ("large", 28)])
def test_a_drawing_is_told_as_in_python(visit, name, size):
    page, folder, _ = visit(name)
    assert page.locator("#best").inner_text() == "Nothing yet"
    stroke(page, (0.2, 0.1), (0.8, 0.1), (0.4, 0.9))
    drawn = check(page, folder, list("0123456789"))
    assert drawn.shape == (1, size, size, 1)
    # The whole range is used, and what was not drawn on is black.
    assert drawn.max() > 12
    assert drawn[0, -1, -1, 0] == drawn[0, size // 2, 0, 0] == 0
    assert drawn[0, size // 10, size // 2, 0] > 4
    stroke(page, (0.1, 0.5), (0.9, 0.5))
    assert (check(page, folder, list("0123456789")) != drawn).any()
    page.click("#undo")
    page.wait_for_timeout(200)
    assert (check(page, folder, list("0123456789")) == drawn).all()
    page.click("#clear")
    expect(page.locator("#best")).to_have_text("Nothing yet")


@pytest.mark.slow
def test_a_drawing_by_keyboard(visit):
    page, folder, _ = visit("digits")
    page.focus("#drawing")
    for key in ["Space", *["ArrowRight"] * 6, *["ArrowDown"] * 6, "Space", *["ArrowLeft"] * 20]:
        page.keyboard.press(key)
    page.wait_for_timeout(200)
    drawn = check(page, folder, list("0123456789"))
    assert drawn[0, 4, 4, 0] > 4
    # The pen was lifted before it went left, and the mark that shows where it is is no ink.
    assert drawn[0, :, :3].max() == 0
    page.keyboard.press("Delete")
    expect(page.locator("#best")).to_have_text("Nothing yet")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "clear"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "large"])
def test_a_picture_from_a_file_becomes_what_it_was_in_training(visit, tmp_path, name):
    page, folder, _ = visit(name)
    image = json.loads((folder / "model.json").read_text())["preprocessing"]["image"]
    pixels = np.random.default_rng(0).integers(0, 256, (50, 80, 3)).astype("uint8")
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    page.set_input_files("#file", tmp_path / "picture.png")
    given = check(page, folder, list("0123456789"))
    form = Form((image["height"], image["width"]), 1, image["resize"])
    expected = read_image(tmp_path / "picture.png", form, 1, "uint8") / 255 * 16
    assert np.abs(given[0] - expected).max() <= 16 / 255 + 1e-6
    page.check("#invert")
    page.wait_for_timeout(200)
    inverted = check(page, folder, list("0123456789"))
    inside = expected.any(axis=(1, 2))
    assert np.abs(inverted[0] - (16 - expected))[inside].max() <= 16 / 255 + 1e-6
    (tmp_path / "broken.png").write_bytes(b"nothing")
    page.set_input_files("#file", tmp_path / "broken.png")
    expect(page.locator(".error")).to_have_text("broken.png cannot be read as an image.")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["table", "plane"])
def test_a_click_on_the_map_is_told_as_in_python(visit, name):
    page, folder, _ = visit(name)
    box = page.locator("#map").bounding_box()
    seen = set()
    for x, y in [(0.1, 0.1), (0.5, 0.9), (0.9, 0.5), (0.3, 0.6)]:
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.wait_for_timeout(150)
        (row,) = check(page, folder, LAND)
        fields = [page.locator(f"#field-{number}").input_value() for number in range(2)]
        assert np.allclose(np.array(fields, float), row, atol=0.01)
        # The colour at the point is that of the class in the table beside.
        colour = page.evaluate(
            "([x, y]) => Array.from(document.querySelector('#map').getContext('2d').getImageData(x, y, 1, 1).data)",
            [round(x * 720), round(y * page.evaluate("document.querySelector('#map').height"))],
        )
        swatch = page.locator("#details .swatch").first.evaluate("each => each.style.background")
        sure = float(page.locator("#best small").inner_text().strip("<> %")) / 100
        if sure > 0.99:
            assert np.abs(np.array(re.findall(r"\d+", swatch)[:3], float) - colour[:3]).max() < 12
        seen.add(page.locator("#best").inner_text().split()[0])
        if name == "table":
            longitude, latitude = row[1], row[0]
            assert longitude == pytest.approx(-27 - 0.06 * 92 + x * 92 * 1.12, abs=0.3)
            assert latitude == pytest.approx(62 + 0.06 * 25 - y * 25 * 1.12, abs=0.3)
    assert len(seen) > 1


@pytest.mark.slow
def test_the_map_by_keyboard_and_by_fields(visit):
    page, folder, _ = visit("table")
    page.focus("#map")
    (before,) = check(page, folder, LAND)
    for key in ["ArrowUp", "ArrowUp", "Shift+ArrowRight"]:
        page.keyboard.press(key)
    page.wait_for_timeout(150)
    (after,) = check(page, folder, LAND)
    assert after[0] - before[0] == pytest.approx(2 * 28 / 100, abs=0.05)
    assert after[1] - before[1] == pytest.approx(103.04 / 20, abs=0.2)
    page.fill("#field-0", "38.5")
    page.wait_for_timeout(150)
    assert check(page, folder, LAND)[0, 0] == np.float32(38.5)


@pytest.mark.slow
def test_numbers_in_fields_and_as_json(visit):
    page, folder, _ = visit("one_output")
    page.fill("#field-0", "2.5")
    page.fill("#field-1", "1")
    page.wait_for_timeout(150)
    assert check(page, folder, ["no", "yes"]).tolist() == [[2.5, 1]]
    page, folder, _ = visit("words")
    page.fill("#json", '{"tokens": [1, 9], "offset": [0.5, 0]}')
    page.click("text=Predict")
    page.wait_for_selector("#details table")
    expected = reference(folder, tokens=np.array([[1, 9]]), offset=np.array([[0.5, 0]], "float32"))
    shown = [line.locator("td").inner_text() for line in page.locator("#details tbody tr").all()]
    assert [[float(each) for each in line.split(",")] for line in shown] == [array[0].tolist() for array in expected]
    page.fill("#json", '{"tokens": [1.5], "offset": [0.5, 0]}')
    page.click("text=Predict")
    assert "tokens takes whole numbers" in page.locator(".error").inner_text()
    page.fill("#json", '{"tokens": [1], "offset": [0.5]}')
    page.click("text=Predict")
    assert "offset needs the shape (2)" in page.locator(".error").inner_text()


@pytest.mark.slow
def test_a_class_for_each_pixel(visit, tmp_path):
    page, _, _ = visit("pixels")
    pixels = np.zeros((4, 4, 3), "uint8")
    pixels[:1, :, 0] = 250
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    page.set_input_files("#file", tmp_path / "picture.png")
    page.wait_for_selector("#details canvas")
    assert shares(page) == {"other": 0.75, "red": 0.25}
    assert page.locator("#best").inner_text() == "Mostly other"


@pytest.mark.slow
def test_without_its_runtime_the_page_says_what_to_do(browser, pages, tmp_path):
    folder, address = pages["table"]
    shutil.move(folder / "web" / "ort", tmp_path / "ort")
    page = browser.new_page()
    try:
        page.goto(address)
        page.wait_for_selector("#state.failed")
        assert "Run npm install in the folder of this page" in page.locator("#state").inner_text()
    finally:
        page.close()
        shutil.move(tmp_path / "ort", folder / "web" / "ort")


@pytest.mark.slow
def test_every_input_has_a_name_and_nothing_runs_over_the_edge(visit):
    """What people who do not see the page or have a small screen need of it."""
    for name in ("digits", "table", "words"):
        page, _, _ = visit(name)
        page.set_viewport_size({"width": 360, "height": 700})
        nameless = page.evaluate(
            """() => Array.from(document.querySelectorAll('input, textarea, canvas, button, meter'))
              .filter((each) => !each.closest('[hidden]'))
              .filter((each) => !(each.labels?.length || each.getAttribute('aria-label') || each.textContent.trim()))
              .map((each) => each.outerHTML)"""
        )
        assert not nameless
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("document.querySelectorAll('h1').length") == 1
