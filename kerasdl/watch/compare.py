"""Batch normalization on and off, compared as an experiment."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasdl.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from kerasdl.data import Dataset
    from kerasdl.runs import Run
    from kerasdl.tune import Study

_WHERE = "compare_batch_norm"
SETTING = "batch_norm"

# From where plain gradient descent hardly moves to where it diverges, half a decade apart.
LEARNING_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class BatchNormComparison:
    """What a comparison found.

    Attributes:
        run: The run: every trial of both arms, with what was measured along the gradient after each epoch.
    """

    def __init__(self, run: "Run") -> None:
        self.run = run

    def table(self) -> "pd.DataFrame":
        """Returns what the arms come to, each at its own best learning rate, paired by seed.

        Returns:
            A row for each quantity (epochs to a common target, final metrics, the gap between training and inference
            mode, loss variation, gradient change, effective smoothness) at each combination of the other settings:
            columns of those settings, `quantity`, `off`, `on` (means over seeds), `difference` (on - off), `low`,
            `high` (its 95 % interval by Student's t).
        """
        import pandas as pd

        from kerasdl.report.arms import pairs
        from kerasdl.report.evidence import gather

        rows = []
        for pair in pairs(gather(self.run)):
            for row in pair.rows:
                low, high = row.test.interval()
                means = {name: pd.Series(values).mean() for name, values in (("off", row.off), ("on", row.on))}
                numbers = {**means, "difference": row.test.mean, "low": low, "high": high}
                rows.append({**pair.rest, "quantity": row.name, **numbers})
        return pd.DataFrame(rows)

    def learning_rates(self) -> "pd.DataFrame":
        """Returns which learning rates train.

        Returns:
            A row for each arm and learning rate at each combination of the other settings: columns of those settings,
            `batch_norm`, `learning_rate`, `mean` (the objective over seeds, NaN where one did not complete), `trains`
            (whether it comes near the weaker arm's best), `best` (whether the arm is compared at it).
        """
        import pandas as pd

        from kerasdl.report.arms import pairs
        from kerasdl.report.evidence import gather

        rows = []
        for pair in pairs(gather(self.run)):
            for arm in pair.arms:
                trains = pair.trains(arm)
                for rate, mean in zip(arm.rates, arm.means, strict=True):
                    found = {"learning_rate": rate, "mean": mean, "trains": rate in trains, "best": rate == arm.rate}
                    rows.append({**pair.rest, SETTING: arm.on, **found})
        return pd.DataFrame(rows)

    def report(self) -> Path:
        """Writes the run's report, with the comparison's tables and figure, and returns the path of its page."""
        from kerasdl.report import write_report

        return write_report(self.run)


def compare_batch_norm(
    model: "Study | str | Callable[..., Any]",
    data: "str | Dataset | None" = None,
    *,
    learning_rates: Sequence[float] = LEARNING_RATES,
    batch_sizes: Sequence[int] = (128,),
    repeats: int = 5,
    epochs: int = 15,
    optimizer: str = "sgd",
    fixed: Mapping[str, Any] | None = None,
    directory: str | Path | None = None,
    progress: bool = True,
) -> BatchNormComparison:
    """Trains a model with and without batch normalization and compares each at the learning rate that suits it.

    Both arms see the same batches and, where the builder draws the same weights in the same order, start from the same
    other weights; each learning rate is tried with each seed. After each epoch the loss is followed along its gradient,
    as in S. Santurkar, D. Tsipras, A. Ilyas, A. Madry, How Does Batch Normalization Help Optimization?, NeurIPS 2018;
    see `kerasdl.watch.along_gradient`. Trials run as packs.

    Example:

    ```python
    found = compare_batch_norm("mlp", "digits", fixed={"depth": 6}, epochs=5)
    print(found.table())
    ```

    Args:
        model: A study that varies `batch_norm` and `learning_rate`, whose own settings then hold; or what builds the
            model: a shipped model's name, `"file.py:function"` or a function, with an argument `batch_norm`.
        data: What to learn from, as in a study: a specification or a `Dataset`. Studies have their own.
        learning_rates: Those that each arm tries.
        batch_sizes: The sizes at which the arms are compared.
        repeats: Seeds.
        epochs: Epochs of each trial.
        optimizer: Name of the optimizer.
        fixed: Settings of the model and the optimizer that do not vary.
        directory: The run's directory; `runs/NAME` by default. A run that is there is gone on with.
        progress: Whether to show progress where there is a terminal.

    Returns:
        What was found.

    Raises:
        UserError: The study does not vary what is compared, or something cannot be used.
    """
    from kerasdl.tune import Study
    from kerasdl.tune.watching import Watching

    if isinstance(model, Study):
        lacking = [name for name in (SETTING, "learning_rate") if name not in model.space]
        if lacking:
            raise UserError(f"{_WHERE}: the study does not vary {' and '.join(lacking)}; name them in its space")
        study = model.model_copy(update={"watch": Watching(gradients=False, along_gradient=True)})
    else:
        if data is None:
            raise UserError(f"{_WHERE}: no data; give it beside the model, such as data='digits'")
        study = Study(
            __place__=_WHERE,
            name="compare_batch_norm",
            data=data,
            model=model,
            optimizer=optimizer,
            repeats=repeats,
            epochs=epochs,
            fixed={**(fixed or {})},
            space={
                SETTING: [False, True],
                "learning_rate": [*map(float, learning_rates)],
                **({"batch_size": [*batch_sizes]} if len(batch_sizes) > 1 else {}),
            },
            **({"batch_size": batch_sizes[0]} if len(batch_sizes) == 1 else {}),
            watch={"gradients": False, "along_gradient": True},
        )
    return BatchNormComparison(study.run(directory, progress=progress, export=False))
