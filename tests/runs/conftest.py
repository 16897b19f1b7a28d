from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from kerasdl.runs import Run, RunWriter, TrialResult

STUDY = 'name = "depths"\nrepeats = 3\n\n[space]\ndepth = [1, 2]\n'

# What one trial came to: a score, or the status of one without.
End = float | str


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "depths"


@pytest.fixture
def writer(directory: Path) -> Iterator[RunWriter]:
    with RunWriter(directory, STUDY) as writer:
        yield writer


def write_trials(writer: RunWriter, ends: Sequence[Sequence[End]], direction: str = "max") -> None:
    """Writes one configuration for each sequence in `ends`, one repeat for each end in it."""
    writer.record_fact("objective", {"name": "val_accuracy", "direction": direction})
    writer.record_fact("environment", {"backend": "jax"})
    writer.add_configurations(0, {number: {"depth": number + 1, "epochs": 2} for number in range(len(ends))})
    trial = 0
    for configuration, own in enumerate(ends):
        for seed, end in enumerate(own):
            writer.start_trials([(trial, configuration, seed, "alone")])
            writer.record_epoch(1, {trial: {"loss": 1.0, "val_accuracy": 0.1}}, 0.5)
            if isinstance(end, str):
                writer.finish_trial(trial, TrialResult(end, message=f"it {end}", seconds=1.0))
            else:
                test = {"accuracy": end / 2, "loss": 1 - end}
                writer.finish_trial(trial, TrialResult("completed", end, test, parameters=7, seconds=2.0))
            trial += 1


@pytest.fixture
def run_of(directory: Path) -> Iterator[Callable[..., Run]]:
    """Writes a run with the given ends and opens it."""
    opened: list[Run] = []

    def write(ends: Sequence[Sequence[End]], direction: str = "max") -> Run:
        with RunWriter(directory, STUDY) as writer:
            write_trials(writer, ends, direction)
        opened.append(Run.open(directory))
        return opened[-1]

    yield write
    for run in opened:
        run.close()
