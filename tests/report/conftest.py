import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit

from kerasdl.runs import Run, RunWriter, TrialResult

Score = Callable[[dict[str, Any], int, np.random.Generator], float | None]


def noise(settings: dict[str, Any], seed: int, generator: np.random.Generator) -> float:
    return 0.8 + float(generator.normal(0, 0.01))


def write_run(
    path: Path,
    configurations: Sequence[dict[str, Any]],
    score: Score = noise,
    *,
    repeats: int = 3,
    epochs: int = 6,
    objective: str = "val_accuracy",
    direction: str = "max",
    classes: Sequence[str] = ("no", "yes"),
    study: Mapping[str, Any] | None = None,
    unfinished: int = 0,
    losses: Callable[[int, int, float], float] | None = None,
    parameters: Callable[[dict[str, Any]], int] = lambda settings: 1000,
    generator: int = 0,
) -> Path:
    """Writes a run in which every score, curve and count is made up.

    Args:
        path: The run's directory.
        configurations: The settings of each.
        score: The objective of a trial, or `None` where it diverges.
        repeats: Seeds.
        epochs: Epochs of each trial.
        objective: Its name.
        direction: Its direction.
        classes: Class names.
        study: More of the study's table.
        unfinished: How many trials from the end are missing; the first of them is still running.
        losses: Validation loss by epoch, epochs and score.
        parameters: Parameters of a configuration.
        generator: Seed of the noise.
    """
    random = np.random.default_rng(generator)
    text = tomlkit.dumps({"name": "made-up", "title": "A made-up study", "objective": objective, **(study or {})})
    assert tomllib.loads(text)
    trials = [(c, s) for c in range(len(configurations)) for s in range(repeats)]
    with RunWriter(path, text) as writer:
        writer.record_fact("objective", {"name": objective, "direction": direction})
        writer.record_fact(
            "data",
            {
                "name": "made-up",
                "rows": {"train": 1000, "validation": 100_000, "test": 400},
                "input_shape": [2],
                "classes": list(classes),
                "features": ["a", "b"],
                "source": "made up",
                "licence": "CC0",
                "fingerprint": "0" * 64,
                "notes": ["nothing here is real"],
            },
        )
        writer.record_fact(
            "environment", {"backend": "jax", "device": "cpu", "versions": {"keras": "3.15"}, "git": None}
        )
        writer.record_fact("planned", {"trials": len(trials)})
        writer.add_configurations(0, dict(enumerate(configurations)))
        written = trials[: len(trials) - unfinished]
        for number, (configuration, seed) in enumerate(written):
            settings = configurations[configuration]
            writer.start_trials([(number, configuration, seed, "alone: nothing to share")])
            value = score(settings, seed, random)
            _write_trial(writer, number, value, epochs, objective, losses, random, len(classes), parameters(settings))
        if unfinished:
            configuration, seed = trials[len(written)]
            writer.start_trials([(len(written), configuration, seed, "alone: nothing to share")])
        else:
            writer.record_fact("finished", {"at": "2026"})
        writer.record_fact("seconds", {"search": 12.5})
        writer.record_event("start", "made up")
    return path


def _write_trial(
    writer: RunWriter,
    number: int,
    value: float | None,
    epochs: int,
    objective: str,
    losses: Callable[[int, int, float], float] | None,
    random: np.random.Generator,
    classes: int,
    parameters: int,
) -> None:
    diverged = value is None
    final = 0.5 if value is None else value
    for epoch in range(1, epochs + 1):
        reached = final * (1 - np.exp(-3 * epoch / epochs)) / (1 - np.exp(-3))
        loss = float("nan") if diverged and epoch > epochs // 2 else 2 * (1 - reached)
        validation = losses(epoch, epochs, final) + random.normal(0, 0.002) if losses else loss * 1.1
        metrics = {"loss": loss, "accuracy": reached, "val_loss": validation, "val_accuracy": reached}
        metrics[objective] = final if epoch == epochs else metrics.get(objective, reached)
        writer.record_epoch(epoch, {number: metrics}, 0.01)
        if diverged and epoch > epochs // 2:
            break
    if diverged:
        writer.finish_trial(number, TrialResult("diverged", None, {}, parameters, 0.2, "the loss was not finite"))
        return
    counts = random.poisson(0.3, (classes, classes)) + np.diag(random.integers(20, 30, classes))
    test = {"loss": 0.4, "accuracy": final - 0.01}
    writer.finish_trial(number, TrialResult("completed", final, test, parameters, 0.5, None, counts))


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Writes a made-up run into a new folder and opens it; see `write_run`."""
    opened: list[Run] = []

    def make(configurations: Sequence[dict[str, Any]], *arguments: Any, **options: Any) -> Run:
        run = Run.open(write_run(tmp_path / f"run-{len(opened)}", configurations, *arguments, **options))
        opened.append(run)
        return run

    yield make
    for run in opened:
        run.close()
