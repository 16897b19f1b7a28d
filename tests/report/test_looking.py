"""Single rows and masks on the page: made-up answers, so that what must be shown is known."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasdl.report import find, write_report
from kerasdl.report.evidence import gather
from kerasdl.report.figures.images import limits, pixels
from kerasdl.report.figures.overlaps import draw_image_scores, draw_overlays
from kerasdl.report.figures.overlaps import errors as errors_of
from kerasdl.report.figures.rows import draw_augmented, draw_confused, draw_disagreements
from kerasdl.report.looking import confused_rows_table, disagreement_table, overlap_table
from kerasdl.report.statistics import bootstrap_interval
from kerasdl.runs import Run, RunWriter
from kerasdl.runs import answers as named
from kerasdl.runs import samples as shown

MakeRun = Callable[..., Run]
CLASSES = ["ant", "bee", '<script>alert("x")</script>$']
ROWS = 50
NEW = {"disagreements", "confused", "overlaps", "overlays", "augmented"}


def rewritten(run: Run, write: Callable[[RunWriter], None], **facts: Any) -> Run:
    """Writes more into a run and opens it again."""
    known = {**run.data, **facts}
    run.close()
    with RunWriter(run.path, (run.path / "study.toml").read_text(encoding="utf-8")) as writer:
        writer.record_fact("data", known)
        write(writer)
    return Run.open(run.path)


def with_answers(run: Run, shape: tuple[int, ...], *, kept: bool = True, **facts: Any) -> Run:
    """Answers at random, better in the trials of better configurations, and keeps all rows."""
    trials, random = run.trials(), np.random.default_rng(0)
    truth = random.integers(0, 3, ROWS)

    def write(writer: RunWriter) -> None:
        writer.record_array(named.TRUTH, truth.astype("uint8"))
        for one in trials.to_dict("records"):
            said = np.where(random.random(ROWS) < one["score"], truth, random.integers(0, 3, ROWS))
            writer.record_array(named.name(one["trial"], "predicted"), said.astype("uint8"))
            writer.record_array(named.name(one["trial"], "probability"), random.random(ROWS).astype("float32"))
        if kept:
            writer.record_array(shown.ROWS, np.arange(ROWS))
            raw = random.integers(0, 256, (ROWS, *shape))
            writer.record_array(shown.RAW, raw.astype("uint8" if len(shape) > 1 else "float32"))

    return rewritten(run, write, input_shape=list(shape), **facts)


def by_depth(settings: dict[str, Any], seed: int, generator: Any) -> float:
    return {1: 0.3, 2: 0.6, 3: 0.9}[settings["depth"]] + 0.01 * seed


@pytest.fixture
def made(make_run: MakeRun) -> Run:
    """A made-up run whose third configuration is the best and whose first is the worst."""
    return make_run([{"depth": depth} for depth in (1, 2, 3)], by_depth, classes=CLASSES)


@pytest.fixture
def images(made: Run) -> Iterator[Run]:
    """The made-up run, of images in colour."""
    with with_answers(made, (9, 7, 3), features=[]) as run:
        yield run


def figures(run: Run) -> set[str]:
    write_report(run)
    return {path.stem for path in (run.path / "figures").glob("*.png")} & NEW


def text(run: Run) -> str:
    return re.sub(r'src="[^"]*"', "", (run.path / "report.html").read_text(encoding="utf-8"))


def test_images_that_the_best_gets_right_and_the_worst_wrong_are_shown(images: Run) -> None:
    assert figures(images) == {"disagreements", "confused"}
    evidence = gather(images)
    rows = images.disagreements(best=2, worst=0, n=None)
    table = disagreement_table(evidence)
    assert table is not None and len(rows) > 8
    assert [line[0] for line in table.rows] == [str(row) for row in rows["row"].head(8)]
    picture = draw_disagreements(evidence)
    assert picture is not None and all(f"row {row}," in picture.alt for row in rows["row"].head(8))
    titles = [axes.get_title(loc="left") for axes in picture.figure.axes]
    assert [title.split(":")[0] for title in titles] == [f"row {row}" for row in rows["row"].head(8)]
    page = text(images)
    assert "What the best gets right and the worst wrong" in page and "<script" not in page
    (finding,) = [one for one in find(images) if one.kind == "disagreement"]
    assert finding.sure
    assert f"Of {ROWS} test rows the best (depth 3) gets {len(rows)} right that the worst (depth 1)" in finding.sentence
    assert f"and {len(images.disagreements(best=0, worst=2, n=None))} the other way round" in finding.sentence


@pytest.mark.parametrize("shape", [(9, 7, 1), (9, 7, 3), (9, 7), (9, 7, 4)], ids=str)
def test_images_of_any_form_are_drawn_a_line_for_each_confused_pair(made: Run, shape: tuple[int, ...]) -> None:
    with with_answers(made, shape, features=[]) as run:
        evidence = gather(run)
        picture, found = draw_confused(evidence), run.confused(6)
        assert picture is not None and draw_disagreements(evidence) is not None
        titles = [axes.get_title(loc="left") for axes in picture.figure.axes]
        expected = [row for rows in found["rows"] for row in rows[:4]]
        assert [int(title.split()[1].rstrip(",")) for title in titles if title] == expected
        drawn = [np.asarray(axes.images[0].get_array()).shape for axes in picture.figure.axes if axes.images]
        assert set(drawn) == {(9, 7, 3) if shape == (9, 7, 3) else (9, 7)}


def test_rows_of_a_table_are_shown_with_their_features(made: Run) -> None:
    names = [f"feature {number}" for number in range(12)]
    with with_answers(made, (12,), features=names) as run:
        assert figures(run) == set()
        evidence, samples = gather(run), run.samples().rows
        for table, cells in ((disagreement_table(evidence), 7), (confused_rows_table(evidence), 4)):
            assert table is not None and table.head[cells:] == names[:10] and "The first 10 of 12" in table.note
            for line in table.rows:
                assert [float(cell.replace(",", "")) for cell in line[cells:]] == samples[int(line[0])][:10].tolist()
        assert "feature 9" in text(run) and "feature 11</th>" not in text(run)


@pytest.mark.parametrize(("shape", "features"), [((12,), []), ((4, 5, 2, 3), [])])
def test_nothing_is_shown_of_rows_that_cannot_be(made: Run, shape: tuple[int, ...], features: list[str]) -> None:
    with with_answers(made, shape, features=features) as run:
        assert figures(run) == set()
        assert not re.search(r'id="(confused|disagreements|segmentation|augmented)"', text(run))
        assert not [one for one in find(run) if one.kind in ("disagreement", "segmentation")]


def test_a_run_of_an_earlier_version_has_the_page_that_it_had(made: Run) -> None:
    assert figures(made) == set()
    assert not re.search(r'id="(confused|disagreements|segmentation|augmented)"', text(made))


def test_rows_without_their_images_are_a_table_until_the_run_ends(made: Run) -> None:
    with with_answers(made, (9, 7, 1), kept=False, features=[]) as run:
        assert figures(run) == set()
        assert "What the best gets right and the worst wrong" in text(run)


def test_pixels_are_drawn_from_black_to_white_of_the_data(images: Run) -> None:
    ends = limits(images, images.samples().rows.values())
    known = list(images.samples().rows.values())
    assert ends == (min(image.min() for image in known), max(image.max() for image in known))
    scaling = {"offset": [[[0.0]]], "scale": [[[16.0]]]}
    with rewritten(images, lambda writer: None, scaling=scaling) as run:
        assert limits(run, known) == (0, 16)
    drawn = pixels(np.asarray([[[0], [8]], [[16], [40]]], "uint8"), (0, 16))
    assert drawn.tolist() == [[0, 0.5], [1, 1]]


def test_what_the_model_sees_stands_below_what_is(images: Run) -> None:
    shape = (8, *images.data["input_shape"])
    assert draw_augmented(gather(images)) is None
    originals = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")

    def write(writer: RunWriter) -> None:
        writer.record_array(shown.ORIGINALS, originals)
        writer.record_array(shown.AUGMENTED, originals[..., ::-1, :])

    with rewritten(images, write) as run:
        assert figures(run) == {"disagreements", "confused", "augmented"} and 'id="augmented"' in text(run)
        picture = draw_augmented(gather(run))
        assert picture is not None and len(picture.figure.axes) == 16
        above, below = (np.asarray(picture.figure.axes[place].images[0].get_array()) for place in (0, 8))
        assert np.array_equal(above[:, ::-1], below)


def with_masks(run: Run, classes: list[str], images: int = 9) -> Run:
    trials, random = run.trials(), np.random.default_rng(0)
    masks = random.integers(0, len(classes), (images, 12, 10)).astype("uint8")

    def write(writer: RunWriter) -> None:
        for one in trials.to_dict("records"):
            # The later an image the more of it is wrong.
            wrong = random.random(masks.shape) < np.linspace(0.02, 0.9, images)[:, None, None]
            found = np.where(wrong, random.integers(0, len(classes), masks.shape), masks)
            counts = [
                [((masks == c) & (found == c)).sum(axis=(1, 2)), ((masks == c) * 1 + (found == c)).sum(axis=(1, 2))]
                for c in range(len(classes))
            ]
            overlap = np.asarray(counts).transpose(2, 0, 1).astype("uint32")
            writer.record_array(named.name(one["trial"], "overlap"), overlap)
        places = list(dict.fromkeys([0, images // 2, images - 1]))
        for name, content in (
            (shown.ROWS, np.asarray(places)),
            (shown.RAW, random.integers(0, 256, (len(places), 12, 10, 1)).astype("uint8")),
            (shown.MASKED, np.asarray(places)),
            (shown.MASKS, masks[places]),
            (shown.PREDICTED, masks[places][::-1].copy()),
        ):
            writer.record_array(name, content)

    facts = {"task": "segmentation", "classes": classes, "features": [], "input_shape": [12, 10, 1]}
    return rewritten(run, write, **facts)


@pytest.mark.parametrize("classes", [["background", "cyst", "tumour"], [f"c{i}" for i in range(20)]])
def test_masks_have_their_section(made: Run, classes: list[str]) -> None:
    with with_masks(made, classes) as run:
        assert figures(run) == {"overlaps", "overlays"}
        evidence, images = gather(run), run.image_scores()
        table = overlap_table(evidence)
        assert table is not None and [line[0] for line in table.rows] == [*classes, "mean of classes"]
        for line, name in zip(table.rows, classes, strict=False):
            own = images.groupby("row")[f"dice_{name}"].mean()
            low, high = bootstrap_interval(own.to_numpy())
            whole = run.class_scores().groupby("class")["dice"].mean()[name]
            assert line[1] == f"{whole:.3f}" and line[4] == f"{own.mean():.3f}"
            assert line[5] == f"{low:.3f} to {high:.3f}"
            assert low < own.mean() < high
        (finding,) = [one for one in find(run) if one.kind == "segmentation"]
        assert finding.sure and finding.numbers["worst_image"] == 8 and finding.numbers["best_image"] == 0
        picture = draw_overlays(evidence)
        assert picture is not None and len(picture.figure.axes) == 12
        assert "best, image 0" in picture.alt and "median, image 4" in picture.alt and "worst, image 8" in picture.alt
        labels = [words.get_text() for legend in picture.figure.legends for words in legend.get_texts()]
        assert labels[: len(classes) - (classes[0] == "background")] == [n for n in classes if n != "background"]
        assert 'id="disagreements"' not in text(run)


@pytest.mark.parametrize("images", [1, 2])
def test_few_test_images_are_shown_as_far_as_they_go(made: Run, images: int) -> None:
    with with_masks(made, ["left", "middle", "right"], images) as run:
        evidence = gather(run)
        assert (draw_image_scores(evidence) is None) == (images == 1)
        picture, table = draw_overlays(evidence), overlap_table(evidence)
        assert picture is not None and len(picture.figure.axes) == 4 * images
        assert table is not None and (table.rows[-1][5] == "unknown") == (images == 1)
        assert len([one for one in find(run) if one.kind == "segmentation"]) == 1


def test_errors_are_what_was_missed_what_is_not_there_and_what_is_another_class() -> None:
    truth, predicted = np.array([[0, 0, 1, 1, 1, 9]]), np.array([[0, 2, 0, 1, 2, 1]])
    assert errors_of(truth, predicted, 0, 3).tolist() == [[0, 2, 1, 0, 3, 0]]
    assert errors_of(truth, predicted, None, 3).tolist() == [[0, 3, 3, 0, 3, 0]]


def test_bootstrap_intervals_hold_the_mean_as_often_as_they_say() -> None:
    random = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        values = random.exponential(size=60)
        low, high = bootstrap_interval(values, resamples=400)
        held += low <= 1 <= high
    assert 0.88 < held / 200 < 0.99
    assert all(np.isnan(bootstrap_interval([0.5])))
    assert bootstrap_interval([0.1, 0.5, 0.9]) == bootstrap_interval([0.1, 0.5, 0.9])


def test_figures_of_an_earlier_report_go(images: Run, tmp_path: Path) -> None:
    assert "disagreements" in figures(images)
    (images.path / "figures" / "mine.png").write_bytes(b"mine")

    def write(writer: RunWriter) -> None:
        writer.drop_answers(range(9))

    with rewritten(images, write) as run:
        assert figures(run) == set()
        assert (run.path / "figures" / "mine.png").read_bytes() == b"mine"
