"""The tables of the page, as text that is ready to show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kerasdl.report.classes import most_confused
from kerasdl.report.evidence import Evidence
from kerasdl.report.references import compare_references, same_data
from kerasdl.report.words import change, describe, is_share, metric_name, number, plural, score, setting_name, value

MOST_ROWS = 30
MOST_EVENTS = 60
MOST_MESSAGES = 10


@dataclass(frozen=True)
class Table:
    """A table to show.

    Attributes:
        caption: What it holds.
        head: The columns' names.
        rows: The cells, text; the first cell of a row names it.
        numeric: For each column, whether it is set flush right.
        marked: Indices of rows that need a look (diverged, failed).
        note: What stands below it.
    """

    caption: str
    head: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    marked: frozenset[int] = frozenset()
    note: str = ""


def ranking_table(evidence: Evidence) -> Table:
    """Returns the ranking, the first thirty configurations."""
    table, scores = evidence.table, evidence.scores
    tests = [str(name) for name in table.columns if str(name).startswith("test_")]
    objective = scores.objective
    columns = [str(name) for name in scores.varying]
    head = [
        "",
        *(setting_name(name) for name in columns),
        f"{metric_name(objective)}, mean",
        "std",
        "95\u00a0% interval",
    ]
    head += [metric_name(name) for name in tests] + ["parameters", "seconds", "repeats"]
    place = evidence.standing
    tied = {place.winner, *place.tied} if place else set()
    rows, marked = [], set()
    for position, entry in enumerate(table.head(MOST_ROWS).to_dict("records")):
        index = scores.configurations.index(entry["configuration"])
        rows.append(
            [
                f"{entry['rank']}{'*' if index in tied and len(tied) > 1 and evidence.winner_repeats > 1 else ''}",
                *(value(scores.settings[index].get(name)) for name in columns),
                score(objective, entry["mean"]),
                change(objective, entry["std"], with_unit=False, signed=False),
                _interval(objective, entry["low"], entry["high"]),
                *(score(name, entry[name]) for name in tests),
                _count(entry["parameters"]),
                number(entry["seconds"], 3),
                _repeats(entry),
            ]
        )
        if entry["completed"] < entry["repeats"]:
            marked.add(position)
    numeric = [True, *(False for _ in columns), True, True, True, *(True for _ in tests), True, True, False]
    more = len(table) - MOST_ROWS
    notes = [f"The first {MOST_ROWS}; {plural(more, 'more configuration')} ranked below."] if more > 0 else []
    if any(row[0].endswith("*") for row in rows):
        notes.append("* cannot be told from the winner by paired comparison.")
    if marked:
        notes.append("A configuration that diverged or failed with some seed ranks below those that never did.")
    if scores.overlap:
        notes.append(
            "Repeats are folds that share most of their training rows: intervals and comparisons are widened for it "
            "(Nadeau and Bengio, 2003)."
        )
    notes.append("Seconds are the sum of its trials' shares of the time.")
    caption = f"{plural(len(table), 'configuration')}, the best {metric_name(objective)} first"
    return Table(caption, head, rows, numeric, frozenset(marked), " ".join(notes))


def _interval(name: str, low: float, high: float) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return "unknown"
    if is_share(name):
        # Student's interval knows no bounds; a share does.
        low, high = max(0.0, low), min(1.0, high)
    return f"{score(name, low)} to {score(name, high)}"


def _count(content: Any) -> str:
    return f"{content:,.0f}" if content is not None and math.isfinite(content) else "n/a"


def _repeats(entry: dict[Any, Any]) -> str:
    running = entry["repeats"] - entry["completed"] - entry["diverged"] - entry["failed"]
    lost = [f"{entry[name]} {name}" for name in ("diverged", "failed") if entry[name]]
    lost += [f"{running} running"] if running else []
    return f"{entry['repeats']} ({', '.join(lost)})" if lost else str(entry["repeats"])


def confused_table(evidence: Evidence) -> Table | None:
    """Returns the winner's most confused pairs of classes, or `None` where test rows were not counted by class."""
    if evidence.confusion is None:
        return None
    names = [str(name) for name in evidence.run.data["classes"]]
    pairs = most_confused(evidence.confusion, names, max(1, evidence.winner_repeats))
    rows = [[pair.truth, pair.predicted, number(pair.rows, 3), f"{100 * pair.share:.1f}\u00a0%"] for pair in pairs]
    if not rows:
        return None
    head = ["true class", "taken for", f"{evidence.counted} per repeat", "of the true class"]
    return Table("The pairs that the winner confuses most", head, rows, [False, False, True, True])


