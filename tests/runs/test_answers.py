"""Which rows configurations disagree on, and how well masks overlap: made-up answers, counted again by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from kerasdl.errors import UserError
from kerasdl.runs import Run, RunWriter, TrialResult
from kerasdl.runs.answers import TRUTH, extremes, to_drop
from tests.runs.conftest import STUDY, End

CLASSES = ["ant", "bee", "cat"]
ROWS = 60


def write(
    directory: Path, ends: Sequence[Sequence[End]], *, seed: int = 0, kept: Callable[[int], bool] = lambda trial: True
) -> dict[int, np.ndarray]:
    """Writes a run whose trials answer at random; returns what each said."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, ROWS)
    said = {}
    with RunWriter(directory, STUDY) as writer:
        writer.record_fact("objective", {"name": "val_accuracy", "direction": "max"})
        writer.record_fact("data", {"classes": CLASSES, "task": "classification"})
        writer.record_array(TRUTH, truth.astype("uint8"))
        writer.add_configurations(0, {number: {"depth": number + 1} for number in range(len(ends))})
        trial = 0
        for configuration, own in enumerate(ends):
            for repeat, end in enumerate(own):
                writer.start_trials([(trial, configuration, repeat, "alone")])
                if isinstance(end, str):
                    writer.finish_trial(trial, TrialResult(end))
                else:
                    said[trial] = np.where(random.random(ROWS) < end, truth, random.integers(0, 3, ROWS))
                    answers = {"predicted": said[trial].astype("uint8")}
                    answers["probability"] = random.random(ROWS).astype("float32")
                    matrix = np.zeros((3, 3), "int64")
                    np.add.at(matrix, (truth, said[trial]), 1)
                    shown = answers if kept(trial) else {}
                    writer.finish_trial(trial, TrialResult("completed", end, confusion=matrix, answers=shown))
                trial += 1
    return said


@pytest.mark.parametrize("seed", range(3))
def test_every_disagreement_is_right_by_the_best_and_wrong_by_the_worst(directory: Path, seed: int) -> None:
    # The best trials are 2 of the first and 3 of the second.
    said = write(directory, [[0.7, 0.8, 0.9], [0.2, 0.1, 0.1], [0.5, 0.5, 0.5]], seed=seed)
    with Run.open(directory) as run:
        truth, found = run.truth, run.disagreements(n=None)
        assert truth.dtype == "int64" and len(found)
        expected = np.flatnonzero((said[2] == truth) & (said[3] != truth))
        assert sorted(found["row"]) == expected.tolist()
        best, worst = run.answers(2), run.answers(3)
        for one in found.to_dict("records"):
            row = one["row"]
            assert one["truth"] == one["best"] == CLASSES[truth[row]] != one["worst"] == CLASSES[said[3][row]]
            assert one["best_probability"] == pytest.approx(float(best["probability"][row]))
            assert one["worst_probability"] == pytest.approx(float(worst["probability"][row]))
            assert one["best_right"] == pytest.approx(np.mean([said[trial][row] == truth[row] for trial in range(3)]))
            assert one["worst_wrong"] == pytest.approx(np.mean([said[trial][row] != truth[row] for trial in (3, 4, 5)]))
        confidence = (found["best_probability"] + found["worst_probability"]).to_numpy()
        assert (np.diff(confidence) <= 0).all()
        assert run.disagreements().equals(found.head(5))
        # Of any two, and the other way round.
        other = run.disagreements(best=1, worst=2, n=None)
        assert sorted(other["row"]) == np.flatnonzero((said[3] == truth) & (said[6] != truth)).tolist()
        assert run.disagreements(0, 0).empty


def test_the_worst_is_one_that_completed_all_its_trials(directory: Path) -> None:
    write(directory, [[0.9], [0.2], ["diverged"], [0.5]])
    with Run.open(directory) as run:
        assert extremes(run.table()) == (0, 1)


def test_where_one_alone_completed_those_that_did_in_part_count(directory: Path) -> None:
    write(directory, [[0.9, 0.9], [0.7, "diverged"], [0.8, "failed"], ["diverged", "failed"]])
    with Run.open(directory) as run:
        assert extremes(run.table()) == (0, 1)


def test_what_cannot_be_compared_is_said(directory: Path, tmp_path: Path) -> None:
    write(directory, [[0.9], [0.2], [0.5], ["failed"]], kept=lambda trial: trial != 2)
    with Run.open(directory) as run:
        for arguments, message in (
            ({"worst": 7}, "no configuration 7; choose from 0 to 3"),
            ({"worst": 3}, "configuration 3 has no completed trial"),
            ({"worst": 2}, "no answers of configuration 2 .* runs of earlier versions have none"),
        ):
            with pytest.raises(UserError, match=message):
                run.disagreements(**arguments)
        with pytest.raises(UserError, match="a class for each row, not for each pixel"):
            run.image_scores()
    write(tmp_path / "one", [[0.9]])
    with Run.open(tmp_path / "one") as run, pytest.raises(UserError, match="fewer than two configurations"):
        run.disagreements()


