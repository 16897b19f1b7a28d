from pathlib import Path

import numpy as np
import pytest

from kerasdl.runs import Run, RunWriter, TrialResult
from kerasdl.runs.sharing import Place, Sharing, shared_by, sum_up, sum_up_plan, ways

Programs = list[list[dict[int, int]]]


def drawn(random: np.random.Generator) -> Programs:
    """Draws some programs of some members of some trials, each with a number of its own."""
    numbers = iter(range(1000))
    return [
        [
            {next(numbers): int(random.integers(1, 9)) for _ in range(random.integers(1, 4))}
            for _ in range(random.integers(1, 5))
        ]
        for _ in range(random.integers(1, 5))
    ]


def train(writer: RunWriter, programs: Programs, how: str = "pack", lost: int = 0) -> None:
    """Writes trials that go through what they ask for, but for the last epochs of each."""
    trials = {trial: epochs for members in programs for member in members for trial, epochs in member.items()}
    writer.add_configurations(min(trials), {trial: {"n": trial} for trial in trials})
    writer.start_trials([(trial, trial, 0, how) for trial in trials])
    writer.record_programs(programs)
    for trial, epochs in trials.items():
        for epoch in range(1, max(1, epochs - lost) + 1):
            writer.record_epoch(epoch, {trial: {"loss": 1.0}}, 0.5)
        writer.finish_trial(trial, TrialResult("completed", 0.5, seconds=2.0))


def shared(directory: Path) -> Sharing | None:
    with Run.open(directory) as run:
        return shared_by(run.trials(), run.places())


@pytest.mark.parametrize("seed", range(5))
def test_what_was_planned_is_what_a_run_shares_if_no_trial_ends_early(writer: RunWriter, seed: int) -> None:
    programs = drawn(np.random.default_rng(seed))
    train(writer, programs)
    found = shared(writer.directory)
    assert found == sum_up_plan(programs)
    assert found is not None and found.passes <= found.trained <= found.done == found.asked
    words = found.words()
    for past, present in (("asked", "ask"), ("were", "are"), ("ran", "runs" if len(programs) == 1 else "run")):
        words = words.replace(past, present)
    assert words == found.words(planned=True)


def test_trials_that_share_nothing_take_all_they_ask_for() -> None:
    found = sum_up([Place(number, 0, number + 1, number + 1) for number in range(4)])
    assert found == Sharing(trials=4, programs=4, asked=10, done=10, trained=10, passes=10)
    assert found.words() == "asked for 10 epochs; 10 were trained, by 4 programs that ran 10 times over the data"


def test_epochs_are_counted_once_for_a_member_and_passes_once_for_a_program() -> None:
    found = sum_up_plan([[{0: 2, 1: 4}, {2: 3}]])
    assert (found.asked, found.trained, found.passes) == (9, 7, 4)
    assert found.words(planned=True) == (
        "ask for 9 epochs; 7 are trained (22.2\u00a0% less: trials share their epochs), by 1 program that runs 4 times "
        "over the data"
    )


def test_epochs_that_nobody_trained_are_not_called_shared(writer: RunWriter) -> None:
    train(writer, [[{0: 5}, {1: 5}]], lost=2)
    found = shared(writer.directory)
    assert found == Sharing(trials=2, programs=1, asked=10, done=6, trained=6, passes=3)
    assert "asked for 10 epochs and went through 6 (some ended early); 6 were trained, by" in found.words()


def test_a_trial_that_is_trained_anew_has_its_new_place_and_one_that_goes_on_its_old(writer: RunWriter) -> None:
    train(writer, [[{0: 4}, {1: 4}, {2: 4}]])
    writer.record_programs([[{1: 4}]])
    writer.record_programs([[{2: 4}]], after_epoch=3)
    with Run.open(writer.directory) as run:
        places = run.places()
    assert places[0].program == places[2].program != places[1].program
    assert {place.done for place in places.values()} == {4}


def test_a_run_that_does_not_say_where_a_trial_ran_has_no_counts(writer: RunWriter) -> None:
    train(writer, [[{0: 4}, {1: 4}]])
    writer.add_configurations(5, {2: {"n": 2}, 3: {"n": 3}})
    writer.start_trials([(2, 2, 0, "not trained: its model could not be built")])
    writer.finish_trial(2, TrialResult("failed"))
    assert shared(writer.directory) == sum_up_plan([[{0: 4}, {1: 4}]])
    writer.start_trials([(3, 3, 0, "somehow")])
    writer.record_epoch(1, {3: {"loss": 1.0}}, 0.5)
    assert shared(writer.directory) is not None
    writer.finish_trial(3, TrialResult("completed", 0.5))
    assert shared(writer.directory) is None


def test_ways_hold_every_trial_that_ended_once(writer: RunWriter) -> None:
    train(writer, [[{0: 4}, {1: 4}, {2: 4}]], "pack of 3; up to 1 trials share their epochs")
    train(writer, [[{3: 2, 4: 4}, {5: 4}, {6: 4}]], "pack of 3; up to 2 trials share their epochs")
    train(writer, [[{7: 2}]], "alone: because; of it")
    writer.add_configurations(9, {8: {"n": 8}})
    writer.start_trials([(8, 8, 0, "alone: still running")])
    with Run.open(writer.directory) as run:
        found = ways(run.trials(), run.places())
    assert [(way.how, way.trials, way.seconds) for way in found] == [
        ("pack of 3", 7, 14.0),
        ("alone: because; of it", 1, 2.0),
    ]
    assert found[0].sharing == Sharing(trials=7, programs=2, asked=26, done=26, trained=24, passes=8)


def test_a_run_without_trials_has_no_ways(writer: RunWriter) -> None:
    with Run.open(writer.directory) as run:
        assert ways(run.trials(), run.places()) == []
        assert shared_by(run.trials(), run.places()) is None
