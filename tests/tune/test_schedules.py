"""Learning rates that change while a trial trains, in studies."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kerasdl.errors import UserError
from kerasdl.tune import Study
from kerasdl.tune.settings import SCHEDULES

Make = Callable[..., Study]


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "constant"])
def test_a_schedule_lasts_as_long_as_its_trial(backend_name: str, name: str) -> None:
    from kerasdl.tune.compiling import schedule

    settings = {"schedule": name, "learning_rate": 0.1, "minimum_learning_rate": 0.001, "epochs": 6, "cycles": 2}
    made = schedule(settings, 10)
    rates = [float(made(step)) for step in range(61)]
    assert max(rates) == pytest.approx(0.1, rel=1e-3) or name == "exp_range"
    assert max(rates[50:]) < max(rates) / 2 or name.startswith(("triangular", "exp_range"))
    if name == "triangular":
        assert [step for step, rate in enumerate(rates) if rate == pytest.approx(0.1)] == [15, 45]
        assert rates[30] == rates[60] == pytest.approx(0.001)


def test_configurations_that_differ_in_the_highest_rate_share_a_program(
    backend_name: str, study: Make, folder: Path
) -> None:
    keys = {"fixed": {"schedule": "triangular", "cycles": 2, "width": 4}, "space": {"learning_rate": [0.01, 0.1]}}
    with study(**keys).run("run", progress=False, export=False) as run:
        trials = run.trials()
        assert trials["how"].str.startswith("pack of 2").all()
        assert trials["score"].notna().all()
        assert run.best is not None
    code = "from kerasdl.runs import Run; print(type(Run.open('run').best.load().optimizer._learning_rate).__name__)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert loaded.stdout == "Triangular\n", loaded.stderr


@pytest.mark.backend_free
def test_an_unknown_schedule_is_named() -> None:
    with pytest.raises(UserError, match=r"fixed\.schedule: 'triangle' is not a schedule; did you mean 'triangular'"):
        Study(data="xor", model="mlp", fixed={"schedule": "triangle"})


def test_a_schedule_needs_a_learning_rate(backend_name: str, study: Make, folder: Path) -> None:
    with pytest.raises(UserError, match="schedule: 'cosine' needs a highest learning rate; set learning_rate"):
        study(fixed={"schedule": "cosine"}).run("run", progress=False)
