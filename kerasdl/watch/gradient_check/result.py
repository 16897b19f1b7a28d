"""What a gradient check found, parameter by parameter."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from kerasdl.watch.gradient_check.differences import Slope

if TYPE_CHECKING:
    import pandas as pd

# Up to which relative difference a gradient is what, by Stanford's CS231n (https://cs231n.github.io/neural-networks-3/):
# 1e-7 and less is good, up to 1e-4 is usual where there are kinks, from there on one should feel uncomfortable, and
# above 1e-2 the gradient is probably wrong.
LEVELS = {"good": 1e-7, "ok": 1e-4, "suspicious": 1e-2, "wrong": np.inf}
PASSING = ("good", "ok", "zero", "kinks")

# What the sum of both gradients counts for at least, as in that course's code.
TINY = 1e-8

COLUMNS = ("part", "parameter", "entries", "kinks", "relative difference", "rounding", "verdict")


@dataclass(frozen=True)
class ParameterCheck:
    """How one parameter tensor's gradient compares with finite differences, for one part of the loss.

    Attributes:
        part: `"total"`, `"data"` or `"regularization"`.
        parameter: The variable's path.
        entries: How many entries were sampled.
        kinks: At how many of these the loss has a kink. They are left out of the difference: with many rows at their
            kinks at once, as at zero weights before a ReLU, a right gradient may lie on either side of both one-sided
            differences.
        relative_difference: `|a - n| / max(|a| + |n|, 1e-8)`, 2-norms over the other entries.
        rounding: How much of that float64 and the step alone explain.
        verdict: `"good"`, `"ok"`, `"suspicious"` or `"wrong"`; `"zero"` where neither is above the rounding, `"kinks"`
            where there are no other entries.
        worst: The entry that differs most.
        gradient: The backend's gradient there.
        difference_quotient: The finite difference there.
    """

    part: str
    parameter: str
    entries: int
    kinks: int
    relative_difference: float
    rounding: float
    verdict: str
    worst: tuple[int, ...]
    gradient: float
    difference_quotient: float

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the gradient."""
        return self.verdict in PASSING

    @property
    def words(self) -> tuple[str, ...]:
        """The cells that are printed, as `COLUMNS`; of numbers that are zero or not there a difference says nothing."""
        told = self.verdict in LEVELS
        numbers = [f"{value:.1e}" if told else "-" for value in (self.relative_difference, self.rounding)]
        return (self.part, self.parameter, str(self.entries), str(self.kinks), *numbers, self.verdict)


@dataclass(frozen=True)
class GradientCheck:
    """A model's gradients against finite differences.

    Attributes:
        parameters: One entry for each parameter tensor and part of the loss.
        model: The model's name.
        backend: Whose gradients these are.
        training: Whether layers were called as in training.
        loss: The loss of the rows.
        notes: What a reader must know.
    """

    parameters: tuple[ParameterCheck, ...]
    model: str
    backend: str
    training: bool
    loss: float
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no gradient is wrong or suspicious."""
        return not self.failures

    @property
    def failures(self) -> tuple[ParameterCheck, ...]:
        """The gradients that are wrong or suspicious."""
        return tuple(one for one in self.parameters if not one.passed)

    def table(self) -> "pd.DataFrame":
        """Returns one row for each tensor and part of the loss; the columns are `ParameterCheck`'s attributes."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.parameters])

    def summary(self) -> str:
        """Returns the outcome in a sentence."""
        place = f"model {self.model!r} on {self.backend}, in {'training' if self.training else 'inference'} mode"
        if self.passed:
            differences = [one.relative_difference for one in self.parameters if one.verdict in LEVELS]
            return f"{place}: all gradients pass, within {max(differences, default=0.0):.1e} of finite differences"
        failures = self.failures
        verdicts = " or ".join(sorted({one.verdict for one in failures}))
        worst = max(failures, key=lambda one: np.nan_to_num(one.relative_difference, nan=np.inf))
        return (
            f"{place}: {len(failures)} of {len(self.parameters)} gradients {verdicts}; {worst.parameter}"
            f"{list(worst.worst)} has {worst.gradient:.6g} where finite differences give "
            f"{worst.difference_quotient:.6g} ({worst.part})"
        )

    def __str__(self) -> str:
        import pandas as pd

        text = pd.DataFrame([one.words for one in self.parameters], columns=COLUMNS).to_string(index=False)
        return "\n".join([text, self.summary(), *(f"note: {note}" for note in self.notes)])


def judge(
    part: str, parameter: str, entries: Sequence[tuple[int, ...]], gradients: np.ndarray, slopes: Sequence[Slope]
) -> ParameterCheck:
    """Compares the sampled entries of one gradient with their slopes.

    Args:
        part: Of which part of the loss.
        parameter: The variable's path.
        entries: Their places in the tensor.
        gradients: The backend's gradients, float64, `(entries,)`.
        slopes: The finite differences.
    """
    kinks = np.array([slope.kink for slope in slopes])
    quotients, errors = np.array([slope.value for slope in slopes]), np.array([slope.error for slope in slopes])
    differences = np.where(kinks, 0.0, gradients - quotients)
    difference, rounding = float(np.linalg.norm(differences)), float(np.linalg.norm(errors[~kinks]))
    size = float(np.linalg.norm(gradients[~kinks]) + np.linalg.norm(quotients[~kinks]))
    worst = int(np.argmax(np.nan_to_num(np.abs(differences), nan=np.inf)))
    return ParameterCheck(
        part=part,
        parameter=parameter,
        entries=len(entries),
        kinks=int(kinks.sum()),
        relative_difference=difference / max(size, TINY),
        rounding=rounding / max(size, TINY),
        verdict="kinks" if kinks.all() else _verdict(difference, size, rounding),
        worst=entries[worst],
        gradient=float(gradients[worst]),
        difference_quotient=float(quotients[worst]),
    )


def _verdict(difference: float, size: float, rounding: float) -> str:
    if size <= 10 * rounding and difference <= rounding:
        return "zero"
    # What rounding explains is nobody's mistake.
    excess = (difference - min(difference, rounding)) / max(size, TINY)
    return next((name for name, most in LEVELS.items() if excess <= most), "wrong")
