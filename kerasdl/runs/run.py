"""Reads what happened: trials, curves, the ranking, the winner."""

import json
import sqlite3
import tomllib
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.runs import answers, watched
from kerasdl.runs.best import BEST_NAME, Best, best_trial
from kerasdl.runs.database import FILE_NAME, array_from_bytes, connect, readable_errors
from kerasdl.runs.ranking import rank
from kerasdl.runs.regions import PREFIX, Regions, read_regions
from kerasdl.runs.samples import PREFIX as SHOWN
from kerasdl.runs.samples import Samples, read_samples
from kerasdl.runs.sharing import Place
from kerasdl.runs.writer import STUDY_NAME
from kerasdl.watch.table import STATISTICS

if TYPE_CHECKING:
    import pandas as pd

# What `Run.trials` and `Run.table` call their own: no setting that varies can have these names.
_FIRST_COLUMNS = ("trial", "configuration", "seed", "status", "score", "epochs_done")
TRIAL_COLUMNS = (*_FIRST_COLUMNS, "parameters", "seconds", "how", "message")
TABLE_COLUMNS = ("rank", "mean", "std", "low", "high", "repeats", "completed", "diverged", "failed")


class Run:
    """A study that was started: its directory, read and never written.

    Use `Run.open(path)`. Its database is closed by `close`, by the end of a `with` statement, or when nobody holds it.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._close = weakref.finalize(self, connection.close)

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """Opens a run to read it.

        Args:
            path: The run's directory.

        Returns:
            The run. It sees the rows that its writer has committed, also while the writer goes on.

        Raises:
            UserError: There is no run there.
        """
        directory = Path(path)
        return cls(directory, connect(directory))

    def close(self) -> None:
        """Closes the database."""
        self._close()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @cached_property
    def study(self) -> dict[str, Any]:
        """The frozen study as a table."""
        return tomllib.loads((self.path / STUDY_NAME).read_text(encoding="utf-8"))

    @property
    def data(self) -> dict[str, Any]:
        """The facts about the data set: name, rows, classes, features, scaling, source, licence, fingerprint, notes."""
        return self._fact("data")

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, device, backend, git revision."""
        return self._fact("environment")

    @property
    def objective(self) -> tuple[str, str]:
        """The objective's name and its direction, `"max"` or `"min"`."""
        fact = self._fact("objective")
        return fact["name"], fact["direction"]

    @property
    def planned(self) -> int | None:
        """How many trials the study will have at its end, where that is known."""
        return self._fact("planned").get("trials")

    @property
    def retrained(self) -> list[dict[str, Any]]:
        """The best configurations as trained once more on training and validation rows, the best first.

        Each has its `configuration`, its `epochs` and, by metric, the values of its repeats on the test rows.
        """
        return self._fact("retrained").get("configurations", [])

    @property
    def tracked_as(self) -> str:
        """What trackers know the run by; empty where none was told of it."""
        return str(self._fact("tracked").get("as", ""))

    @property
    def finished(self) -> bool:
        """Whether the search came to its end."""
        return bool(self._fact("finished"))

    @property
    def baselines(self) -> dict[str, dict[str, Any]]:
        """What the study's baselines score, by name.

        Each has its `model` in words, its `seconds` of training, and `accuracy`, `val_accuracy` and `test_accuracy`.
        """
        return self._fact("baselines")

    def baseline_answers(self, name: str) -> np.ndarray | None:
        """Returns the class that a baseline predicts for each test row, `(rows,)`; `None` where there is none."""
        return self._arrays(answers.baseline(name)).get(answers.baseline(name))

    @property
    def exported(self) -> dict[str, Any]:
        """What the export of the winner came to; empty while there is none."""
        return self._fact("export")

    @property
    def seconds(self) -> float:
        """How long the search took, over all its sittings, in seconds."""
        return float(self._fact("seconds").get("search", 0.0))

    @property
    def sample(self) -> np.ndarray:
        """Up to 64 raw test rows, float32, `(rows, *features)`."""
        row = self._rows("SELECT content FROM array WHERE name = 'sample'")[0]
        return array_from_bytes(row["content"])

    def _fact(self, name: str) -> dict[str, Any]:
        rows = self._rows("SELECT value FROM fact WHERE name = ?", name)
        return json.loads(rows[0]["value"]) if rows else {}

    def _rows(self, query: str, *parameters: Any) -> list[sqlite3.Row]:
        with readable_errors(self.path / FILE_NAME):
            return self._connection.execute(query, parameters).fetchall()

    def _arrays(self, prefix: str) -> dict[str, np.ndarray]:
        rows = self._rows("SELECT name, content FROM array WHERE name LIKE ?", f"{prefix}%")
        return {row["name"]: array_from_bytes(row["content"]) for row in rows}

    def regions(self) -> Regions | None:
        """Returns what models of two features predict over the plane; `None` where nothing was kept."""
        return read_regions(self._arrays(PREFIX))

    def samples(self) -> Samples:
        """Returns the single rows that the report shows, kept when the run ended."""
        return read_samples(self._arrays(SHOWN))

    @property
    def truth(self) -> np.ndarray:
        """The class of each test row, int64, `(rows,)`; empty where none was kept."""
        found = self._arrays(answers.TRUTH)
        return found.get(answers.TRUTH, np.empty(0)).astype("int64")

    def answers(self, trial: int) -> dict[str, np.ndarray]:
        """Returns what a trial's model answered for each test row; nothing where it was not kept.

        Args:
            trial: The trial's number.

        Returns:
            `predicted`, the class of each row `(rows,)`, and `probability`, float32 `(rows,)`, of that class; of images
            that are segmented `overlap`, uint32 `(rows, classes, 2)`: pixels of a class both in the mask and in the
            prediction, and the sum of those in either.
        """
        start = answers.name(trial, "")
        return {name.removeprefix(start): array for name, array in self._arrays(start).items()}

    def answer_sizes(self) -> dict[int, int]:
        """Returns the bytes of each trial's answers, by its number."""
        query = "SELECT name, LENGTH(content) AS size FROM array WHERE name LIKE ?"
        sizes: dict[int, int] = {}
        for row in self._rows(query, f"{answers.PREFIX}%/%"):
            trial = int(row["name"].removeprefix(answers.PREFIX).split("/")[0])
            sizes[trial] = sizes.get(trial, 0) + row["size"]
        return sizes

    def disagreements(self, best: int | None = None, worst: int | None = None, n: int | None = 5) -> "pd.DataFrame":
        """Returns test rows that one configuration gets right and another wrong, the most confident first.

        The best trial of each configuration answers, that of the winner being the one in `best.keras`; the other
        repeats are counted beside it.

        Args:
            best: The number of the configuration that is right; the run's best where absent.
            worst: The number of the one that is wrong; where absent, the last in the ranking that completed all its
                trials.
            n: How many rows at most; `None` for all.

        Returns:
            Columns `row` (of the test rows, 0 is the first), `truth`, `best` and `worst` (what each says),
            `best_probability` and `worst_probability` (of what each says), `best_right` and `worst_wrong` (the share of
            each one's repeats of which this is true too). By falling `best_probability + worst_probability`.

        Raises:
            UserError: There are not two configurations to compare, or no answers of one were kept.
        """
        return answers.disagreements(self, best, worst, n)

    def confused(self, n: int = 5) -> "pd.DataFrame":
        """Returns the pairs of classes that the winner confuses most, those with most rows first.

        Args:
            n: How many pairs at most.

        Returns:
            Columns `truth`, `predicted`, `count` (test rows, a mean over repeats), `share` (of the rows of the true
            class) and `rows`: those that the model in `best.keras` confuses, a list, the most confident first.

        Raises:
            UserError: No answers of the winner were kept.
        """
        return answers.confused(self, n)

    def image_scores(self, configuration: int | None = None) -> "pd.DataFrame":
        """Returns Dice and IoU of each test image, where the data give a class for each pixel.

        Args:
            configuration: Its number; the winner's where absent.

        Returns:
            One row per trial, the best first, and image: columns `trial`, `seed`, `row` (of the test images), `dice`
            and `iou` (means over the classes that the mask or the prediction holds), and both for each class,
            `dice_NAME` and `iou_NAME`, NaN where neither holds it.

        Raises:
            UserError: Nothing of the kind was kept.
        """
        return answers.image_scores(self, configuration)

    def class_scores(self, configuration: int | None = None) -> "pd.DataFrame":
        """Returns Dice and IoU of each class, counted over the pixels of all test images together.

        Args:
            configuration: Its number; the winner's where absent.

        Returns:
            One row per trial, the best first, and class: columns `trial`, `seed`, `class`, `dice`, `iou`.

        Raises:
            UserError: Nothing of the kind was kept.
        """
        return answers.class_scores(self, configuration)

    def configurations(self) -> dict[int, dict[str, Any]]:
        """Returns the settings of each configuration, by its number."""
        rows = self._rows("SELECT configuration, settings FROM configuration ORDER BY configuration")
        return {row["configuration"]: json.loads(row["settings"]) for row in rows}

    def rounds(self) -> dict[int, list[int]]:
        """Returns the configurations of each round of the oracle, in order."""
        rounds: dict[int, list[int]] = {}
        for row in self._rows("SELECT configuration, round FROM configuration ORDER BY configuration"):
            rounds.setdefault(row["round"], []).append(row["configuration"])
        return rounds

    @property
    def varying(self) -> list[str]:
        """The settings that differ between configurations, in the study's order."""
        settings = list(self.configurations().values())
        names = dict.fromkeys(name for one in settings for name in one)
        ordered = [name for name in self.study.get("space", {}) if name in names]
        ordered += [name for name in names if name not in ordered]
        return [name for name in ordered if len({json.dumps(one.get(name), sort_keys=True) for one in settings}) > 1]

    def trials(self) -> "pd.DataFrame":
        """Returns one row a trial.

        Returns:
            Columns `trial`, `configuration`, `seed`, the settings, `status`, `score`, `epochs_done`, the metrics of the
            last epoch, the test metrics as `test_...`, `parameters`, `seconds`, `how`, `message`. Where a metric has a
            setting's name, the column is the setting's.
        """
        import pandas as pd

        settings = self.configurations()
        last = self._last_epochs()
        rows = []
        for row in self._rows("SELECT * FROM trial ORDER BY trial"):
            own = {name: value for name, value in settings[row["configuration"]].items() if name not in TRIAL_COLUMNS}
            epoch, metrics = last.get(row["trial"], (0, {}))
            test = {f"test_{name}": value for name, value in json.loads(row["test"] or "{}").items()}
            rows.append(
                {
                    "trial": row["trial"],
                    "configuration": row["configuration"],
                    "seed": row["seed"],
                    **own,
                    "status": row["status"],
                    "score": row["score"],
                    # A study may vary `epochs` itself: that column stays the setting.
                    "epochs_done": epoch,
                    **{name: value for name, value in metrics.items() if name not in own},
                    **test,
                    **{name: row[name] for name in ("parameters", "seconds", "how", "message")},
                }
            )
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=TRIAL_COLUMNS)

    def scores(self) -> "pd.DataFrame":
        """Returns the columns `trial`, `configuration`, `status`, `score`, `parameters`, `seconds` of `trials`."""
        import pandas as pd

        names = ["trial", "configuration", "status", "score", "parameters", "seconds"]
        rows = self._rows(f"SELECT {', '.join(names)} FROM trial ORDER BY trial")
        return pd.DataFrame(map(tuple, rows), columns=names)

    def _last_epochs(self) -> dict[int, tuple[int, dict[str, float]]]:
        rows = self._rows("SELECT trial, MAX(epoch) AS epoch, metrics FROM epoch GROUP BY trial")
        return {row["trial"]: (row["epoch"], json.loads(row["metrics"])) for row in rows}

    def waiting(self) -> "pd.DataFrame":
        """Returns how long each trial's epochs took and for how much of it training waited for data.

        Returns:
            Columns `trial`, `seconds`, `waited`; trials that share their epochs have equal shares of both. Where data
            lie on the device, as they do for packs, nothing waits.
        """
        import pandas as pd

        query = "SELECT trial, SUM(seconds), SUM(waited) FROM epoch GROUP BY trial ORDER BY trial"
        return pd.DataFrame(map(tuple, self._rows(query)), columns=["trial", "seconds", "waited"])

    def places(self) -> dict[int, Place]:
        """Returns where each trial ran, by its number; those of which nobody noted it are missing."""
        query = """SELECT trial, program, member, asked, COUNT(epoch) AS done
                   FROM place LEFT JOIN epoch USING (trial) GROUP BY trial"""
        names = ("program", "member", "asked", "done")
        return {row["trial"]: Place(*(row[name] for name in names)) for row in self._rows(query)}

    def gradients(
        self,
        epoch: int | None = None,
        quantities: Sequence[str] | None = None,
        statistics: Sequence[str] = STATISTICS,
    ) -> "pd.DataFrame":
        """Returns what was seen of gradients, where the study has a `[watch]` table.

        Args:
            epoch: Of this epoch alone; 1 is the first.
            quantities: These alone, of `gradient_norm`, `weight_norm`, `update_ratio` and `zero_share`.
            statistics: The columns of statistics to read: a run may hold millions of rows.

        Returns:
            One row per trial, epoch, weight and quantity: columns `trial`, `configuration`, `seed`, `epoch`,
            `position`, `layer`, `variable`, `quantity`, `mean`, `median`, `p05`, `p95`, `maximum` (over the epoch's
            steps, NaN without a finite value), `steps` and `not_finite`.
        """
        return watched.gradients(self._rows, epoch, quantities, statistics)

    def measures(self) -> "pd.DataFrame":
        """Returns what was measured between epochs, where the study's `[watch]` table asks for it.

        Returns:
            One row per trial and epoch (0 is before training): columns `trial`, `configuration`, `seed`, `epoch`, and
            one for each measure, NaN where it was not finite or a model has no such layer.
        """
        return watched.measures(self._rows)

    def curves(self) -> "pd.DataFrame":
        """Returns one row per trial and epoch.

        Returns:
            Columns `trial`, `configuration`, `seed`, `epoch`, each metric (NaN where it was not finite), `seconds`.
        """
        import pandas as pd

        query = """SELECT epoch.trial, configuration, seed, epoch, metrics, epoch.seconds
                   FROM epoch JOIN trial USING (trial) ORDER BY epoch.trial, epoch"""
        rows = [
            {
                **{name: row[name] for name in ("trial", "configuration", "seed", "epoch")},
                **json.loads(row["metrics"]),
                "seconds": row["seconds"],
            }
            for row in self._rows(query)
        ]
        keys = ["trial", "configuration", "seed", "epoch"]
        frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=[*keys, "seconds"])
        metrics = [name for name in frame.columns if name not in keys]
        frame[metrics] = frame[metrics].astype("float64")
        return frame

    def table(self) -> "pd.DataFrame":
        """Returns one row a configuration, the best first.

        Returns:
            Columns `rank`, `configuration`, the settings that vary, `mean`, `std`, `low`, `high` (a 95 % interval of
            the mean by Student's t over repeats), `repeats`, `completed`, `diverged`, `failed`, the means of the test
            metrics as `test_...`, `parameters`, `seconds`. A configuration that diverged or failed in some repeat ranks
            below those that never did.
        """
        return rank(self.trials(), self.varying, self.objective[1], self.overlap)

    def standing(self) -> "pd.DataFrame":
        """Returns `table` without settings and test metrics, in a fraction of its time."""
        return rank(self.scores(), [], self.objective[1], self.overlap)

    @property
    def overlap(self) -> float:
        """Validation rows by training rows where repeats are folds of a cross-validation, else 0."""
        folds = self.study.get("folds")
        return 1 / (folds - 1) if folds else 0.0

    @property
    def best(self) -> Best | None:
        """The winner, or `None` while no configuration has a completed trial with a score."""
        table = self.table()
        if table.empty or not np.isfinite(table.iloc[0]["mean"]):
            return None
        first = table.iloc[0]
        number = int(first["configuration"])
        trial = best_trial(self.scores(), number, self.objective[1])
        scores: dict[str, Any] = {name: float(first[name]) for name in ("mean", "std", "low", "high")}
        tests = [name for name in table.columns if name.startswith("test_")]
        scores["test"] = {name.removeprefix("test_"): float(first[name]) for name in tests}
        return Best(number, trial, self.configurations()[number], scores, self.path / BEST_NAME)

    def confusion(self, configuration: int) -> np.ndarray:
        """Returns the test rows of a configuration by true and predicted class, summed over its repeats.

        Returns:
            int64, `(classes, classes)`; the first axis is the truth.
        """
        classes = len(self.data["classes"])
        matrix = np.zeros((classes, classes), dtype="int64")
        query = """SELECT truth, predicted, SUM(rows) AS rows FROM confusion JOIN trial USING (trial)
                   WHERE configuration = ? GROUP BY truth, predicted"""
        for row in self._rows(query, configuration):
            matrix[row["truth"], row["predicted"]] = row["rows"]
        return matrix

    def events(self) -> "pd.DataFrame":
        """Returns what was noted along the way: columns `time`, `kind`, `message`."""
        import pandas as pd

        rows = self._rows("SELECT time, kind, message FROM event ORDER BY event")
        return pd.DataFrame([tuple(row) for row in rows], columns=["time", "kind", "message"])

    def summary(self) -> dict[str, Any]:
        """Returns what `summary.json` holds."""
        from kerasdl.runs.summary import summarize

        return summarize(self)

    def report(self) -> Path:
        """Writes `report.html` and the figures again from what the run holds, and returns the page's path."""
        from kerasdl.report import write_report

        return write_report(self)
