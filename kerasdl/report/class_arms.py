"""How well each class is recognized by each of a few configurations."""

import numpy as np

from kerasdl.report.evidence import Evidence
from kerasdl.report.tables import Table
from kerasdl.report.words import number, score

MOST_CONFIGURATIONS = 6
MOST_CLASSES = 40


def class_arms_table(evidence: Evidence) -> Table | None:
    """Returns the test accuracy of each class by configuration, with what each costs.

    Returns:
        The table; `None` where there are not two to six configurations whose test rows were counted, no classes, or
        too many of them to read.
    """
    run, scores = evidence.run, evidence.scores
    names = [str(name) for name in run.data.get("classes", [])]
    segmented = run.data.get("task") == "segmentation"
    if segmented or not 1 < len(scores.configurations) <= MOST_CONFIGURATIONS or not 0 < len(names) <= MOST_CLASSES:
        return None
    ranked = [scores.configurations.index(int(one)) for one in evidence.table["configuration"]]
    counted = {index: run.confusion(scores.configurations[index]) for index in ranked}
    shown = {index: matrix for index, matrix in counted.items() if matrix.any()}
    if len(shown) < 2:
        return None
    present = [place for place in range(len(names)) if any(matrix[place].any() for matrix in shown.values())]
    rows = [[names[place], *(_share(matrix, place) for matrix in shown.values())] for place in present]
    rows.append(["all rows", *(score("accuracy", np.trace(matrix) / matrix.sum()) for matrix in shown.values())])
    rows.append(["parameters", *(f"{scores.parameters[index]:,.0f}" for index in shown)])
    seconds = dict(zip(evidence.table["configuration"], evidence.table["seconds"], strict=True))
    spent = [float(seconds[scores.configurations[index]]) / len(scores.seeds) for index in shown]
    rows.append(["seconds of a trial", *(number(one, 3) for one in spent)])
    return Table(
        "Test accuracy of each class by configuration, the best first",
        ["class", *(scores.describe(index) for index in shown)],
        rows,
        [False, *(True for _ in shown)],
        note="Means over repeats.",
    )


def _share(matrix: np.ndarray, place: int) -> str:
    rows = matrix[place].sum()
    return score("accuracy", matrix[place, place] / rows) if rows else "n/a"
