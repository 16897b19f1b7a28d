import itertools
import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasdl.report import Finding, find
from kerasdl.report.answer import answer
from kerasdl.report.evidence import gather
from kerasdl.report.findings import find_all
from kerasdl.runs import Run

MakeRun = Callable[..., Run]
Settings = dict[str, Any]


def grid(**space: Sequence[Any]) -> list[dict[str, Any]]:
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


def of_kind(run: Run, kind: str) -> list[Finding]:
    return [finding for finding in find(run) if finding.kind == kind]


def answered(run: Run) -> list[str]:
    evidence = gather(run)
    return answer(evidence, find_all(evidence))


def sure_pairs(run: Run) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in of_kind(run, "setting"):
        if finding.sure:
            found.setdefault(finding.numbers["setting"], []).append(finding)
    return found


def planted(settings: Settings, seed: int, random: np.random.Generator) -> float:
    shared = [0.0, 0.05, -0.04][seed % 3]
    return 0.7 + 0.05 * (settings["width"] == 64) + shared + float(random.normal(0, 0.004))


def test_a_planted_effect_is_found_although_seeds_differ_more(make_run: MakeRun) -> None:
    run = make_run(grid(depth=[1, 2, 3], width=[16, 64], batch_norm=[False, True]), planted)
    found = sure_pairs(run)
    assert set(found) == {"width"}
    (finding,) = found["width"]
    assert finding.sentence.startswith("Width 64 is better than 16: +")
    assert "points of validation accuracy" in finding.sentence
    assert finding.numbers["low"] < 0.05 < finding.numbers["high"]
    assert (finding.numbers["cells"], finding.numbers["units"]) == (6, 3)


def test_the_seed_is_the_unit_not_the_pair(make_run: MakeRun) -> None:
    def by_seed(settings: Settings, seed: int, random: np.random.Generator) -> float:
        return 0.7 + [0.02, -0.015, 0.025][seed] * (settings["a"] == 1) + float(random.normal(0, 1e-4))

    run = make_run(grid(a=[0, 1], b=list("pqrstuvw")), by_seed)
    (finding,) = [finding for finding in of_kind(run, "setting") if finding.numbers["setting"] == "a"]
    assert not finding.sure


def test_less_is_better_where_the_objective_is_a_loss(make_run: MakeRun) -> None:
    def loss(settings: Settings, seed: int, random: np.random.Generator) -> float:
        return 0.5 + 0.1 * (settings["optimizer"] == "sgd") + float(random.normal(0, 0.003))

    run = make_run(
        grid(optimizer=["sgd", "adam"], width=[4, 8]), loss, objective="val_loss", direction="min", repeats=4
    )
    (finding,) = sure_pairs(run)["optimizer"]
    assert finding.sentence.startswith("Optimizer adam is better than sgd: \u2212")
    assert "points" not in finding.sentence
    assert answered(run)[0].startswith("Optimizer adam")


