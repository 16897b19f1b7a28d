"""Writes the model card, for people, in the form of Hugging Face's cards."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError
from kerasdl.export.bundle.triton import repository_name

# Classes that the card names among those that are told worst.
WORST = 5

_PIPELINES = {
    ("classification", False): "tabular-classification",
    ("classification", True): "image-classification",
    ("segmentation", True): "image-segmentation",
}


def model_card(facts: Mapping[str, Any]) -> str:
    """Returns the card as Markdown with the YAML head that Hugging Face's hub reads.

    Args:
        facts: What `describe` returned.

    Raises:
        UserError: Something in it is not there.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError

    # Markdown, in which HTML's escapes would show; `plain` takes the marks out of texts that come from elsewhere.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": plain, "yaml": _yaml, "number": number, "interval": interval, "amount": amount}
    evaluation = facts["figures"]["evaluation"]
    template = environment.get_template("card.md.j2")
    try:
        return template.render(
            facts=facts,
            data=facts["data"],
            evaluation=evaluation,
            checks=facts["checks"],
            benchmark=facts["figures"]["benchmark"],
            image=facts["preprocessing"]["image"],
            worst=_worst(facts["classes"], evaluation),
            pipeline=_PIPELINES.get((facts["task"], facts["preprocessing"]["image"] is not None)),
            triton=repository_name(facts),
            example=_example(facts),
            unproved=_unproved(evaluation),
        )
    except UndefinedError as error:
        raise UserError(
            f"the metadata of the model, or what lies beside it, was written by another version ({error}); "
            "export it again"
        ) from error


def plain(value: Any) -> str:
    """Returns a text as one line without the characters that Markdown and HTML read as marks."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(str(value).split()))


def number(value: Any, metric: str = "") -> str:
    """Writes a number with as many digits as a reader needs; shares as percentages."""
    if value is None:
        return "not known"
    if metric and not metric.endswith("loss") and 0 <= value <= 1:
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def interval(score: Mapping[str, Any], metric: str) -> str:
    """Writes a mean with its interval, where there is one."""
    mean = number(score["mean"], metric)
    if score.get("low") is None or score.get("high") is None:
        return f"{mean} (one repeat, no interval)"
    return f"{mean} ({number(_share(score['low'], metric), metric)} to {number(_share(score['high'], metric), metric)})"


def amount(pick: Mapping[str, Any]) -> str:
    """Writes what a benchmark chose by, in the unit of its purpose."""
    value = pick["value"]
    if pick["purpose"] == "latency":
        return f"{value * 1e6:.3g} µs" if value < 1e-3 else f"{value * 1e3:.4g} ms"
    return f"{value:,.0f} {'bytes' if pick['purpose'] == 'size' else 'rows a second'}"


def _share(value: float, metric: str) -> float:
    # The interval of a mean of shares may reach beyond what shares can be.
    return value if metric.endswith("loss") else min(max(value, 0.0), 1.0)


def _yaml(value: Any) -> str:
    # JSON is YAML, and quotes what YAML would read as something else.
    return json.dumps(value, ensure_ascii=False)


def _worst(classes: list[str], evaluation: Mapping[str, Any] | None) -> list[tuple[str, float, float | None]]:
    scores = (evaluation or {}).get("classes") or []
    known = [
        (name, each["recall"], each["precision"])
        for name, each in zip(classes, scores, strict=False)
        if each["recall"] is not None
    ]
    return sorted(known, key=lambda each: each[1])[:WORST] if len(known) > 2 else []


def _example(facts: Mapping[str, Any]) -> str:
    """Returns one row as JSON, the means of the features where they are known, else zeros."""
    if len(facts["inputs"]) != 1 or len(facts["inputs"][0]["shape"]) != 2:
        return ""
    features, width = facts["features"], facts["inputs"][0]["shape"][1] or 1
    if width > 20:
        return ""
    values = [round(each.get("mean", 0.0), 3) for each in features] or [0.0] * width
    return json.dumps({"rows": [values]})


def _unproved(evaluation: Mapping[str, Any] | None) -> list[str]:
    """Returns what nobody tested."""
    limits = ["rows from another source, another time or another place than the training data"]
    limits.append("rows that belong to none of the classes: the model names one for any input")
    limits.append("inputs that were changed to mislead it")
    if evaluation is not None:
        limits.append("whether its probabilities are as often right as they say (calibration)")
        limits.append("whether it is equally good for all groups of people or things that the data hold")
    return limits
