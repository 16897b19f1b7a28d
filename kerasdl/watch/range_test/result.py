"""What a range test found, as numbers and as a figure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasdl.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# M. Okabe and K. Ito, Color Universal Design, 2008; the markers tell them apart without colours.
_LOOKS = {"steepest": ("#D55E00", "v"), "valley": ("#009E73", "o"), "minimum / 10": ("#0072B2", "s")}
_RAW, _SMOOTHED = "#c9ced6", "#000000"


@dataclass(frozen=True, eq=False)
class RangeTest:
    """The losses that a model had while its learning rate rose.

    Attributes:
        rates: float64, `(points,)`, the learning rate of each batch.
        losses: float64, `(points,)`, the loss of each batch, before its step.
        smoothed: float64, `(points,)`, their exponential moving average, bias corrected.
        suggestions: Learning rates by the rule that suggests them (`"steepest"`, `"valley"`, `"minimum / 10"`); empty
            where the loss never fell.
        ending: Why the test ended.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestions: Mapping[str, float]
    ending: str

    def __str__(self) -> str:
        lines = [f"{name:<13} {rate:.2e}" for name, rate in self.suggestions.items()]
        return "\n".join([*(lines or ["no suggestion: the loss never fell"]), self.ending])

    def table(self) -> "pd.DataFrame":
        """Returns one row a batch: columns `learning_rate`, `loss`, `smoothed`."""
        import pandas as pd

        return pd.DataFrame({"learning_rate": self.rates, "loss": self.losses, "smoothed": self.smoothed})

    def figure(self, path: str | Path | None = None, *, overwrite: bool = False) -> "Figure":
        """Draws the losses over the learning rate, with the suggestions.

        Args:
            path: Where to write it; the ending says the format (`.png`, `.svg`, `.pdf`). Nothing is written without.
            overwrite: Whether a file that is there is replaced.

        Returns:
            The figure.

        Raises:
            UserError: There is a file at `path`, or it cannot be written.
        """
        target = None if path is None else Path(path)
        if target is not None and target.exists() and not overwrite:
            raise UserError(f"{target}: already there; give another path, or overwrite=True")
        figure = self._drawn()
        if target is not None:
            try:
                figure.savefig(target, dpi=150)
            except (OSError, ValueError) as error:
                raise UserError(f"{target}: cannot be written ({error}); give a path such as rates.png") from error
        return figure

    def _drawn(self) -> "Figure":
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(self.rates, self.losses, color=_RAW, linewidth=1, label="each batch")
        axes.plot(self.rates, self.smoothed, color=_SMOOTHED, linewidth=1.8, label="smoothed")
        for name, rate in self.suggestions.items():
            colour, marker = _LOOKS[name]
            at = float(np.interp(np.log(rate), np.log(self.rates), self.smoothed))
            axes.plot([rate], [at], marker, color=colour, markersize=8, label=f"{name}: {rate:.1e}")
        # A loss that explodes would press everything else flat against the axis.
        usual = self.losses[: self.smoothed.argmin() + 1]
        low, high = float(usual.min()), float(usual.max())
        room = 0.05 * max(high - low, 1e-3 * abs(high), 1e-12)
        axes.set_ylim(low - room, high + room)
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("training loss")
        axes.set_title("Learning rate range test", loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e5e7eb", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.legend(frameon=False)
        return figure
