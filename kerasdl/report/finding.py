"""What a finding is."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """A sentence with the numbers that make it true.

    Attributes:
        sentence: What was found, with its numbers and units.
        sure: Whether it is a counted fact, or a comparison whose corrected 95 % interval excludes zero.
        numbers: The numbers behind it, plain values that JSON can hold; `kind` says what was looked at: `"setting"`,
            `"trend"`, `"interaction"`, `"edge"`, `"winner"`, `"runner-up"`, `"cost"`, `"divergence"`, `"failure"`,
            `"overfitting"`, `"improving"`, `"length"`, `"shortfall"`, `"classes"`, `"disagreement"`,
            `"segmentation"`, `"baseline"`, `"learning-rates"`, `"batch-size"`, `"arms"`, `"gradients"`,
            `"confusion"`, `"refined"`, `"retrained"`, `"reference"`, `"waiting"` or `"repeats"`.
    """

    sentence: str
    sure: bool
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What was looked at."""
        return str(self.numbers.get("kind", ""))
