"""How the trials ran, and what they shared."""

from kerasdl.report.evidence import Evidence
from kerasdl.report.tables import Table
from kerasdl.report.waiting import waiting_words
from kerasdl.report.words import duration, number, plural
from kerasdl.runs.sharing import Way, shared_by, ways

MOST_WAYS = 15


def ways_table(evidence: Evidence) -> Table | None:
    """Returns how trials ran and what they shared, grouped, or `None` where none has ended."""
    found = ways(evidence.trials, evidence.places)
    if not found:
        return None
    total = sum(way.seconds for way in found)
    # Trials that were never trained ran in no program.
    counted = any(way.sharing for way in found)
    rows = [_way(way, total, counted=counted) for way in found[:MOST_WAYS]]
    head = ["how", "trials"]
    head += ["programs", "trials per program", "epochs asked for", "trained", "passes over the data"] if counted else []
    head += ["time", "share of the time"]
    notes = [f"{plural(len(found) - MOST_WAYS, 'rarer way')} left out."] if len(found) > MOST_WAYS else []
    notes += [] if counted else ["Which trials shared a program was not recorded."]
    took = f"; the search took {duration(evidence.run.seconds)}" if evidence.run.seconds else ""
    notes.append(f"The trials' shares of the time sum to {duration(total)}{took}.")
    notes += [words] if (words := waiting_words(evidence)) else []
    return Table("How the trials ran", head, rows, [False, *(True for _ in head[1:])], note=" ".join(notes))


def _way(way: Way, total: float, *, counted: bool) -> list[str]:
    row, own = [way.how, f"{way.trials:,}"], way.sharing
    if counted and own is not None:
        row += [f"{own.programs:,}", number(own.trials / own.programs, 3)]
        row += [f"{own.asked:,}", f"{own.trained:,}", f"{own.passes:,}"]
    elif counted:
        row += [""] * 5
    return [*row, duration(way.seconds), f"{100 * way.seconds / total:.0f}\u00a0%" if total else "n/a"]


def sharing_words(evidence: Evidence) -> str:
    """Returns what the trials that have ended shared, in a sentence; nothing where the run does not say."""
    found = shared_by(evidence.trials, evidence.places)
    return f"{plural(found.trials, 'trial')} {found.words()}." if found else ""