def test_a_run_of_an_earlier_version_keeps_nothing_and_says_so(run_of: Callable[..., Run]) -> None:
    run = run_of([[0.9], [0.2]])
    assert run.truth.size == 0 and run.answers(0) == {} and run.answer_sizes() == {}
    samples = run.samples()
    assert samples.rows == {} and samples.masks == {} and samples.augmented is None
    for ask in (run.disagreements, run.confused):
        with pytest.raises(UserError, match="runs of earlier versions have none"):
            ask()


def test_confused_pairs_have_the_counts_of_the_confusion_matrix_and_the_rows_of_the_saved_model(
    directory: Path,
) -> None:
    said = write(directory, [[0.4, 0.6], [0.1, 0.1]])
    with Run.open(directory) as run:
        found, truth, matrix = run.confused(n=9), run.truth, run.confusion(0)
        assert len(found) == (matrix[~np.eye(3, dtype=bool)] > 0).sum()
        assert (np.diff(found["count"]) <= 0).all() and run.confused(n=2).equals(found.head(2))
        probability = run.answers(1)["probability"]
        for one in found.to_dict("records"):
            a, b = CLASSES.index(one["truth"]), CLASSES.index(one["predicted"])
            assert one["count"] == matrix[a, b] / 2
            assert one["share"] == pytest.approx(matrix[a, b] / matrix[a].sum())
            assert sorted(one["rows"]) == np.flatnonzero((truth == a) & (said[1] == b)).tolist()
            assert (np.diff(probability[one["rows"]]) <= 0).all()


def test_answers_are_kept_of_the_best_the_worst_and_what_is_not_whole_whatever_the_bound(directory: Path) -> None:
    write(directory, [[0.5, 0.5], [0.9, 0.9], [0.1, 0.1], [0.6, 0.6], [0.3]])
    with Run.open(directory) as run:
        sizes = run.answer_sizes()
        assert set(sizes) == set(range(9)) and min(sizes.values()) > 5 * ROWS
        assert to_drop(run, 2, sizes) == []
        # Of the others the better one first, as far as the bound reaches.
        assert to_drop(run, 2, sizes, 2 * sizes[0]) == [0, 1]
        assert to_drop(run, 2, sizes, 0) == [6, 7, 0, 1]
        dropped = to_drop(run, 2, sizes, 0)
        with RunWriter(directory, STUDY) as writer:
            writer.drop_answers(dropped)
        assert set(run.answer_sizes()) == {2, 3, 4, 5, 8} and len(run.truth) == ROWS
        assert len(run.disagreements())


def test_dice_and_iou_are_those_of_sets_of_pixels(directory: Path) -> None:
    random = np.random.default_rng(0)
    masks, found = random.integers(0, 2, (2, 4, 6, 6))
    found[0], masks[1], found[1] = masks[0], 0, 0
    overlap = np.stack(
        [
            [((masks == one) & (found == one)).sum(axis=(1, 2)) for one in range(3)],
            [((masks == one).astype(int) + (found == one)).sum(axis=(1, 2)) for one in range(3)],
        ],
        axis=-1,
    ).transpose(1, 0, 2)
    with RunWriter(directory, STUDY) as writer:
        writer.record_fact("objective", {"name": "val_dice", "direction": "max"})
        writer.record_fact("data", {"classes": CLASSES, "task": "segmentation"})
        writer.add_configurations(0, {0: {}})
        for trial, score in enumerate((0.5, 0.7)):
            writer.start_trials([(trial, 0, trial, "alone")])
            writer.finish_trial(trial, TrialResult("completed", score, answers={"overlap": overlap.astype("uint32")}))
    with Run.open(directory) as run:
        images, classes = run.image_scores(), run.class_scores()
        assert images["trial"].tolist() == [1] * 4 + [0] * 4 and classes["class"].tolist() == CLASSES * 2
        for number, one in enumerate(images.head(4).to_dict("records")):
            scores = []
            for label, name in enumerate(CLASSES):
                mine, theirs = set(np.flatnonzero(masks[number] == label)), set(np.flatnonzero(found[number] == label))
                if not mine | theirs:
                    assert np.isnan(one[f"dice_{name}"]) and np.isnan(one[f"iou_{name}"])
                    continue
                scores.append(
                    (2 * len(mine & theirs) / (len(mine) + len(theirs)), len(mine & theirs) / len(mine | theirs))
                )
                assert (one[f"dice_{name}"], one[f"iou_{name}"]) == pytest.approx(scores[-1])
            assert (one["dice"], one["iou"]) == pytest.approx(tuple(np.mean(scores, axis=0)))
        assert images["dice"][0] == images["dice"][1] == 1
        for label, one in enumerate(classes.head(2).to_dict("records")):
            both, total = ((masks == label) & (found == label)).sum(), (masks == label).sum() + (found == label).sum()
            assert one["dice"] == pytest.approx(2 * both / total)
            assert one["iou"] == pytest.approx(both / (total - both))
        # Nothing is true of, and nothing said to be, the third.
        assert classes.loc[2, ["dice", "iou"]].isna().all()
        with pytest.raises(UserError, match="a class for each pixel, not for each row"):
            run.confused()
