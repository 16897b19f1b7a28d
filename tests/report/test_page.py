import base64
import itertools
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kerasdl.report import write_report
from kerasdl.report.class_arms import class_arms_table
from kerasdl.report.evidence import gather
from kerasdl.report.figures.style import is_log_spaced, label
from kerasdl.report.references import compare_references, find_references
from kerasdl.report.tables import ranking_table, reference_table
from kerasdl.runs import Run

MakeRun = Callable[..., Run]
HOSTILE = '<script>alert("x")</script>$\\frac{'


def grid(**space: Sequence[Any]) -> list[dict[str, Any]]:
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


class Reader(HTMLParser):
    """Notes every tag with its attributes, and the text outside of style sheets."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.tags if name == tag)


def read(run: Run) -> Reader:
    return Reader(write_report(run).read_text(encoding="utf-8"))


def check(run: Run, figures: set[str]) -> Reader:
    page = read(run)
    assert not list(page.all("script"))
    assert not list(page.all("link"))
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/svg+xml;base64,"))
    for image in page.all("img"):
        assert len(image["alt"] or "") > 20
        content = base64.b64decode((image["src"] or "").split(",")[1])
        assert b"<svg" in content and b"<script" not in content
        assert b"mathdefault" not in content
    files = {path.stem: path for path in (run.path / "figures").glob("*.png")}
    assert set(files) == figures
    assert len(list(page.all("img"))) == len(figures)
    for path in files.values():
        assert path.stat().st_size > 4000
        assert path.read_bytes().startswith(b"\x89PNG")
    assert next(page.all("html"))["lang"] == "en"
    tables = len(list(page.all("table")))
    assert tables == len(list(page.all("caption"))) and tables
    assert all("scope" in attributes for attributes in page.all("th"))
    assert "nan" not in re.findall(r"\w+", page.text.lower())
    return page


def test_a_three_way_grid_has_every_figure(make_run: MakeRun) -> None:
    run = make_run(
        grid(depth=[1, 2], width=[16, 64], batch_norm=[False, True]), classes=[f"Country {i}" for i in range(44)]
    )
    names = {"ranking", "setting-1", "setting-2", "setting-3", "heatmap", "curves", "confusion", "classes"}
    page = check(run, names)
    for words in (
        "A made-up study",
        "CC0",
        "0" * 64,
        "nothing here is real",
        "alone: nothing to share",
        "8 configurations",
    ):
        assert words in page.text
    assert "averaged over" in page.text
    assert (run.path / "study.toml").read_text() in page.text


def test_a_sweep_on_a_log_scale(make_run: MakeRun) -> None:
    run = make_run(
        grid(learning_rate=[1e-5, 1e-3, 0.1, 1.0]),
        lambda settings, *_: None if settings["learning_rate"] == 1 else 0.8,
        classes=[str(digit) for digit in range(10)],
    )
    page = check(run, {"ranking", "setting-1", "curves", "confusion", "classes"})
    assert "3 (3 diverged)" in page.text
    assert "0.00001" in page.text


def test_a_logarithmic_axis_has_plain_numbers(make_run: MakeRun) -> None:
    run = make_run(grid(width=[4, 8]), losses=lambda epoch, epochs, final: 200 * 0.2**epoch)
    check(run, {"ranking", "setting-1", "curves", "confusion", "classes"})


def test_one_repeat_says_so(make_run: MakeRun) -> None:
    run = make_run(grid(width=[4, 8], kind=["relu", "tanh"]), repeats=1)
    page = check(run, {"ranking", "setting-1", "setting-2", "heatmap", "curves", "confusion", "classes"})
    assert "one repeat: no spread known" in page.text
    assert "Nothing is sure yet." in page.text


def test_folds_say_that_their_intervals_are_widened(make_run: MakeRun) -> None:
    settings = grid(depth=[1, 2])
    plain, folded = make_run(settings, repeats=5), make_run(settings, repeats=5, study={"folds": 5})
    notes = [ranking_table(gather(run)).note for run in (plain, folded)]
    assert ["Nadeau and Bengio" in note for note in notes] == [False, True]
    widths = [run.table()["high"] - run.table()["low"] for run in (plain, folded)]
    assert (widths[1] / widths[0]).round(9).tolist() == [1.5, 1.5]


def test_a_few_configurations_are_compared_class_by_class(make_run: MakeRun) -> None:
    table = class_arms_table(gather(make_run(grid(depth=[1, 2, 3]))))
    assert table is not None
    assert [row[0] for row in table.rows] == ["no", "yes", "all rows", "parameters", "seconds of a trial"]
    assert len(table.head) == 4
    confusion = make_run(grid(depth=[1, 2])).confusion(0)
    assert table.rows[0][1].endswith("%") and confusion.any()
    assert class_arms_table(gather(make_run(grid(depth=[*range(7)])))) is None


def test_all_diverged(make_run: MakeRun) -> None:
    page = check(make_run(grid(learning_rate=[10.0, 100.0]), lambda *_: None), {"curves"})
    assert "all 6 trials diverged" in page.text


def test_an_unfinished_run_says_so_on_top(make_run: MakeRun) -> None:
    page = check(
        make_run(grid(width=[4, 8, 16]), unfinished=4), {"ranking", "setting-1", "curves", "confusion", "classes"}
    )
    assert page.text.index("Unfinished.") < page.text.index("The answer")
    assert "5 of 9 trials have ended" in page.text


def test_nothing_has_ended_yet(make_run: MakeRun) -> None:
    page = check(make_run(grid(width=[4, 8]), unfinished=6), set())
    assert "no trial completed yet" in page.text


def test_hostile_strings_stay_text(make_run: MakeRun) -> None:
    rows = [{"source": HOSTILE, "n": 1, "val_accuracy": 0.8}]
    run = make_run(
        grid(**{"kind <b>": [HOSTILE, "汉字 \u202e", "_under"], "n": [1, 2]}),
        classes=[HOSTILE, "汉字", "_x"],
        study={
            "title": HOSTILE,
            "question": '"><img src=x onerror=alert(1)> https://evil.example/x.js',
            "reference": {"title": HOSTILE, "note": HOSTILE, "rows": rows},
        },
        repeats=2,
    )
    page = check(run, {"ranking", "setting-1", "setting-2", "heatmap", "curves", "confusion", "classes"})
    assert HOSTILE in page.text
    assert "onerror=alert(1)" in page.text
    assert "\u202e" not in page.text


def test_many_configurations_are_cut(make_run: MakeRun) -> None:
    table = ranking_table(gather(make_run(grid(width=list(range(1, 36))), repeats=1, epochs=1)))
    assert len(table.rows) == 30
    assert "5 more configurations ranked below" in table.note


def test_figures_that_are_no_longer_drawn_are_removed_and_others_stay(make_run: MakeRun) -> None:
    run = make_run([{"width": 4}], repeats=2, epochs=1)
    folder = run.path / "figures"
    folder.mkdir()
    for name in ("setting-9.png", "heatmap.png", "mine.png"):
        (folder / name).write_bytes(b"old")
    first = write_report(run).read_bytes()
    assert {path.name for path in folder.iterdir()} == {
        "curves.png",
        "confusion.png",
        "classes.png",
        "mine.png",
    }
    assert write_report(run).read_bytes() == first


def test_references_match_on_the_settings_that_both_know(make_run: MakeRun) -> None:
    rows: list[dict[str, Any]] = [
        {"source": "a", "width": 4, "batch_norm": "yes", "val_accuracy": 0.9, "year": 1999},
        {"source": "b", "width": 4.0, "train_accuracy": 0.8},
        {"source": "c", "width": 5, "test_accuracy": 0.8},
    ]
    run = make_run(
        grid(width=[4, 8], batch_norm=[False, True]),
        lambda settings, seed, _: 0.8 + 0.01 * seed + 0.05 * settings["batch_norm"],
        study={"reference": {"rows": rows}},
    )
    exact, averaged, missing = compare_references(gather(run))
    assert exact.ours == pytest.approx(0.86) and exact.configurations == 1
    assert exact.difference == pytest.approx(-0.04)
    assert exact.inside is False and exact.inside_single is True
    assert averaged.configurations == 2 and averaged.ours == pytest.approx(0.835)
    assert missing.configurations == 0 and "width is 4, 8 here" in missing.note
    table = reference_table(gather(run))
    assert table is not None
    assert "no match: width is 4, 8 here" in table.rows[2][-1]


def test_published_figures_that_cannot_be_one_more_run_are_counted_and_the_farthest_named(make_run: MakeRun) -> None:
    theirs = {1: 0.812, 2: 0.80, 3: 0.98, 4: 0.70}
    rows: list[dict[str, Any]] = [{"depth": depth, "val_accuracy": value} for depth, value in theirs.items()]
    rows.append({"depth": 4, "val_accuracy": 0.1, "note": "trained for a day"})
    run = make_run(
        grid(depth=[1, 2, 3, 4]),
        lambda settings, seed, _: 0.8 + 0.01 * seed + 0.02 * settings["depth"],
        study={"reference": {"rows": rows}},
    )
    (finding,) = find_references(gather(run))
    # One more run lies within 4.303 · 0.01 · √(4/3) = 4.97 points of each mean: 0.83, 0.85, 0.87, 0.89.
    assert finding.sentence.startswith(
        "Of 4 published figures of validation accuracy 1 could be one more run of ours; we disagree on 3, most on "
        "depth 4: ours 89.00\u00a0% (84.03\u00a0% to 93.97\u00a0% for one run), theirs 70.00\u00a0%."
    )
    # Ours rise with depth; of theirs 0.812 < 0.98 alone does, and 0.80 < 0.98.
    assert (finding.numbers["pairs"], finding.numbers["same_order"]) == (6, 2)


def test_figures_of_another_data_set_are_compared_by_their_order_alone(make_run: MakeRun) -> None:
    rows: list[dict[str, Any]] = [{"depth": depth, "val_accuracy": value} for depth, value in ((1, 0.3), (2, 0.4))]
    run = make_run(
        grid(depth=[1, 2]),
        lambda settings, *_: 0.8 + 0.02 * settings["depth"],
        study={"reference": {"rows": rows, "data": "cifar10"}},
    )
    (finding,) = find_references(gather(run))
    assert finding.sentence == "Ours are in the same order in 1 of 1 pair of published figures of validation accuracy."
    table = reference_table(gather(run))
    assert table is not None
    assert "could be one run" not in table.head and len(table.head) == len(table.rows[0]) == len(table.numeric)
    same = make_run(grid(depth=[1, 2]), study={"reference": {"rows": rows, "data": "made-up?rows=3"}})
    assert "could be one more run" in next(find_references(gather(same))).sentence


def test_labels_are_drawable() -> None:
    assert label("a\nb\t汉$", 10) == "a b □$"
    assert len(label("x" * 100, 20)) == 20
    assert is_log_spaced([1e-5, 1e-3, 0.1]) and is_log_spaced([1, 16, 128, 1024])
    assert not is_log_spaced([10, 20, 30]) and not is_log_spaced([0, 1, 2])


def run_command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "error"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_writes_the_page_without_keras(make_run: MakeRun) -> None:
    path = make_run([{"width": 4}], repeats=2, epochs=2).path
    code = (
        "import sys; sys.argv = ['report', sys.argv[1]]\n"
        "import kerasdl.report.__main__ as command\n"
        "try: command.main()\n"
        "finally: assert not {'keras', 'torch', 'jax', 'tensorflow', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    ended = run_command("-c", code, str(path))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.strip() == str(path / "report.html")


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    ended = run_command("-m", "kerasdl.report", str(tmp_path / "nowhere"))
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1 and "nowhere" in ended.stderr


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['report', '--help']\n"
        "import kerasdl.report.__main__ as command\n"
        "try: command.main()\n"
        "except SystemExit: pass\n"
        "assert not {'keras', 'pandas', 'matplotlib', 'scipy', 'numpy'} & set(sys.modules)"
    )
    ended = run_command("-c", code)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "RUN" in ended.stdout


def test_a_failed_trial_is_shown_with_its_message(make_run: MakeRun) -> None:
    run = make_run(grid(width=[4, 8]), epochs=1)
    with sqlite3.connect(run.path / "run.sqlite") as connection:
        connection.execute(
            "UPDATE trial SET status = 'failed', score = NULL, message = 'out of <memory>' WHERE trial = 4"
        )
    connection.close()
    page = check(run, {"ranking", "setting-1", "curves", "confusion", "classes"})
    assert "out of <memory>" in page.text
    assert "3 (1 failed)" in page.text
    assert "1 of 6 trials failed" in page.text
