"""Counts the trials that diverged or failed, by level."""

from collections.abc import Iterator
from typing import Any

from kerasdl.report.finding import Finding
from kerasdl.report.scores import Scores
from kerasdl.report.statistics import wilson
from kerasdl.report.words import plural, sentence, setting_name, value

MOST_CONFIGURATIONS = 5


def count_by_level(scores: Scores, setting: str, status: str = "diverged") -> list[tuple[Any, int, int]]:
    """Counts ended trials by the level of a setting.

    Args:
        scores: The scores.
        setting: The setting.
        status: How the counted trials ended.

    Returns:
        For each level: the level, how many ended so, and how many ended.
    """
    found = []
    for level, rows in scores.rows_by_level(setting):
        ends = [end for index in rows for end in scores.status[index] if end not in ("", "running")]
        found.append((level, sum(end == status for end in ends), len(ends)))
    return found


def find_divergence(scores: Scores) -> list[Finding]:
    """States how often training diverged: in all, by the levels that stand out, and by the configurations left over."""
    ended = [end for row in scores.status for end in row if end not in ("", "running")]
    diverged = sum(end == "diverged" for end in ended)
    found = list(_failures(scores, len(ended)))
    if not diverged:
        return found
    low, high = wilson(diverged, len(ended))
    found.append(
        Finding(
            f"{diverged} of {plural(len(ended), 'trial')} diverged: the loss was no longer a finite number.",
            True,
            {"kind": "divergence", "diverged": diverged, "trials": len(ended), "low": low, "high": high},
        )
    )
    explained: set[int] = set()
    for setting in scores.varying:
        found.extend(_levels_that_stand_out(scores, setting, explained))
    found.extend(_configurations(scores, explained))
    return found


def _levels_that_stand_out(scores: Scores, setting: str, explained: set[int]) -> Iterator[Finding]:
    counts = count_by_level(scores, setting)
    all_diverged, all_ended = sum(count[1] for count in counts), sum(count[2] for count in counts)
    for (level, diverged, ended), (_, rows) in zip(counts, scores.rows_by_level(setting), strict=True):
        low, high = wilson(diverged, ended)
        others = all_ended - ended
        if diverged == 0 or others == 0 or low <= wilson(all_diverged - diverged, others)[1]:
            continue
        explained.update(rows)
        noun = "repeat" if len(scores.varying) == 1 else "trial"
        yield Finding(
            f"{sentence(setting_name(setting))} {value(level)} diverged in {diverged} of {plural(ended, noun)} "
            f"(rate {100 * low:.0f} to {100 * high:.0f}\u00a0%, 95\u00a0% Wilson interval; "
            f"at the other values {all_diverged - diverged} of {others}).",
            True,
            {
                "kind": "divergence",
                "setting": setting,
                "level": level,
                "diverged": diverged,
                "trials": ended,
                "low": low,
                "high": high,
            },
        )


def _configurations(scores: Scores, explained: set[int]) -> Iterator[Finding]:
    spoilt = [
        (index, sum(end == "diverged" for end in row), sum(end not in ("", "running") for end in row))
        for index, row in enumerate(scores.status)
        if index not in explained and "diverged" in row
    ]
    if len(spoilt) > MOST_CONFIGURATIONS or not scores.varying:
        return
    for index, diverged, ended in spoilt:
        low, high = wilson(diverged, ended)
        yield Finding(
            f"{sentence(scores.describe(index))} diverged in {diverged} of {plural(ended, 'repeat')} "
            f"(rate {100 * low:.0f} to {100 * high:.0f}\u00a0%, 95\u00a0% Wilson interval).",
            True,
            {
                "kind": "divergence",
                "configuration": scores.configurations[index],
                "diverged": diverged,
                "trials": ended,
                "low": low,
                "high": high,
            },
        )


def _failures(scores: Scores, ended: int) -> Iterator[Finding]:
    failed = int((scores.status == "failed").sum())
    if failed:
        yield Finding(
            f"{failed} of {plural(ended, 'trial')} failed with an error; their messages stand under the trials.",
            True,
            {"kind": "failure", "failed": failed, "trials": ended},
        )
