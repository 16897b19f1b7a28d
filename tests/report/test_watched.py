"""What was watched while trials trained, on the page: figures made up so that the right answer is known."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from markupsafe import escape

from kerasdl.report import write_report
from kerasdl.report.answer import answer
from kerasdl.report.arms import arms_answer, arms_tables, find_arms, pairs
from kerasdl.report.evidence import gather
from kerasdl.report.figures.arms import draw_arms
from kerasdl.report.figures.gradients import draw_gradient_epochs, draw_gradients
from kerasdl.report.figures.regions import draw_regions
from kerasdl.report.findings import find_all
from kerasdl.report.gradients import courses, find_gradients, gradient_table
from kerasdl.runs import Run, RunWriter

MakeRun = Callable[..., Run]


def add(run: Run, write: Callable[[RunWriter, Any], None]) -> Run:
    """Writes more into a run, for each of its trials, and opens it again."""
    trials = run.trials().to_dict("records")
    run.close()
    with RunWriter(run.path, (run.path / "study.toml").read_text(encoding="utf-8")) as writer:
        for trial in trials:
            write(writer, trial)
    return Run.open(run.path)


def gradients(share: Callable[[Any], float]) -> Callable[[RunWriter, Any], None]:
    """Writes gradients of ten layers that change from the last to the first by a share."""

    def write(writer: RunWriter, trial: Any) -> None:
        for epoch in (1, 2):
            weights = [(place, f"dense_{place // 2 + 1}", ("kernel", "bias")[place % 2]) for place in range(20)]
            rows = [
                (trial["trial"], *weight, quantity, *[value] * 5, 5, 0)
                for weight in weights
                for quantity, value in (
                    ("gradient_norm", share(trial) ** (1 - (weight[0] // 2) / 9)),
                    ("update_ratio", 1e-3),
                )
            ]
            writer.record_gradients(epoch, rows)

    return write


def test_where_gradients_vanish_and_explode_is_said_and_counted(make_run: MakeRun) -> None:
    shares = {"tanh": 1e-6, "relu": 1e5, "linear": 0.5}
    run = make_run([{"activation": name} for name in shares])
    with add(run, gradients(lambda trial: shares[trial["activation"]])) as run:
        evidence = gather(run)
        found = {evidence.scores.settings[one.index]["activation"]: one for one in courses(evidence, 1)}
        for name, share in shares.items():
            assert found[name].layers == tuple(f"dense_{number}" for number in range(1, 11))
            np.testing.assert_allclose(found[name].shares, share)
            np.testing.assert_allclose(found[name].medians, share ** (1 - np.arange(10) / 9))
        vanish, explode, _ = (one.sentence for one in find_gradients(evidence))
        assert "in 1 of 3 configurations, most of all with activation tanh (0.000001)" in vanish
        # Half of the fall in logarithms, of ten layers that each lose the same.
        assert "happens down to layer 5 of 10" in vanish
        assert "more than 1,000 times the last layer's in 1 of 3 configurations" in explode
        seen = evidence.gradients
        assert evidence.first_gradients.equals(seen[seen["epoch"] == 1].reset_index(drop=True))
        table = gradient_table(evidence)
        assert table is not None
        assert len(table.rows) == 3
        picture = draw_gradients(evidence)
        assert picture is not None
        assert len(picture.figure.axes) == 2
        page = write_report(run).read_text(encoding="utf-8")
        assert 'id="gradients"' in page
        assert str(escape(vanish)) in page


def test_the_most_different_configurations_are_drawn_by_epoch(make_run: MakeRun) -> None:
    shares = {"tanh": 1e-6, "relu": 1e5, "linear": 0.5, "elu": 20.0, "gelu": 0.0}
    run = make_run([{"activation": name} for name in shares])
    with add(run, gradients(lambda trial: shares[trial["activation"]])) as run:
        evidence = gather(run)
        picture = draw_gradient_epochs(evidence)
        assert picture is not None
        drawn = {axes.get_title().removeprefix("activation "): axes for axes in picture.figure.axes}
        best = evidence.table["activation"].iloc[0]
        assert set(drawn) == {"tanh", "relu", "linear", *({best} - {"gelu"})}
        # Of ten layers those at 0, 30, 60, 90 and 100 % of the way; 95 % is the last but one, or the last, once.
        lines = drawn["tanh"].lines
        np.testing.assert_allclose([line.get_ydata()[0] for line in lines], 1e-6 ** (1 - np.array([0, 3, 5, 8, 9]) / 9))
        assert all(list(line.get_xdata()) == [1, 2] for line in lines)
        assert 'id="gradients"' in write_report(run).read_text(encoding="utf-8")
        assert (run.path / "figures" / "gradient-epochs.png").is_file()


def test_gradients_that_keep_their_size_are_said_to(make_run: MakeRun) -> None:
    with add(make_run([{"width": 4}, {"width": 8}]), gradients(lambda trial: 0.3)) as run:
        (words,) = (one.sentence for one in find_gradients(gather(run)))
        assert words.startswith("In none of 2 configurations")


def test_gradients_that_are_zero_are_said_to_be(make_run: MakeRun) -> None:
    with add(
        make_run([{"width": 4}, {"width": 8}]), gradients(lambda trial: 0.0 if trial["width"] == 4 else 0.3)
    ) as run:
        evidence = gather(run)
        (words,) = (one.sentence for one in find_gradients(evidence))
        assert "exactly zero in the median step of every seed, such as with width 4" in words
        picture = draw_gradients(evidence)
        assert picture is not None
        named = [text.get_text() for text in picture.figure.legends[0].get_texts()]
        assert sorted(named) == ["width 4 (9 of 10 layers without a gradient)", "width 8"]


def test_what_settings_do_to_the_gradient_that_arrives_is_a_factor_with_an_interval(make_run: MakeRun) -> None:
    run = make_run([{"batch_norm": on, "width": width} for on in (False, True) for width in (4, 8)])
    with add(run, gradients(lambda trial: (2000.0 if trial["batch_norm"] else 2.0) * 1.01 ** trial["seed"])) as run:
        *_, effects = find_gradients(gather(run))
        assert (
            "batch norm on instead of off multiplies it by 1,000 (1,000 to 1,000; 2 pairs × 3 seeds)"
            in effects.sentence
        )
        assert effects.sentence.endswith("Not settled: width.")
        (effect,) = effects.numbers["effects"]
        assert effect["factor"] == pytest.approx(1000)


def measures(writer: RunWriter, trial: Any) -> None:
    on = bool(trial["batch_norm"])
    for epoch in range(4):
        own = {
            "training_loss": 1.0 + 0.25 * on,
            "inference_loss": 1.0,
            "loss_variation": 0.1 if on else 0.4 + 0.001 * trial["seed"],
            "gradient_change": 1.0,
            "effective_smoothness": float("nan") if on and trial["seed"] == 0 else 2.0,
        }
        writer.record_measures(epoch, {trial["trial"]: own})


def score(settings: dict[str, Any], seed: int, generator: np.random.Generator) -> float | None:
    """With batch normalization every rate trains and 1.0 is best, without it 0.1 is, and 1.0 diverges."""
    means = {True: {0.01: 0.85, 0.1: 0.9, 1.0: 0.93}, False: {0.01: 0.5, 0.1: 0.88, 1.0: None}}
    mean = means[settings["batch_norm"]][settings["learning_rate"]]
    return None if mean is None else mean + 0.001 * seed


@pytest.fixture
def compared(make_run: MakeRun) -> Run:
    """A run that compares arms, its best rates and differences known."""
    space = itertools.product([False, True], [0.01, 0.1, 1.0])
    run = make_run([{"batch_norm": on, "learning_rate": rate} for on, rate in space], score)
    return add(run, measures)


def test_arms_are_compared_at_their_own_best_rate_paired_by_seed(compared: Run) -> None:
    with compared as run:
        evidence = gather(run)
        (pair,) = pairs(evidence)
        assert (pair.off.rate, pair.on.rate) == (0.1, 1.0)
        # 95 % of 0.881, the weaker arm's best mean.
        assert pair.target == pytest.approx(0.95 * 0.881)
        assert pair.trains(pair.off) == [0.1]
        assert pair.trains(pair.on) == [0.01, 0.1, 1.0]
        rows = {row.name: row for row in pair.rows}
        variation = rows["loss variation along the gradient, mean over epochs"]
        assert variation.test.mean == pytest.approx(0.1 - 0.401)
        assert variation.sure
        gap = rows["loss in training mode less that in inference mode, same rows, at the end"]
        assert gap.test.mean == pytest.approx(0.25)
        # A seed without a number is left out of both sides.
        assert rows["effective smoothness, mean over epochs"].test.freedom == 1
        assert not rows["change of the gradient along itself, mean over epochs"].sure
        (table,) = arms_tables(evidence)
        shown = {row[0]: row[1:] for row in table.rows}
        assert shown["best learning rate"] == ["0.1", "1", ""]
        assert shown["learning rates that train"] == ["0.1 (1 of 3)", "0.01 to 1 (3 of 3)", ""]
        (finding,) = find_arms(evidence)
        assert "batch normalization trains at 3 of 3 learning rates, its absence at 1 of 3;" in finding.sentence
        assert finding.numbers["rates"] == {"off": [0.1], "on": [0.01, 0.1, 1.0]}
        assert find_all(evidence).count(finding) == 1
        (words,) = arms_answer(evidence)
        assert words in answer(evidence, find_all(evidence))
        picture = draw_arms(evidence)
        assert picture is not None
        assert len(picture.figure.axes) == 4
        assert 'id="arms"' in write_report(run).read_text(encoding="utf-8")


def test_arms_at_several_batch_sizes_are_corrected_for_their_number(make_run: MakeRun) -> None:
    """Holm by hand: of two p-values the smaller counts twice, the larger at least as much."""
    gains = {16: (0.05, 0.051, 0.052), 128: (0.02, 0.0, 0.04)}

    def scored(settings: dict[str, Any], seed: int, generator: np.random.Generator) -> float:
        return 0.6 + settings["batch_norm"] * gains[settings["batch_size"]][seed]

    space = itertools.product([False, True], [16, 128], [0.01, 0.1])
    run = make_run([{"batch_norm": on, "batch_size": size, "learning_rate": rate} for on, size, rate in space], scored)
    first, second = (
        next(row for row in pair.rows if row.kind == "objective")
        for pair in sorted(pairs(gather(run)), key=lambda one: one.rest["batch_size"])
    )
    assert first.p_adjusted == pytest.approx(2 * first.test.p)
    assert second.p_adjusted == pytest.approx(max(second.test.p, first.p_adjusted))
    assert (first.sure, second.sure) == (True, False)
    # The interval that goes with the decision: t with two degrees of freedom at 0.05 / 2.
    assert first.test.interval(first.alpha)[1] - first.test.mean == pytest.approx(6.205 * first.test.error, rel=1e-3)


def test_regions_stand_in_a_grid_of_two_settings(make_run: MakeRun) -> None:
    run = make_run([{"depth": depth, "width": width} for depth in (1, 2) for width in (2, 3, 4)])
    plane = np.linspace(0, 1, 16).reshape(4, 4).astype("float16")

    def write(writer: RunWriter, trial: Any) -> None:
        writer.record_array("regions/ends", np.array([[-1, -2], [1, 2]], "float32"))
        writer.record_array("regions/rows", np.array([[0, 0, 0], [0.5, 1, 1]], "float32"))
        writer.record_array(f"regions/{trial['configuration']}", plane)

    with add(run, write) as run:
        picture = draw_regions(gather(run))
        assert picture is not None
        *panels, bar = picture.figure.axes
        assert len(panels) == 6
        assert bar.get_ylabel() == "probability of yes"
        np.testing.assert_allclose(np.asarray(panels[0].images[0].get_array()), plane.astype(float))
        assert panels[0].images[0].get_extent() == [-1, 1, -2, 2]


def test_nothing_is_shown_of_what_was_not_watched(make_run: MakeRun) -> None:
    with make_run([{"width": 4}, {"width": 8}]) as run:
        evidence = gather(run)
        assert (gradient_table(evidence), list(find_gradients(evidence))) == (None, [])
        assert (arms_tables(evidence), list(find_arms(evidence)), arms_answer(evidence)) == ([], [], [])
        assert (
            draw_gradient_epochs(evidence)
            is draw_gradients(evidence)
            is draw_arms(evidence)
            is draw_regions(evidence)
            is None
        )
