"""The answer: a few sentences computed from the findings."""

import math
from collections.abc import Sequence

from kerasdl.report.arms import arms_answer
from kerasdl.report.comparisons import Comparison
from kerasdl.report.evidence import Evidence
from kerasdl.report.finding import Finding
from kerasdl.report.words import change, listed, metric_name, plural, score, sentence, setting_name, value

# What is asked of settings beyond which of their values is best: where a network learns and how often it fails, what an
# epoch costs, when training has settled, where gradients vanish, what a finer search gains, what is confused. These
# findings stand in the answer.
ASKED = {"learning-rates", "shortfall", "batch-size", "length", "gradients", "refined", "retrained", "confusion"}


def answer(evidence: Evidence, found: Sequence[Finding]) -> list[str]:
    """Answers the study's question in a few sentences.

    Args:
        evidence: The run.
        found: What `kerasdl.report.findings` found in it.

    Returns:
        The sentences: the winner with its figures, how sure that is, what matters, what is not settled, and what else
        is asked of the settings that vary.
    """
    arms, kinds = arms_answer(evidence), {one.kind for one in found}
    told = ASKED | {"overfitting"} if "length" in kinds else set(ASKED)
    if arms or kinds & {"learning-rates", "gradients"}:
        # These tell of failures by their cause.
        told.remove("shortfall")
    if arms:
        # Learning rates suit one arm or the other.
        told.remove("learning-rates")
    asked = [one.sentence for one in found if one.kind in told]
    if evidence.standing is None:
        return [_no_winner(evidence), *asked]
    sentences = [_winner(evidence), *_certainty(evidence), *_what_matters(evidence)]
    return [*sentences[:4], *arms, *asked]


def _no_winner(evidence: Evidence) -> str:
    status = evidence.scores.status
    diverged, failed = int((status == "diverged").sum()), int((status == "failed").sum())
    if diverged and not failed and diverged == int((status != "").sum()):
        return f"There is no winner: all {plural(diverged, 'trial')} diverged."
    parts = [f"{diverged} diverged" if diverged else "", f"{failed} failed" if failed else ""]
    ended = ", ".join(part for part in parts if part)
    return f"There is no winner: no trial completed{f' ({ended})' if ended else ' yet'}."


def _winner(evidence: Evidence) -> str:
    scores, best = evidence.scores, evidence.table.iloc[0]
    assert evidence.winner is not None
    name, repeats = scores.objective, evidence.winner_repeats
    tests = [column for column in evidence.table.columns if str(column).startswith("test_")]
    preferred = f"test_{name.removeprefix('val_')}"
    shown = preferred if preferred in tests else None
    text = f"{sentence(scores.describe(evidence.winner))} does best: {metric_name(name)} {score(name, best['mean'])}"
    if math.isfinite(best["low"]):
        half = change(name, (best["high"] - best["low"]) / 2, signed=False)
        text += f" ± {half} (95\u00a0% interval of the mean over {plural(repeats, 'repeat')})"
    elif repeats == 1:
        text += " (one repeat: no spread known)"
    if shown and math.isfinite(best[shown]):
        text += f"; {metric_name(shown)} {score(shown, best[shown])}"
    return text + "."


def _certainty(evidence: Evidence) -> list[str]:
    place, scores = evidence.standing, evidence.scores
    assert place is not None
    if not place.rivals or evidence.winner_repeats < 2:
        return []
    total, tied = len(place.rivals), place.tied
    if not tied:
        spoilt = " that completed every repeat" if len(scores.configurations) > total + 1 else ""
        every = "all " if total > 1 else ""
        return [f"It is better than {every}{_others(total)}{spoilt} (95\u00a0% confidence)."]
    if len(tied) == total:
        return [f"These repeats cannot tell it from {'any of ' if total > 1 else ''}{_others(total)}."]
    close = f": {listed([scores.describe(rival) for rival in tied], 2)}" if len(tied) <= 2 else ""
    small = next((item for item in _cheap(evidence)), None)
    extra = f"; the smallest of these, {small}" if small and not close else ""
    return [f"It cannot be told from {len(tied)} of {_others(total)}{close}{extra}."]


def _others(count: int) -> str:
    return "the other configuration" if count == 1 else f"the {count} others"


def _cheap(evidence: Evidence) -> list[str]:
    from kerasdl.report.winner import cheapest_tied

    place, scores = evidence.standing, evidence.scores
    small = cheapest_tied(scores, place) if place else None
    if place is None or small is None:
        return []
    ratio = scores.parameters[place.winner] / scores.parameters[small]
    loss = change(scores.objective, -place.test(small).mean)
    return [f"{scores.describe(small)}, has 1/{ratio:.0f} of its parameters ({loss})"] if ratio >= 1.95 else []


def _what_matters(evidence: Evidence) -> list[str]:
    comparisons, scores = evidence.comparisons, evidence.scores
    sure: dict[str, Comparison] = {}
    for item in sorted(comparisons, key=lambda item: (item.kind == "trend", -abs(item.test.mean))):
        if item.sure:
            sure.setdefault(item.setting, item)
    found = []
    if sure:
        found.append(
            f"What matters: {listed([_effect(item, scores.objective, scores.sign) for item in sure.values()])}."
        )
    turned = {reversal.setting: reversal.other for reversal in evidence.reversals if reversal.setting not in sure}
    found += [f"What {setting_name(name)} does depends on {setting_name(other)}." for name, other in turned.items()]
    lost = [name for name in scores.varying if name not in sure and name not in turned]
    if lost and comparisons and evidence.winner_repeats < 2:
        found.append("With one repeat no difference is sure.")
    elif lost and comparisons:
        names = [setting_name(name) for name in lost]
        joined = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        found.append(f"{sentence(joined)} made no sure difference.")
    return found


def _effect(item: Comparison, objective: str, sign: int) -> str:
    name = setting_name(item.setting)
    if item.kind == "trend":
        return f"{name} ({'more' if item.test.mean * sign > 0 else 'less'} is better)"
    better, worse = (item.second, item.first) if item.test.mean * sign > 0 else (item.first, item.second)
    size = abs(item.test.mean) * sign
    return f"{name} ({value(better)} over {value(worse)}: {change(objective, size)})"
