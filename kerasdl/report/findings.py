"""Turns a run into sentences, the sure ones first."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kerasdl.report.arms import find_arms
from kerasdl.report.baselines import find_baselines
from kerasdl.report.batch_sizes import find_batch_sizes
from kerasdl.report.classes import most_confused
from kerasdl.report.divergence import find_divergence
from kerasdl.report.effects import find_edges, find_effects, find_reversals
from kerasdl.report.evidence import Evidence, gather
from kerasdl.report.finding import Finding
from kerasdl.report.gradients import find_gradients
from kerasdl.report.learning_rates import find_learning_rates
from kerasdl.report.lengths import find_lengths
from kerasdl.report.looking import find_disagreements, find_overlaps
from kerasdl.report.references import find_references
from kerasdl.report.retrained import find_refined, find_retrained
from kerasdl.report.scores import Scores
from kerasdl.report.shortfalls import find_shortfalls
from kerasdl.report.training import Curve, improving, overfitting
from kerasdl.report.waiting import find_waiting
from kerasdl.report.winner import Standing, cheapest_tied
from kerasdl.report.words import change, listed, metric_name, plural, score, sentence, span

if TYPE_CHECKING:
    from kerasdl.runs import Run


# Of so many classes a reader asks which are confused.
FEW_CLASSES = 12


def find(run: "Run") -> list[Finding]:
    """Computes what a run shows.

    How each comparison is made, corrected and judged stands in the modules that look: `kerasdl.report.comparisons`
    (settings), `winner`, `training` and `lengths` (curves), `learning_rates`, `batch_sizes`, `arms` (batch
    normalization), `gradients`, `retrained` (searches round the best), `shortfalls` (repeats that fail), `classes` and
    `looking` (single rows and masks), `references` (published figures).

    Args:
        run: The run, finished or not.

    Returns:
        The findings, the sure ones first.

    Raises:
        UserError: The run was stopped before it wrote down what it looks for.
    """
    return find_all(gather(run))


def find_all(evidence: Evidence) -> list[Finding]:
    """Computes what the evidence shows; see `find`."""
    found = [
        *_winner(evidence),
        *find_effects(evidence),
        *find_reversals(evidence),
        *find_edges(evidence),
        *find_divergence(evidence.scores),
        *find_learning_rates(evidence),
        *find_batch_sizes(evidence),
        *find_arms(evidence),
        *find_gradients(evidence),
        *find_refined(evidence),
        *find_retrained(evidence),
        *_training(evidence),
        *find_lengths(evidence),
        *find_shortfalls(evidence),
        *_classes(evidence),
        *_confused(evidence),
        *find_disagreements(evidence),
        *find_overlaps(evidence),
        *find_baselines(evidence),
        *find_references(evidence),
        *find_waiting(evidence),
    ]
    return sorted(found, key=lambda item: not item.sure)


def _winner(evidence: Evidence) -> Iterator[Finding]:
    scores, place = evidence.scores, evidence.standing
    if place is None:
        return
    if evidence.winner_repeats < 2:
        text = "One repeat: no spread known, so no difference between means is settled."
        yield Finding(text, False, {"kind": "repeats"})
    if not place.rivals:
        return
    name = scores.describe(place.winner)
    numbers = {
        "kind": "winner",
        "winner": scores.configurations[place.winner],
        "tied": [scores.configurations[rival] for rival in place.tied],
        "compared": len(place.rivals),
        "p": place.apart,
    }
    if not place.tied:
        others = "each of the others" if len(place.rivals) > 1 else scores.describe(place.rivals[0])
        yield Finding(f"{sentence(name)} is better than {others} (95\u00a0% confidence).", True, numbers)
    elif any(place.ruled_out):
        yield Finding(_best_among(scores, place), True, numbers)
    elif evidence.winner_repeats > 1:
        others = "the other configuration" if len(place.rivals) == 1 else f"any of the {len(place.rivals)} others"
        yield Finding(
            f"{sentence(name)} cannot be told from {others} by {plural(evidence.winner_repeats, 'repeat')}.",
            False,
            numbers,
        )
    yield _runner_up(scores, place)
    yield from _cost(scores, place)


def _best_among(scores: Scores, place: Standing) -> str:
    """Names the configurations that can be the best, or those that cannot where they are fewer."""
    name, total = scores.describe(place.winner), len(place.rivals) + 1
    held = [name, *(scores.describe(rival) for rival in place.tied)]
    out = [scores.describe(rival) for rival, gone in zip(place.rivals, place.ruled_out, strict=True) if gone]
    kind = "fully repeated configurations" if len(scores.configurations) > total else "configurations"
    if len(held) <= max(3, len(out)):
        rest = "one is" if len(out) == 1 else f"{len(out)} are"
        return (
            f"The best is among {len(held)} of {total} {kind} (95\u00a0% confidence): {listed(held)}. "
            f"The other {rest} ruled out."
        )
    verb = "is" if len(out) == 1 else "are"
    return (
        f"{len(out)} of {total} {kind} {verb} ruled out as the best (95\u00a0% confidence): "
        f"{listed(out)}. The winner, {name}, cannot be told from the other {len(place.tied)}."
    )


def _runner_up(scores: Scores, place: Standing) -> Finding:
    rival, test = place.rivals[0], place.tests[0]
    low, high = test.interval(place.alpha)
    numbers = {
        "kind": "runner-up",
        "runner_up": scores.configurations[rival],
        "difference": test.mean,
        "low": low,
        "high": high,
        "p": test.p,
    }
    metric = metric_name(scores.objective)
    text = f"Winner against runner-up ({scores.describe(rival)}): {change(scores.objective, test.mean)} of {metric}"
    if not math.isfinite(low):
        return Finding(f"{text}, one pair.", False, numbers)
    verdict = "separated" if place.ruled_out[0] else "tied"
    return Finding(f"{text} ({span(scores.objective, low, high)}): {verdict}.", place.ruled_out[0], numbers)


def _cost(scores: Scores, place: Standing) -> Iterator[Finding]:
    small = cheapest_tied(scores, place)
    if small is None or not any(math.isfinite(test.p) for test in place.tests):
        return
    own, less = scores.parameters[place.winner], scores.parameters[small]
    test = place.test(small)
    low, high = test.interval(place.alpha)
    ratio = own / less
    part = f"1/{ratio:.0f} of" if ratio >= 1.95 else f"{100 * less / own:.0f}\u00a0% of"
    yield Finding(
        f"{sentence(scores.describe(small))} has {part} the winner's parameters ({less:,.0f} against {own:,.0f}) "
        f"at no sure loss: {change(scores.objective, -test.mean)} of {metric_name(scores.objective)} "
        f"({span(scores.objective, -high, -low)}).",
        False,
        {
            "kind": "cost",
            "configuration": scores.configurations[small],
            "parameters": less,
            "winner_parameters": own,
            "difference": -test.mean,
            "low": -high,
            "high": -low,
        },
    )


def _training(evidence: Evidence) -> Iterator[Finding]:
    scores, curves = evidence.scores, evidence.curves
    rising = overfitting(scores, curves)
    for item in rising:
        if item.index == evidence.winner:
            yield _overfit_winner(item)
    others = [item for item in rising if item.sure and item.index != evidence.winner]
    if others:
        first = min(others, key=lambda item: item.epoch)
        yield Finding(
            f"{len(others)} other configuration{' overfits' if len(others) == 1 else 's overfit'}: validation loss "
            f"rises surely after its best epoch, the earliest after epoch {first.epoch} of {first.epochs} "
            f"({scores.describe(first.index)}).",
            True,
            {"kind": "overfitting", "configurations": [scores.configurations[item.index] for item in others]},
        )
    gains = improving(scores, curves)
    for item in gains:
        if item.index == evidence.winner and item.sure:
            yield _improving_winner(item, scores)
    late = [item for item in gains if item.sure and item.index != evidence.winner]
    if late:
        yield Finding(
            f"{plural(len(late), 'other configuration')} still improved surely in the last epochs: "
            f"{listed([scores.describe(item.index) for item in late], 3)}.",
            True,
            {"kind": "improving", "configurations": [scores.configurations[item.index] for item in late]},
        )


def _overfit_winner(item: Curve) -> Finding:
    low, high = item.test.interval(item.alpha)
    ending = "rises surely after it" if item.sure else "ends higher, but not surely"
    return Finding(
        f"The winner's validation loss is lowest at epoch {item.epoch} of {item.epochs} and {ending}: "
        f"{change('loss', item.test.mean)} at the end ({span('loss', low, high)}).",
        item.sure,
        {
            "kind": "overfitting",
            "epoch": item.epoch,
            "epochs": item.epochs,
            "rise": item.test.mean,
            "low": low,
            "high": high,
            "p_adjusted": item.p_adjusted,
        },
    )


def _improving_winner(item: Curve, scores: Scores) -> Finding:
    low, high = item.test.interval(item.alpha)
    name = scores.objective
    return Finding(
        f"The winner was still improving when training ended: {metric_name(name)} gets better by "
        f"{change(name, item.test.mean, signed=False)} an epoch from epoch {item.epoch} to {item.epochs} "
        f"({span(name, low, high)}); more epochs may help.",
        True,
        {"kind": "improving", "slope": item.test.mean, "low": low, "high": high, "p_adjusted": item.p_adjusted},
    )


def _classes(evidence: Evidence) -> Iterator[Finding]:
    below = [item for item in evidence.class_accuracies if item.below]
    if not below or evidence.confusion is None:
        return
    average = float(np.trace(evidence.confusion) / evidence.confusion.sum())
    parts = [f"{item.name} {score('accuracy', item.accuracy)} of {plural(round(item.rows), 'row')}" for item in below]
    verb = "classes is" if len(below) == 1 else "classes are"
    yield Finding(
        f"{len(below)} of {len(evidence.class_accuracies)} {verb} surely below the winner's test accuracy of "
        f"{score('accuracy', average)}: {listed(parts, 5)}.",
        True,
        {"kind": "classes", "average": average, "classes": {item.name: item.accuracy for item in below}},
    )


def _confused(evidence: Evidence) -> Iterator[Finding]:
    """Names the pairs that the winner confuses most, where there are so few classes that a reader knows each."""
    matrix = evidence.confusion
    if matrix is None or not 2 < len(matrix) <= FEW_CLASSES:
        return
    names = [str(name) for name in evidence.run.data["classes"]]
    pairs = most_confused(matrix, names, max(1, evidence.winner_repeats), limit=3)
    if not pairs:
        return
    parts = [f"{one.truth} taken for {one.predicted} ({100 * one.share:.1f}\u00a0% of its rows)" for one in pairs]
    yield Finding(
        f"The winner confuses most: {listed(parts)}.",
        True,
        {"kind": "confusion", "pairs": [[one.truth, one.predicted, one.share] for one in pairs]},
    )
