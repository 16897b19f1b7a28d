"""What was watched while trials trained, as tables."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kerasdl.runs.writer import GRADIENT_COLUMNS
from kerasdl.watch.table import STATISTICS

if TYPE_CHECKING:
    import pandas as pd

Rows = Callable[..., list[sqlite3.Row]]


def gradients(
    rows: Rows, epoch: int | None, quantities: Sequence[str] | None, statistics: Sequence[str]
) -> "pd.DataFrame":
    """Returns what `Run.gradients` describes.

    Args:
        rows: Asks a run's database: a query and its parameters.
        epoch: Of this epoch alone.
        quantities: These alone.
        statistics: The columns of statistics to read.
    """
    import pandas as pd

    read = [name for name in GRADIENT_COLUMNS if name in statistics or name not in STATISTICS]
    columns = ["trial", "configuration", "seed", *read]
    asked = {"epoch": () if epoch is None else (epoch,), "quantity": tuple(quantities or ())}
    conditions = [f"{name} IN ({', '.join('?' * len(values))})" for name, values in asked.items() if values]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    query = f"SELECT {', '.join(columns)} FROM gradient JOIN trial USING (trial) {where}"
    found = rows(f"{query} ORDER BY trial, epoch, position", *asked["epoch"], *asked["quantity"])
    frame = pd.DataFrame(map(tuple, found), columns=columns)
    return frame.astype(dict.fromkeys((name for name in read if name in STATISTICS), float))


def measures(rows: Rows) -> "pd.DataFrame":
    """Returns what `Run.measures` describes.

    Args:
        rows: Asks a run's database.
    """
    import pandas as pd

    keys = ["trial", "configuration", "seed", "epoch"]
    query = "SELECT trial, configuration, seed, epoch, name, value FROM measure JOIN trial USING (trial)"
    found = pd.DataFrame([tuple(row) for row in rows(query)], columns=[*keys, "name", "value"])
    if found.empty:
        return found[keys]
    found["value"] = found["value"].astype(float)
    return found.set_index([*keys, "name"])["value"].unstack("name").reset_index().rename_axis(columns=None)
