"""The members of a pack: what each trains, where it stands and how it goes."""

from dataclasses import dataclass, field

from kerasdl.train.trial import Logs, Progress, Trial


@dataclass(frozen=True)
class Member:
    """Trials that differ in the number of epochs alone, so that the longest holds the others.

    Attributes:
        trials: In ascending order of their epochs.
    """

    trials: tuple[Trial, ...]

    @property
    def longest(self) -> Trial:
        """The trial that is trained; the others end on its way."""
        return self.trials[-1]


@dataclass
class Seat:
    """One member while it trains.

    Attributes:
        member: Which.
        progress: How it goes.
        position: Where it stands in the stack.
        logs: The metrics of its last epoch.
        seconds: Each of its trials' share of the time.
        ended: Whether it is over.
        last: The epoch after which it was.
    """

    member: Member
    progress: Progress
    position: int
    logs: Logs = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    ended: bool = False
    last: int | None = None

    def lasted(self, trial: Trial, epoch: int) -> bool:
        """Tells whether one of its trials went through an epoch."""
        return epoch <= trial.epochs and (self.last is None or epoch <= self.last)
