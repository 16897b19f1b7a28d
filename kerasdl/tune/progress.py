"""Shows a person what runs, how far it is and how long still; quiet where nobody looks."""

from collections.abc import Collection, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from kerasdl.train import Trial
from kerasdl.tune.study import Study


class Progress:
    """Progress of one sitting, on standard error. Use it as a context manager.

    Args:
        study: What runs.
        enabled: Whether to show anything; a console that is no terminal shows nothing either way but notes.
    """

    def __init__(self, study: Study, *, enabled: bool) -> None:
        self._goal = study.goal
        self._console = Console(stderr=True, quiet=not enabled)
        self._bars = Bars(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            disable=not (enabled and self._console.is_terminal),
        )
        self._trials = self._bars.add_task("trials", total=None, note="")
        self._epochs = self._bars.add_task("epochs", total=None, note="")
        self._batches = self._bars.add_task("batches", total=None, note="", visible=False)
        self._left: dict[int, int] = {}
        self._best: float | None = None

    def __enter__(self) -> "Progress":
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def say(self, activity: str) -> None:
        """Shows what is being done now."""
        self._bars.update(self._epochs, note=activity)

    def note(self, message: str) -> None:
        """Writes a line that stays."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def round(self, trials: Sequence[Trial], done: Collection[int], planned: int | None) -> None:
        """Takes the trials of a round.

        Args:
            trials: All of them.
            done: The numbers of those that had ended before this sitting.
            planned: How many trials the search will have in all, where known.
        """
        self._left.update({trial.number: trial.epochs for trial in trials if trial.number not in done})
        finished = sum(trial.number in done for trial in trials)
        epochs = sum(trial.epochs for trial in trials if trial.number not in done)
        before = self._bars.tasks[self._epochs].total or 0
        self._bars.update(self._trials, total=planned, advance=finished)
        self._bars.update(self._epochs, total=before + epochs)

    def batch(self, done: int, batches: int) -> None:
        """Shows how many batches of an epoch are trained."""
        shown = self._bars.tasks[self._batches]
        if not shown.visible or done < shown.completed:
            # The time left is that of this epoch, by its own pace.
            self._bars.reset(self._batches, total=batches, completed=done, visible=True)
        self._bars.update(self._batches, completed=done)

    def epoch(self, trials: Sequence[int]) -> None:
        """Counts an epoch of these trials."""
        self._bars.update(self._batches, visible=False)
        for number in trials:
            self._left[number] -= 1
        self._bars.update(self._epochs, advance=len(trials), note="training")

    def ended(self, trial: int, status: str, score: float | None) -> None:
        """Counts a trial's end."""
        self._bars.update(self._epochs, advance=self._left.pop(trial, 0))
        if status == "completed" and score is not None:
            better = self._best is None or (score > self._best) == (self._goal.direction == "max")
            self._best = score if better else self._best
        note = "" if self._best is None else f"best {self._goal.name} {self._best:.4f}"
        self._bars.update(self._trials, advance=1, note=note)
