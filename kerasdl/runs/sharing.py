"""What trials shared: how many epochs they asked for, how many were trained, how often programs ran over the data."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# The planner's remark on stages; how many epochs they saved is counted here, and one remark must not make two ways.
_STAGES = re.compile(r"; up to \d+ trials share their epochs")


@dataclass(frozen=True)
class Place:
    """Where a trial ran.

    Attributes:
        program: Trials with one number ran side by side: an epoch of all of them was one pass over the data.
        member: Of these, trials with one number shared their epochs, which were trained once.
        asked: Epochs that the trial asked for.
        done: Epochs that it went through: fewer where it ended early.
    """

    program: int
    member: int
    asked: int
    done: int


@dataclass(frozen=True)
class Sharing:
    """What some trials shared. Everything is counted, nothing is estimated.

    Attributes:
        trials: How many they are.
        programs: How many programs ran them.
        asked: Epochs that they asked for, summed.
        done: Epochs that they went through, summed.
        trained: Epochs that were trained, summed over members: trials of one member share theirs.
        passes: Epochs of whole programs: how often one went over the training rows.
    """

    trials: int
    programs: int
    asked: int
    done: int
    trained: int
    passes: int

    def words(self, *, planned: bool = False) -> str:
        """Returns what the trials ask for and what it takes, a sentence without its subject and its full stop.

        Args:
            planned: Whether it is to come.
        """
        ask, be = ("ask", "are") if planned else ("asked", "were")
        run = ("runs" if self.programs == 1 else "run") if planned else "ran"
        early = f" and went through {self.done:,} (some ended early)" if self.done < self.asked else ""
        less = 100 * (1 - self.trained / self.done) if self.done else 0.0
        saved = f" ({less:.3g}\u00a0% less: trials share their epochs)" if self.trained < self.done else ""
        return (
            f"{ask} for {_count(self.asked, 'epoch')}{early}; {self.trained:,} {be} trained{saved}, by "
            f"{_count(self.programs, 'program')} that {run} {_count(self.passes, 'time')} over the data"
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def sum_up(places: Iterable[Place]) -> Sharing:
    """Counts what trials shared.

    Args:
        places: Where each ran.
    """
    every = list(places)
    members: dict[tuple[int, int], int] = {}
    programs: dict[int, int] = {}
    for place in every:
        member = (place.program, place.member)
        members[member] = max(members.get(member, 0), place.done)
        programs[place.program] = max(programs.get(place.program, 0), place.done)
    return Sharing(
        len(every),
        len(programs),
        sum(place.asked for place in every),
        sum(place.done for place in every),
        sum(members.values()),
        sum(programs.values()),
    )


def sum_up_plan(programs: Iterable[Sequence[Mapping[int, int]]]) -> Sharing:
    """Counts what trials will share if none ends early.

    Args:
        programs: For each program its members, and for each member the epochs that its trials ask for by their number:
            what `RunWriter.record_programs` takes.
    """
    return sum_up(
        Place(program, member, epochs, epochs)
        for program, members in enumerate(programs)
        for member, trials in enumerate(members)
        for epochs in trials.values()
    )


@dataclass(frozen=True)
class Way:
    """Trials that ran in the same way.

    Attributes:
        how: The way: alone and why, or in a pack of how many.
        trials: How many ran so.
        seconds: Their shares of the time, summed.
        sharing: What they shared; `None` where the run does not say.
    """

    how: str
    trials: int
    seconds: float
    sharing: Sharing | None


def shared_by(trials: "pd.DataFrame", places: Mapping[int, Place]) -> Sharing | None:
    """Counts what the trials of a run shared that have ended.

    Args:
        trials: As `Run.trials` gives them.
        places: As `Run.places` gives them.

    Returns:
        The counts; `None` where the place of a trial is not known, or none has been trained.
    """
    trained = trials[(trials["status"] != "running") & (trials["epochs_done"] > 0)]["trial"]
    known = [places[trial] for trial in trained if trial in places]
    return sum_up(known) if known and len(known) == len(trained) else None


def ways(trials: "pd.DataFrame", places: Mapping[int, Place]) -> list[Way]:
    """Groups the trials of a run that have ended by how they ran.

    Args:
        trials: As `Run.trials` gives them.
        places: As `Run.places` gives them.

    Returns:
        The ways, those with most trials first.
    """
    ended = trials[trials["status"] != "running"]
    how = ended["how"].fillna("not recorded").str.replace(_STAGES, "", regex=True)
    found = [
        Way(str(name), len(group), float(group["seconds"].fillna(0.0).sum()), shared_by(group, places))
        for name, group in ended.groupby(how, sort=False)
    ]
    return sorted(found, key=lambda way: -way.trials)
