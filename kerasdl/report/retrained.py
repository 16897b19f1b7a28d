"""The best configurations, trained once more on training and validation rows and tested once."""

import numpy as np

from kerasdl.report.evidence import Evidence
from kerasdl.report.statistics import mean_test
from kerasdl.report.tables import Table
from kerasdl.report.words import mean_with_half, metric_name, score


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
                *(_shown(name, one["test"].get(name, [])) for name in metrics),
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


def _shown(metric: str, values: list[float]) -> str:
    if not values:
        return "diverged"
    low, high = mean_test(values).interval()
    return mean_with_half(metric, float(np.mean(values)), (high - low) / 2)