def class_table(evidence: Evidence) -> Table | None:
    """Returns the winner's accuracy on the classes it knows worst, or `None` where it is unknown."""
    entries = evidence.class_accuracies
    if not entries:
        return None
    rows = [
        [
            entry.name,
            f"{entry.rows:,.0f}",
            score("accuracy", entry.accuracy),
            f"{score('accuracy', entry.low)} to {score('accuracy', entry.high)}",
            "yes" if entry.below else "no",
        ]
        for entry in entries[:12]
    ]
    head = ["class", "test rows", "accuracy", "95\u00a0% Wilson interval", "surely below average"]
    worst = (
        f"The {len(rows)} worst of {len(entries)} classes"
        if len(entries) > len(rows)
        else "All classes, the worst first"
    )
    return Table(worst, head, rows, [False, True, True, True, False])


def reference_table(evidence: Evidence) -> Table | None:
    """Returns published figures beside ours, or `None` where the study has none."""
    found, alike = compare_references(evidence), same_data(evidence)
    if not found:
        return None
    rows = []
    for item in found:
        matched = math.isfinite(item.ours)
        ours = score(item.metric, item.ours) if matched else "no match" if not item.configurations else "none"
        if math.isfinite(item.low):
            ours += f" ± {change(item.metric, (item.high - item.low) / 2, with_unit=False, signed=False)}"
        note = [f"average of {item.configurations} configurations"] if item.configurations > 1 and matched else []
        rows.append(
            [
                item.source or "published",
                describe(item.settings, list(item.settings)) if item.settings else "any",
                metric_name(item.metric),
                score(item.metric, item.theirs),
                ours,
                change(item.metric, item.difference) if matched else "",
                *([_yes(one) if matched else "" for one in (item.inside, item.inside_single)] if alike else []),
                "; ".join([*note, *([item.note] if item.note else [])]),
            ]
        )
    head = [
        "source",
        "settings",
        "metric",
        "theirs",
        "ours",
        "ours \u2212 theirs",
        *(["in our interval", "could be one run"] if alike else []),
        "note",
    ]
    reference = evidence.run.study["reference"]
    return Table(
        str(reference.get("title", "Published figures beside ours")),
        head,
        rows,
        [name in ("theirs", "ours", "ours \u2212 theirs") for name in head],
        note="Ours: mean ± half of its 95\u00a0% interval over seeds. " + (_ONE_RUN if alike else _OTHER_DATA),
    )


_ONE_RUN = (
    "A published figure mostly is a single run, so the last question is whether it lies in the 95\u00a0% prediction "
    "interval for one more run of ours."
)
_OTHER_DATA = "They are of another data set: their order can be compared, not their level."


def _yes(content: bool | None) -> str:
    return "unknown" if content is None else "yes" if content else "no"


def message_table(evidence: Evidence) -> Table | None:
    """Returns the messages of trials that diverged or failed, or `None` where there is none."""
    trials = evidence.trials
    bad = trials[trials["status"].isin(["diverged", "failed"])]
    if bad.empty:
        return None
    scores = evidence.scores
    rows = [
        [
            scores.describe(scores.configurations.index(entry["configuration"])),
            value(entry["seed"]),
            entry["status"],
            entry["message"] if isinstance(entry["message"], str) else "",
        ]
        for entry in bad.head(MOST_MESSAGES).to_dict("records")
    ]
    more = len(bad) - MOST_MESSAGES
    note = f"The first {MOST_MESSAGES}; {more} more." if more > 0 else ""
    head = ["configuration", "seed", "end", "message"]
    return Table("Trials that diverged or failed", head, rows, [False, True, False, False], note=note)


def event_table(evidence: Evidence) -> Table | None:
    """Returns what was noted along the way, or `None` where nothing was."""
    events = evidence.run.events()
    if events.empty:
        return None
    rows = [[str(cell) for cell in row] for row in events.tail(MOST_EVENTS).itertuples(index=False)]
    note = f"The last {MOST_EVENTS} of {len(events)}." if len(events) > MOST_EVENTS else ""
    return Table("Events", ["time (UTC)", "kind", "message"], rows, [False, False, False], note=note)


def fact_rows(facts: dict[str, Any], names: Sequence[str]) -> list[tuple[str, str]]:
    """Returns facts as pairs of text, the named ones first, nested ones with their names joined."""
    ordered = [name for name in names if name in facts] + [name for name in facts if name not in names]
    rows = []
    for name in ordered:
        content = facts[name]
        if isinstance(content, dict):
            shown = ", ".join(
                f"{key} {item if isinstance(item, str) else value(item)}" for key, item in content.items()
            )
        else:
            shown = value(content)
        if shown:
            rows.append((setting_name(name), shown))
    return rows
