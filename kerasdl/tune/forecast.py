"""Tells how a study would run, without training."""

from collections.abc import Mapping
from typing import Any

from kerasdl.runs.sharing import sum_up_plan
from kerasdl.tune.planner import Pack
from kerasdl.tune.study import Study
from kerasdl.tune.trials import TrialMaker


def forecast(study: Study, memory: int | None = None) -> str:
    """Plans the first round of a study: all of a grid or a random search.

    Args:
        study: The study.
        memory: Bytes that a pack may use; half of what is free where absent.

    Returns:
        A text: a paragraph on the whole, then a line a pack.
    """
    maker = TrialMaker(study, study.load_data())
    proposals = maker.proposals()
    varied = proposals.ask()
    settings = {number: study.settings(values) for number, values in varied.items()}
    trials = maker.trials(settings)
    blueprints, errors = maker.blueprints(trials)
    packs = maker.packs(trials, blueprints, memory)
    lines = [_whole(packs, len(settings), len(trials), first=proposals.adaptive or study.refine is not None), ""]
    lines += [_line(number, pack, varied) for number, pack in enumerate(packs, start=1)]
    lines += [f"not trained: {_settings([varied[number]])}: {error}" for number, error in errors.items()]
    return "\n".join(lines)


def _whole(packs: list[Pack], configurations: int, trials: int, *, first: bool) -> str:
    found = sum_up_plan(program for pack in packs for program in pack.programs())
    begin = "the first round has " if first else ""
    return f"{begin}{configurations} configurations, {trials} trials. They {found.words(planned=True)}."


def _line(number: int, pack: Pack, varied: Mapping[int, Mapping[str, Any]]) -> str:
    numbers = dict.fromkeys(trial.configuration for trial in pack.trials)
    return f"{number:>3}. {_settings([varied[one] for one in numbers])}: {len(pack.trials)} trials, {pack.how}"


def _settings(many: list[Mapping[str, Any]]) -> str:
    """Names each setting with its values in some configurations."""
    names = dict.fromkeys(name for one in many for name in one)
    values = {name: list(dict.fromkeys(str(one[name]) for one in many if name in one)) for name in names}
    shown = {
        name: found if len(found) <= 4 else [*found[:3], f"and {len(found) - 3} more"] for name, found in values.items()
    }
    return ", ".join(f"{name} {' / '.join(found)}" for name, found in shown.items())
