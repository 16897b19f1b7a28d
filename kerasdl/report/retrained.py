"""What came after the first search: searches round its best, and the best trained once more and tested once."""

from collections.abc import Iterator

import numpy as np

from kerasdl.report.evidence import Evidence
from kerasdl.report.finding import Finding
from kerasdl.report.statistics import ALPHA, mean_test
from kerasdl.report.tables import Table
from kerasdl.report.words import change, listed, mean_of, metric_name, plural, score, span


def find_refined(evidence: Evidence) -> Iterator[Finding]:
    """Says what the searches round the best gained over the first search.

    The best of the later configurations is compared with the best of the first, paired by seed. It was chosen as the
    best of several, so its interval is widened for their number (Bonferroni).
    """
    scores = evidence.scores
    whole = np.isfinite(scores.values).all(axis=1)
    planned = np.isin(scores.configurations, evidence.planned.configurations)
    if not (whole & planned).any() or not (whole & ~planned).any():
        return
    means = np.where(whole, scores.sign * scores.means, -np.inf)
    before, after = (int(np.argmax(np.where(own, means, -np.inf))) for own in (planned, ~planned))
    tried = int((whole & ~planned).sum())
    test = mean_test(scores.values[after] - scores.values[before], scores.step, scores.overlap)
    low, high = test.interval(ALPHA / tried)
    gains = bool((low if scores.sign > 0 else -high) > 0)
    within = f" ({span(scores.objective, low, high)}; paired over {plural(len(scores.seeds), 'seed')})"
    yield Finding(
        f"The search round the best ({plural(tried, 'configuration')}) comes to {scores.describe(after)}: "
        f"{change(scores.objective, test.mean)} of {metric_name(scores.objective)} against the best of the first "
        f"search, {scores.describe(before)}{within if np.isfinite(low) else ''}: {'a' if gains else 'no'} sure gain.",
        gains,
        {
            "kind": "refined",
            "before": scores.configurations[before],
            "after": scores.configurations[after],
            "difference": test.mean,
            "low": low,
            "high": high,
        },
    )


def find_retrained(evidence: Evidence) -> Iterator[Finding]:
    """Says what the best test at once they were trained on training and validation rows together."""
    scores, found = evidence.scores, [one for one in evidence.run.retrained if one["test"]]
    metric = scores.objective.removeprefix("val_")
    parts = []
    for one in found:
        if metric in one["test"]:
            name = scores.describe(scores.configurations.index(int(one["configuration"])))
            parts.append(f"{name} {mean_of(metric, one['test'][metric], none='diverged')}")
    if parts:
        yield Finding(
            f"Trained once more on training and validation rows, and tested once ({metric_name(f'test_{metric}')}, "
            f"mean ± half of the 95\u00a0% interval over seeds): {listed(parts)}.",
            True,
            {"kind": "retrained", "configurations": found},
        )


def retrained_table(evidence: Evidence) -> Table | None:
    """Returns what the best came to when they were trained once more, or `None` where none was."""
    found = evidence.run.retrained
    if not found:
        return None
    scores = evidence.scores
    metrics = list(dict.fromkeys(name for one in found for name in one["test"]))
    before = {int(row["configuration"]): row for row in evidence.table.to_dict("records")}
    rows = []
    for place, one in enumerate(found, start=1):
        number_ = int(one["configuration"])
        rows.append(
            [
                f"{place}",
                scores.describe(scores.configurations.index(number_)),
                f"{one['epochs']}",
                score(scores.objective, float(before[number_]["mean"])),
                *(mean_of(name, one["test"].get(name, []), none="diverged") for name in metrics),
            ]
        )
    head = ["", "configuration", "epochs", f"{metric_name(scores.objective)} in the search"]
    head += [metric_name(f"test_{name}") for name in metrics]
    return Table(
        "The best, trained once more on training and validation rows together",
        head,
        rows,
        [True, False, *(True for _ in head[2:])],
        note="Tested once, after all choices were made; means ± half of the 95\u00a0% interval over seeds.",
    )
