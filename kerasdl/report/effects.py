"""Puts what each setting does into sentences."""

import math
from collections.abc import Iterator
from typing import Any

from kerasdl.report.comparisons import Comparison
from kerasdl.report.evidence import Evidence
from kerasdl.report.finding import Finding
from kerasdl.report.scores import Scores, is_numeric
from kerasdl.report.words import change, metric_name, number, plural, sentence, setting_name, span, value

# With fewer values there is no course that could go on.
FEWEST_FOR_EDGES = 3
_LEAST = {"batch_size": 1, "epochs": 1, "width": 1}


def find_effects(evidence: Evidence) -> Iterator[Finding]:
    """Puts the comparisons of each setting's levels into words; pairs that are not settled share a sentence."""
    scores = evidence.scores
    open_pairs: dict[str, list[Comparison]] = {}
    for item in sorted(evidence.comparisons, key=lambda item: (not item.sure, -abs(item.test.mean))):
        if not item.sure and item.kind == "setting":
            open_pairs.setdefault(item.setting, []).append(item)
            continue
        words = _trend if item.kind == "trend" else _difference
        yield Finding(words(item, scores), item.sure, _numbers(item))
    for setting, items in open_pairs.items():
        if len(items) <= 2:
            yield from (Finding(_difference(item, scores), False, _numbers(item)) for item in items)
            continue
        total = sum(item.setting == setting and item.kind == "setting" for item in evidence.comparisons)
        count = f"none of its {total} pairs" if total == len(items) else f"{len(items)} of its {total} pairs"
        verb = "is" if total == len(items) else "are not"
        largest = _difference(items[0], scores)
        yield Finding(
            f"{sentence(setting_name(setting))}: {count} of values {verb} settled. The largest difference: {largest}",
            False,
            {**_numbers(items[0]), "pairs": [_numbers(item) for item in items]},
        )


def _numbers(item: Comparison) -> dict[str, Any]:
    low, high = item.interval
    return {
        "kind": item.kind,
        "setting": item.setting,
        "first": item.first,
        "second": item.second,
        "difference" if item.kind == "setting" else "correlation": item.test.mean,
        "low": low,
        "high": high,
        "p": item.test.p,
        "p_adjusted": item.p_adjusted,
        "cells": item.cells,
        "units": item.units,
    }


def _basis(item: Comparison) -> str:
    if not item.cells:
        return f"{item.units} independent configurations"
    if item.cells == 1:
        return f"paired over {plural(item.units, 'seed')}"
    left_out = f" of {item.possible}" if item.cells < item.possible else ""
    return f"{item.cells}{left_out} pairs × {plural(item.units, 'seed')}"


def _difference(item: Comparison, scores: Scores) -> str:
    objective, sign = scores.objective, scores.sign
    low, high = item.interval
    difference, better, worse = item.test.mean, item.second, item.first
    if difference * sign < 0:
        difference, low, high, better, worse = -difference, -high, -low, worse, better
    within = f"{span(objective, low, high)}; " if math.isfinite(low) else "no interval; "
    detail = f"{change(objective, difference)} of {metric_name(objective)} ({within}{_basis(item)})"
    head = f"{sentence(setting_name(item.setting))} {value(better)}"
    if item.sure:
        return f"{head} is better than {value(worse)}: {detail}."
    return f"{head} against {value(worse)}: {detail}."


def _trend(item: Comparison, scores: Scores) -> str:
    low, high = item.interval
    low, high = max(low, -1.0), min(high, 1.0)
    within = f"{number(low, 2)} to {number(high, 2)}; " if math.isfinite(item.test.error) else "no interval; "
    detail = f"Spearman's correlation {number(item.test.mean, 2)} ({within}{_basis(item)})"
    name, metric = setting_name(item.setting), metric_name(scores.objective)
    if item.sure:
        return f"{sentence(metric)} {'rises' if item.test.mean > 0 else 'falls'} with {name}: {detail}."
    return f"{sentence(metric)} with {name}: {detail}."


def find_reversals(evidence: Evidence) -> Iterator[Finding]:
    """Puts the settings whose effect surely changes its sign with another setting into words."""
    objective = evidence.scores.objective
    for item in evidence.reversals:
        other, metric = setting_name(item.other), metric_name(objective)
        parts = [
            f"{change(objective, test.mean)} ({span(objective, *interval)}) at {other} {value(level)}"
            for level, test, interval, _ in item.effects
        ]
        yield Finding(
            f"What {setting_name(item.setting)} does depends on {other}: {value(item.second)} instead of "
            f"{value(item.first)} changes {metric} by {', '.join(parts)}.",
            True,
            {
                "kind": "interaction",
                "setting": item.setting,
                "other": item.other,
                "first": item.first,
                "second": item.second,
                "effects": [
                    {"level": level, "difference": test.mean, "low": interval[0], "high": interval[1], "p_adjusted": p}
                    for level, test, interval, p in item.effects
                ],
            },
        )


def find_edges(evidence: Evidence) -> Iterator[Finding]:
    """Names the numbers of which the winner has the largest or the smallest that was tried: the best may lie beyond."""
    scores = evidence.scores
    if evidence.winner is None:
        return
    own = scores.settings[evidence.winner]
    for setting in scores.varying:
        levels = scores.levels(setting)
        if len(levels) < FEWEST_FOR_EDGES or not is_numeric(levels) or own.get(setting) not in (levels[0], levels[-1]):
            continue
        largest = own[setting] == levels[-1]
        # Below nothing, or one row, there is nothing to try.
        if not largest and levels[0] <= _LEAST.get(setting, 0):
            continue
        end, beyond = ("largest", "larger") if largest else ("smallest", "smaller")
        name = f"{setting_name(setting)}, {value(own[setting])}"
        yield Finding(
            f"The winner's {name}, is the {end} that was tried: {beyond} ones may do better.",
            False,
            {"kind": "edge", "setting": setting, "level": own[setting], "largest": largest},
        )
