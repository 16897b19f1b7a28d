"""How long training waited for its data."""

from collections.abc import Iterator

from kerasdl.report.evidence import Evidence
from kerasdl.report.finding import Finding
from kerasdl.report.words import duration, plural

# Shares of the time above this are worth a word.
NOTABLE = 0.1


def waiting_words(evidence: Evidence) -> str:
    """Returns how long the trials that are fed batch by batch waited for them, a sentence; nothing without such."""
    trials, waited, seconds = _sums(evidence)
    if not trials:
        return ""
    share = 100 * waited / seconds
    shown = "under 1" if share < 1 else f"{share:.0f}"
    return f"{plural(trials, 'trial')} fed batch by batch waited for data {shown}\u00a0% of the epochs' time."


def find_waiting(evidence: Evidence) -> Iterator[Finding]:
    """States that the device waited for data, where it did for more than a tenth of the time."""
    trials, waited, seconds = _sums(evidence)
    if not trials or waited <= NOTABLE * seconds:
        return
    yield Finding(
        f"Training waited for data {100 * waited / seconds:.0f}\u00a0% of the time ({duration(waited)} of "
        f"{duration(seconds)}, {plural(trials, 'trial')}): a faster disk, smaller images or larger memory shorten it.",
        True,
        {"kind": "waiting", "trials": trials, "waited": waited, "seconds": seconds},
    )


def _sums(evidence: Evidence) -> tuple[int, float, float]:
    """Returns how many trials waited at all, for how long, and how long their epochs took."""
    waiting = evidence.run.waiting()
    fed = waiting[waiting["waited"] > 0]
    return len(fed), float(fed["waited"].sum()), float(fed["seconds"].sum())
