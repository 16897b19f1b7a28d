"""Builds the page from the evidence and the pictures."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kerasdl.report.answer import answer
from kerasdl.report.arms import arms_tables
from kerasdl.report.baselines import baseline_table
from kerasdl.report.batch_sizes import batch_size_table
from kerasdl.report.class_arms import class_arms_table
from kerasdl.report.evidence import Evidence
from kerasdl.report.figures.style import Picture
from kerasdl.report.findings import find_all
from kerasdl.report.gradients import gradient_table
from kerasdl.report.learning_rates import learning_rate_table
from kerasdl.report.looking import (
    confused_rows_table,
    disagreement_table,
    disagreement_words,
    overlap_table,
    overlap_words,
)
from kerasdl.report.retrained import retrained_table
from kerasdl.report.tables import (
    class_table,
    confused_table,
    event_table,
    fact_rows,
    message_table,
    ranking_table,
    reference_table,
)
from kerasdl.report.ways import sharing_words, ways_table
from kerasdl.report.words import plural, value

MOST_SETTINGS = 12
# Characters that turn the direction of the text around them, and controls that HTML forbids.
_HARMLESS = {
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd"),
    **dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127], "\ufffd"),
}


def draw_all(evidence: Evidence) -> list[Picture]:
    """Draws every picture that the run has something for, in the order of the page."""
    from kerasdl.report.figures.arms import draw_arms
    from kerasdl.report.figures.classes import draw_class_accuracies, draw_confusion
    from kerasdl.report.figures.curves import draw_curves
    from kerasdl.report.figures.gradients import draw_gradient_epochs, draw_gradients
    from kerasdl.report.figures.heatmap import draw_heatmap
    from kerasdl.report.figures.overlaps import draw_image_scores, draw_overlays
    from kerasdl.report.figures.parallel import draw_parallel
    from kerasdl.report.figures.ranking import draw_ranking
    from kerasdl.report.figures.regions import draw_regions
    from kerasdl.report.figures.rows import draw_augmented, draw_confused, draw_disagreements
    from kerasdl.report.figures.settings import draw_setting

    def drawn() -> Iterator[Picture | None]:
        yield draw_ranking(evidence)
        for position, setting in enumerate(evidence.scores.varying[:MOST_SETTINGS]):
            yield draw_setting(evidence, setting, position)
        yield draw_heatmap(evidence)
        yield draw_parallel(evidence)
        yield draw_regions(evidence)
        yield draw_curves(evidence)
        yield draw_arms(evidence)
        yield draw_gradients(evidence)
        yield draw_gradient_epochs(evidence)
        yield draw_confusion(evidence)
        yield draw_class_accuracies(evidence)
        yield draw_confused(evidence)
        yield draw_disagreements(evidence)
        yield draw_image_scores(evidence)
        yield draw_overlays(evidence)
        yield draw_augmented(evidence)

    pictures = [picture for picture in drawn() if picture is not None]
    for picture in pictures:
        picture.settle()
    return pictures


def render(evidence: Evidence, pictures: Sequence[Picture]) -> str:
    """Renders the page: one file that needs no other.

    Args:
        evidence: The run.
        pictures: What was drawn.

    Returns:
        HTML. All text from the run is escaped.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html.j2").render(**_context(evidence, pictures))
    return page.translate(_HARMLESS)


