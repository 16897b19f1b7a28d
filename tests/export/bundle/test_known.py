"""What a run knows goes into the file, and from there into the bundle."""

import json

import numpy as np
import pytest

from kerasdl.data.dataset import Scaling
from kerasdl.export.bundle.known import known_facts
from kerasdl.runs import Run, RunWriter
from kerasdl.runs.ranking import interval
from kerasdl.runs.writer import TrialResult

pytestmark = pytest.mark.backend_free

SCORES = [0.8, 0.9, 0.85]
TESTS = [0.7, 0.8, 0.9]


def make_run(directory, study='title = "Which way?"\nquestion = "Where to?"\nname = "ways"\n', repeats=3, **data):
    scaling = Scaling(np.array([1, 2], "float32"), np.array([3, 4], "float32"))
    facts = {
        "name": "csv:/home/me/ways.csv?target=way",
        "task": "classification",
        "classes": ["north", "south"],
        "features": ["a", "b"],
        "input_shape": [2],
        "rows": {"train": 64, "validation": 16, "test": 20},
        "scaling": {"offset": scaling.offset.tolist(), "scale": scaling.scale.tolist()},
        "source": "made up",
        "licence": "CC0",
        "fingerprint": "00",
        "notes": ["a note"],
    }
    with RunWriter(directory, study) as writer:
        writer.record_fact("objective", {"name": "val_accuracy", "direction": "max"})
        writer.record_fact("data", {**facts, **data})
        writer.record_fact("environment", {"backend": "jax", "device": "cpu", "platform": "x", "versions": {}})
        writer.record_array("sample", np.array([[0, 5], [2, -5]], "float32"))
        writer.add_configurations(0, {0: {"rate": 0.1}, 1: {"rate": 0.2}})
        writer.start_trials([(number, number // repeats, number % repeats, "alone") for number in range(2 * repeats)])
        scores, tests = ([*values[:repeats], *[other] * repeats] for values, other in ((SCORES, 0.1), (TESTS, 0)))
        for number, (score, test) in enumerate(zip(scores, tests, strict=True)):
            writer.record_epoch(1, {number: {"val_accuracy": score}}, 0.1)
            confusion = np.array([[9, 1], [5, 5]])
            result = TrialResult("completed", score=score, test={"accuracy": test}, confusion=confusion)
            writer.finish_trial(number, result)
    return directory


@pytest.fixture
def known(tmp_path):
    def read(**data):
        with Run.open(make_run(tmp_path / "run", **data)) as run:
            return known_facts(run, run.best)

    return read


def test_scores_have_the_intervals_of_the_report(known):
    evaluation = known()["evaluation"]
    assert evaluation["objective"]["mean"] == pytest.approx(np.mean(SCORES))
    assert (evaluation["objective"]["low"], evaluation["objective"]["high"]) == pytest.approx(interval(SCORES))
    assert (evaluation["test"]["accuracy"]["low"], evaluation["test"]["accuracy"]["high"]) == pytest.approx(
        interval(TESTS)
    )
    assert (evaluation["repeats"], evaluation["rows"]["test"]) == (3, 20)


def test_the_trial_in_the_file_is_told_apart_from_the_mean_of_its_settings(known):
    trial = known()["evaluation"]["trial"]
    assert (trial["score"], trial["test"]["accuracy"]) == (0.9, 0.8)
    low, high = trial["accuracy_interval"]
    assert 0.5 < low < 0.8 < high < 0.95


def test_classes_are_scored_over_all_repeats(known):
    first, second = known()["evaluation"]["classes"]
    assert first == {"recall": pytest.approx(0.9), "precision": pytest.approx(9 / 14)}
    assert second == {"recall": pytest.approx(0.5), "precision": pytest.approx(5 / 6)}


def test_columns_have_their_statistics(known):
    assert known()["preprocessing"] == {
        "columns": {"mean": [1.0, 2.0], "spread": [3.0, 4.0], "low": [0.0, -5.0], "high": [2.0, 5.0]}
    }


@pytest.mark.parametrize(
    ("name", "offset", "scale", "image"),
    [
        ("digits", 0, 16, {"resize": "stretch", "range": [0.0, 16.0]}),
        ("folder:/x?size=8&resize=crop", 0, 255, {"resize": "crop", "range": [0.0, 255.0]}),
        ("of a program", 0, 255, {"resize": "stretch", "range": [0.0, 255.0]}),
        ("npz:/x", 3, 2, {"resize": "stretch", "range": None}),
    ],
)
def test_images_have_their_form(known, name, offset, scale, image):
    scaling = {"offset": [[[offset]]], "scale": [[[scale]]]}
    found = known(name=name, features=[], input_shape=[8, 6, 1], scaling=scaling)["preprocessing"]["image"]
    assert found == {"height": 8, "width": 6, "channels": 1, **image}


def test_a_run_of_one_repeat_has_no_interval_and_stays_json(known):
    facts = known(repeats=1)
    assert facts["evaluation"]["objective"]["low"] is None
    json.dumps(facts, allow_nan=False)