@pytest.mark.slow
def test_without_effects_hardly_anything_is_sure(make_run: MakeRun) -> None:
    run = make_run(grid(depth=[1, 2, 3], width=[16, 64], batch_norm=[False, True]), epochs=2)
    random, runs = np.random.default_rng(11), 200
    trials = len(run.trials())
    counts: Counter[str] = Counter()
    for _ in range(runs):
        seeds = np.tile(random.normal(0, 0.02, 3), trials // 3)
        scores = 0.8 + seeds + random.normal(0, 0.01, trials)
        set_scores(run.path, scores)
        with Run.open(run.path) as again:
            kinds = {finding.kind for finding in find(again) if finding.sure}
        counts.update({"settings": bool(kinds & {"setting", "trend", "interaction"})})
        counts.update({"winner": bool(kinds & {"winner", "runner-up"})})
    # Binomial(200, 0.05) exceeds 19 in fewer than 1 of 200 cases.
    assert counts["settings"] <= 19
    assert counts["winner"] <= 19


def set_scores(path: Path, scores: np.ndarray) -> None:
    with sqlite3.connect(path / "run.sqlite") as connection:
        rows = [(float(score), trial) for trial, score in enumerate(scores)]
        connection.executemany("UPDATE trial SET score = ? WHERE trial = ?", rows)
        connection.execute("UPDATE epoch SET metrics = json_set(metrics, '$.val_accuracy', 0.8)")
    connection.close()


def test_the_set_that_holds_the_best_misses_it_seldom(make_run: MakeRun) -> None:
    run = make_run(grid(width=[1, 2, 3, 4, 5, 6]), epochs=1)
    random, missed = np.random.default_rng(12), 0
    truth = np.asarray([0.80, 0.80, 0.79, 0.805, 0.75, 0.7])
    for _ in range(100):
        set_scores(run.path, (truth[:, None] + random.normal(0, 0.006, (6, 3))).ravel())
        with Run.open(run.path) as again:
            evidence = gather(again)
            assert evidence.standing is not None
            missed += 3 not in {evidence.standing.winner, *evidence.standing.tied}
    # Binomial(100, 0.05) exceeds 12 in fewer than 1 of 500 cases.
    assert missed <= 12


def test_a_clear_winner_is_separated(make_run: MakeRun) -> None:
    def score(settings: Settings, seed: int, random: np.random.Generator) -> float:
        return 0.5 + 0.1 * settings["depth"] + float(random.normal(0, 0.002))

    run = make_run(grid(depth=[1, 2, 3]), score)
    (winner,) = of_kind(run, "winner")
    (runner_up,) = of_kind(run, "runner-up")
    assert winner.sure and runner_up.sure
    assert "separated" in runner_up.sentence
    assert winner.numbers["tied"] == []


def test_an_effect_that_turns_around_is_found(make_run: MakeRun) -> None:
    def score(settings: Settings, seed: int, random: np.random.Generator) -> float:
        helps = 0.04 if settings["depth"] == 10 else -0.03
        return 0.8 + helps * settings["batch_norm"] + float(random.normal(0, 0.002))

    run = make_run(grid(depth=[1, 10], batch_norm=[False, True], width=[4, 8]), score, repeats=4)
    (finding,) = of_kind(run, "interaction")
    assert finding.sure
    by_level = {effect["level"]: effect["difference"] for effect in finding.numbers["effects"]}
    assert set(by_level) in ({1, 10}, {False, True})


def test_a_trend_over_many_values_is_found(make_run: MakeRun) -> None:
    def score(settings: Settings, seed: int, random: np.random.Generator) -> float:
        return 0.9 + 0.02 * math.log10(settings["learning_rate"]) + float(random.normal(0, 0.002))

    run = make_run(grid(learning_rate=[1e-5, 1e-4, 1e-3, 1e-2, 1e-1]), score)
    (trend,) = of_kind(run, "trend")
    assert trend.sure and trend.numbers["correlation"] > 0.9
    assert trend.sentence.startswith("Validation accuracy rises with learning rate")
    (pair,) = of_kind(run, "setting")
    assert (pair.numbers["first"], pair.numbers["second"]) == (1e-5, 1e-1)


def draws(count: int) -> list[Settings]:
    random = np.random.default_rng(7)
    return [
        {"learning_rate": float(10 ** random.uniform(-5, -1)), "optimizer": str(random.choice(["adam", "sgd"]))}
        for _ in range(count)
    ]


def test_a_random_search_is_judged_over_its_configurations(make_run: MakeRun) -> None:
    def score(settings: Settings, seed: int, random: np.random.Generator) -> float:
        return 0.9 - 0.05 * abs(math.log10(settings["learning_rate"]) + 3) + float(random.normal(0, 0.01))

    run = make_run(draws(40), score, repeats=2, epochs=2)
    (middle,) = sure_pairs(run)["learning_rate"]
    assert "independent configurations" in middle.sentence
    assert "optimizer" not in sure_pairs(run)


def test_a_search_that_follows_its_scores_claims_no_trend(make_run: MakeRun) -> None:
    def score(settings: Settings, seed: int, random: np.random.Generator) -> float:
        return 0.9 + 0.05 * math.log10(settings["learning_rate"])

    run = make_run(draws(20), score, repeats=2, epochs=1, study={"search": "bayesian"})
    assert not [finding for finding in find(run) if finding.kind in ("trend", "setting") and finding.sure]


def test_one_repeat_settles_nothing(make_run: MakeRun) -> None:
    run = make_run(grid(width=[4, 8], depth=[1, 2]), lambda settings, *_: 0.1 * settings["depth"], repeats=1)
    assert not [finding for finding in find(run) if finding.sure]
    assert any("no spread known" in finding.sentence for finding in find(run))
    assert "one repeat: no spread known" in answered(run)[0]


def test_divergence_is_counted_by_level(make_run: MakeRun) -> None:
    run = make_run(
        grid(learning_rate=[0.01, 0.1, 1.0]), lambda settings, *_: None if settings["learning_rate"] == 1 else 0.8
    )
    sentences = [finding.sentence for finding in of_kind(run, "divergence")]
    assert any(sentence.startswith("Learning rate 1 diverged in 3 of 3 repeats") for sentence in sentences)
    assert all(finding.sure for finding in of_kind(run, "divergence"))


def test_pairs_without_a_partner_are_left_out_and_said(make_run: MakeRun) -> None:
    def score(settings: Settings, seed: int, random: np.random.Generator) -> float | None:
        if settings == {"width": 16, "depth": 3} and seed == 1:
            return None
        return planted(settings, seed, random)

    run = make_run(grid(width=[16, 64], depth=[1, 2, 3]), score)
    (finding,) = sure_pairs(run)["width"]
    assert "2 of 3 pairs" in finding.sentence


def test_overfitting_is_located(make_run: MakeRun) -> None:
    run = make_run(grid(width=[4, 8]), epochs=20, losses=lambda epoch, epochs, score: 0.3 + 0.01 * abs(epoch - 7))
    finding = of_kind(run, "overfitting")[0]
    assert finding.sure
    assert finding.numbers["epoch"] in (6, 7, 8)
    assert "of 20" in finding.sentence


def test_a_flat_noisy_loss_is_not_overfitting(make_run: MakeRun) -> None:
    run = make_run(grid(width=[4, 8, 16, 32]), epochs=30, losses=lambda *_: 0.3)
    assert not [finding for finding in of_kind(run, "overfitting") if finding.sure]


def test_where_longer_training_stops_to_help_is_said(make_run: MakeRun) -> None:
    falling = make_run(grid(epochs=[10, 50]), epochs=50, losses=lambda epoch, *_: 2 / epoch)
    settled, loss = of_kind(falling, "length")
    curve = (1 - np.exp(-3 * np.arange(1, 51) / 50)) / (1 - np.exp(-3))
    assert settled.numbers["epoch"] == 1 + np.argmax(curve >= 0.99 * curve[-10:].mean()) == 44
    assert settled.numbers["low"] < 44 < settled.numbers["high"]
    assert loss.sure and loss.numbers["high"] < 0
    assert "Nothing shows overfitting in 50 epochs" in loss.sentence
    rising = make_run(grid(epochs=[10, 50]), epochs=50, losses=lambda epoch, *_: 0.3 + 0.01 * abs(epoch - 20))
    assert "overfitting" not in " ".join(one.sentence for one in of_kind(rising, "length"))
    assert of_kind(rising, "overfitting")[0].sure
    assert {one.sentence for one in of_kind(rising, "overfitting")} <= set(answered(rising))
    assert not of_kind(make_run(grid(width=[10, 50])), "length")


def test_a_winner_at_the_end_of_what_was_tried_is_said_to_be(make_run: MakeRun) -> None:
    run = make_run(
        grid(depth=[1, 2, 4], l2=[0.0, 0.1, 0.2], width=[4, 8], learning_rate=[0.1, 0.2, 0.4]),
        lambda settings, seed, _: (
            0.9 + 0.001 * settings["depth"] - 0.1 * settings["l2"] - abs(settings["learning_rate"] - 0.2)
        ),
    )
    (edge,) = of_kind(run, "edge")
    assert edge.sentence == "The winner's depth, 4, is the largest that was tried: larger ones may do better."
    assert not edge.sure


def test_repeats_that_stay_near_guessing_are_counted(make_run: MakeRun) -> None:
    stuck = {1: 6, 2: 2, 3: 0}
    run = make_run(
        grid(depth=[1, 2, 3]), lambda settings, seed, _: 0.55 if seed < stuck[settings["depth"]] else 0.95, repeats=6
    )
    (finding,) = of_kind(run, "shortfall")
    assert finding.numbers["short"] == 8
    assert finding.numbers["limit"] == pytest.approx((0.5 + 0.95) / 2)
    assert finding.numbers["configurations"] == {1: 2}
    assert "depth 2: 2 of 6 (10 to 70\u00a0%)" in finding.sentence
    assert finding.sentence in answered(run)
    assert not of_kind(make_run(grid(depth=[1, 2]), repeats=6), "shortfall")


def test_of_few_classes_those_that_are_confused_are_named(make_run: MakeRun) -> None:
    run = make_run(grid(width=[4]), classes=["cat", "dog", "fox"])
    (finding,) = of_kind(run, "confusion")
    counts = run.confusion(0)
    np.fill_diagonal(counts, 0)
    assert counts.any()
    truth, predicted = np.unravel_index(counts.argmax(), counts.shape)
    names = ["cat", "dog", "fox"]
    assert finding.sentence.startswith(f"The winner confuses most: {names[truth]} taken for {names[predicted]} (")
    assert finding.sentence in answered(run)
    assert not of_kind(make_run(grid(width=[4]), classes=[f"class {number}" for number in range(13)]), "confusion")


def test_no_interval_of_a_share_leaves_its_bounds(make_run: MakeRun) -> None:
    from kerasdl.report.tables import ranking_table

    run = make_run(grid(depth=[1, 2]), lambda settings, seed, _: (0.05, 0.9, 0.95)[seed])
    cells = [str(cell) for row in ranking_table(gather(run)).rows for cell in row]
    assert [cell for cell in cells if " to " in cell] == ["0.00\u00a0% to 100.00\u00a0%"] * 2


def test_the_smallest_tied_configuration_is_named(make_run: MakeRun) -> None:
    run = make_run(grid(width=[4, 68]), parameters=lambda settings: 100 * settings["width"], generator=1)
    found = of_kind(run, "cost")
    winner = run.best
    assert winner is not None
    if winner.settings["width"] == 68:
        assert "1/17 of the winner's parameters" in found[0].sentence
        assert not found[0].sure
    else:
        assert not found


@pytest.mark.parametrize("unfinished", [1, 5, 11, 12])
def test_an_unfinished_run_has_findings(make_run: MakeRun, unfinished: int) -> None:
    run = make_run(grid(width=[4, 8], depth=[1, 2]), unfinished=unfinished)
    assert isinstance(find(run), list)
    assert answered(run)


def test_sentences_are_sentences_and_numbers_are_plain(make_run: MakeRun) -> None:
    import json

    run = make_run(grid(depth=[1, 2, 3], width=[16, 64]), planted)
    for finding in find(run):
        assert not finding.sentence[0].islower() and finding.sentence.endswith(".")
        assert "nan" not in finding.sentence.lower()
        json.dumps(finding.numbers)
    sure = [finding.sure for finding in find(run)]
    assert sure == sorted(sure, reverse=True)