def _context(evidence: Evidence, pictures: Sequence[Picture]) -> dict[str, Any]:
    from kerasdl.runs.writer import STUDY_NAME

    run, study = evidence.run, evidence.run.study
    found = find_all(evidence)
    reference = study.get("reference", {})
    return {
        "style": (Path(__file__).parent / "page.css").read_text(encoding="utf-8"),
        "title": str(study.get("title") or study.get("name") or run.path.name),
        "name": str(study.get("name") or run.path.name),
        "question": str(study.get("question", "")),
        "standing": _state(evidence),
        "answer": answer(evidence, found),
        "meta": _meta(evidence),
        "ranking": ranking_table(evidence),
        "sure": [finding.sentence for finding in found if finding.sure],
        "unsure": [finding.sentence for finding in found if not finding.sure],
        "repeats": len(evidence.scores.seeds),
        "pictures": {picture.name: {"picture": picture, "source": _data_uri(picture)} for picture in pictures},
        "setting_pictures": [picture.name for picture in pictures if picture.name.startswith("setting-")],
        "folds": study.get("folds"),
        "baselines": baseline_table(evidence),
        "learning_rates": learning_rate_table(evidence),
        "batch_sizes": batch_size_table(evidence),
        "retrained": retrained_table(evidence),
        "arms": arms_tables(evidence),
        "arms_words": [one.sentence for one in found if one.kind == "arms"],
        "gradients": gradient_table(evidence),
        "gradient_words": [one.sentence for one in found if one.kind == "gradients"],
        "confused": confused_table(evidence),
        "classes": class_table(evidence),
        "class_arms": class_arms_table(evidence),
        "confused_rows": confused_rows_table(evidence),
        "disagreements": disagreement_table(evidence),
        "disagreement_words": disagreement_words(evidence),
        "overlaps": overlap_table(evidence),
        "overlap_words": overlap_words(evidence),
        "reference": reference_table(evidence),
        "reference_note": str(reference.get("note", "")) if isinstance(reference, dict) else "",
        "sharing": sharing_words(evidence),
        "ways": ways_table(evidence),
        "messages": message_table(evidence),
        "events": event_table(evidence),
        "environment": fact_rows(run.environment, ["backend", "device", "platform", "versions", "git"]),
        "data": _data_facts(run.data),
        "fixed": _fixed_settings(evidence),
        "study": (run.path / STUDY_NAME).read_text(encoding="utf-8"),
    }


def _data_uri(picture: Picture) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(picture.svg()).decode('ascii')}"


def _state(evidence: Evidence) -> str:
    """Returns what a reader must know first about a run that has not come to its end; nothing for one that has."""
    run = evidence.run
    if run.finished:
        return ""
    ended = int((evidence.trials["status"] != "running").sum()) if len(evidence.trials) else 0
    of = f" of {run.planned}" if run.planned else ""
    return f"{ended}{of} trials have ended. All figures are of these alone, and may change."


def _meta(evidence: Evidence) -> list[str]:
    scores, run = evidence.scores, evidence.run
    parts = [plural(len(scores.configurations), "configuration"), plural(len(scores.seeds), "repeat")]
    parts.append(plural(len(evidence.trials), "trial"))
    if run.data.get("name"):
        parts.append(f"data: {run.data['name']}")
    if run.environment.get("backend"):
        parts.append(f"{run.environment['backend']}, {run.environment.get('device', 'device unknown')}")
    return parts


def _data_facts(facts: dict[str, Any]) -> list[tuple[str, str]]:
    shown = {name: content for name, content in facts.items() if name not in ("scaling", "classes", "notes")}
    if "input_shape" in shown:
        shown["input_shape"] = " × ".join(str(size) for size in shown["input_shape"])
    if "rows" in shown:
        shown["rows"] = ", ".join(f"{split} {count:,}" for split, count in shown["rows"].items())
    if "features" in shown:
        names = [str(name) for name in shown["features"]]
        shown["features"] = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    classes = [str(name) for name in facts.get("classes", [])]
    if classes:
        tail = f" and {len(classes) - 50} more" if len(classes) > 50 else ""
        shown["classes"] = f"{len(classes)}: {', '.join(classes[:50])}{tail}"
    rows = fact_rows(shown, ["name", "source", "licence", "rows", "input_shape", "features", "classes", "fingerprint"])
    return rows + [("note", str(note)) for note in facts.get("notes", [])]


def _fixed_settings(evidence: Evidence) -> list[tuple[str, str]]:
    if not evidence.scores.settings:
        return []
    first = evidence.scores.settings[0]
    fixed = {name: content for name, content in first.items() if name not in evidence.scores.varying}
    return [(name, value(content)) for name, content in fact_rows(fixed, [])]
