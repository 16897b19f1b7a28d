"""Shows a person what is measured and how long still; quiet where nobody looks."""

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from kerasdl.export.benchmark.settings import Settings

# What the first runs and warming up of one row take, about.
BEFORE = 4.0


class Progress:
    """Progress of a benchmark, on standard error. Use it as a context manager.

    Args:
        enabled: Whether to show anything; a console that is no terminal shows nothing.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._console = Console(stderr=True, quiet=not enabled)
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            disable=not (enabled and self._console.is_terminal),
        )
        self._task = self._bars.add_task("reading", total=None)

    def __enter__(self) -> "Progress":
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def plan(self, rows: int, settings: Settings) -> None:
        """Says how much is to be measured."""
        measuring = settings.seconds * len(settings.batch_sizes)
        serving = settings.server_seconds * len(settings.loads) if settings.server else 0.0
        seconds = rows * (BEFORE + 2.0 + measuring + serving)
        if self._console.is_terminal:
            self._console.print(f"{rows} of them, each in a process of its own: about {seconds:.0f} s", highlight=False)
        self._bars.update(self._task, total=rows * (2 + settings.rounds + 3 * settings.server), completed=0)

    def opened(self, text: str) -> None:
        """Shows what is being opened, and counts it."""
        self.say(text)
        self.step()

    def say(self, text: str) -> None:
        """Shows what is being done now."""
        self._bars.update(self._task, description=text)

    def step(self, steps: int = 1) -> None:
        """Counts."""
        self._bars.update(self._task, advance=steps)
