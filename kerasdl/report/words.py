"""How names, settings and numbers are put into words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerasdl.report.statistics import mean_test, wilson

MINUS = "\u2212"


def setting_name(name: str) -> str:
    """Returns a setting's name to read: `"batch_norm"` is `"batch norm"`."""
    return name.replace("_", " ").strip() or name


def value(content: Any) -> str:
    """Returns a setting's value to read: `True` is `"on"`, `1e-05` is `"0.00001"`, a missing one is `"none"`."""
    if content is None:
        return "none"
    if isinstance(content, bool):
        return "on" if content else "off"
    if isinstance(content, float):
        return number(content)
    if isinstance(content, Mapping):
        return ", ".join(f"{setting_name(str(key))} {value(item)}" for key, item in content.items())
    if isinstance(content, list | tuple):
        return " ".join(value(item) for item in content) or "none"
    return str(content)


def number(content: float, digits: int = 4, *, even: bool = False) -> str:
    """Returns a number to read.

    Args:
        content: The number.
        digits: Significant digits.
        even: Whether zeros at the end stay, so that a column of numbers lines up.

    Returns:
        The number, without an exponent where it can be read without one.
    """
    if not math.isfinite(content):
        return "n/a"
    if content == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(content)))
    if magnitude < -6 or magnitude >= 15:
        return f"{content:.{digits - 1}g}".replace("-", MINUS)
    text = f"{content:,.{max(0, digits - 1 - magnitude)}f}"
    if "." in text and not even:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", MINUS)


def describe(settings: Mapping[str, Any], names: Sequence[str]) -> str:
    """Returns a configuration in words: `"depth 6, width 64, batch norm off"`; without varying settings its number."""
    return ", ".join(f"{setting_name(name)} {value(settings.get(name))}" for name in names) or "the one configuration"


def metric_name(name: str) -> str:
    """Returns a metric's name to read: `"val_accuracy"` is `"validation accuracy"`, `"loss"` is `"training loss"`."""
    if name.startswith("val_"):
        return f"validation {setting_name(name[4:])}"
    if name.startswith("test_"):
        return f"test {setting_name(name[5:])}"
    if name.startswith("train_"):
        return f"training {setting_name(name[6:])}"
    return f"training {setting_name(name)}"


def is_share(name: str) -> bool:
    """Tells whether a metric is a share of rows, to be shown in percent: an accuracy."""
    return "accuracy" in name


def score(name: str, content: float) -> str:
    """Returns a metric's value with its unit: `"96.20 %"` for an accuracy, else four significant digits."""
    if not math.isfinite(content):
        return "n/a"
    return f"{100 * content:.2f}\u00a0%" if is_share(name) else number(content, even=True)


def unit(name: str) -> str:
    """Returns the unit of a metric's axis, `" (%)"` or nothing."""
    return " (%)" if is_share(name) else ""


def scale(name: str) -> float:
    """Returns the factor from a metric's stored value to the shown one: 100 for an accuracy."""
    return 100.0 if is_share(name) else 1.0


def change(name: str, content: float, *, with_unit: bool = True, signed: bool = True) -> str:
    """Returns a difference of two values of a metric: `"+3.20 points"` for an accuracy (percentage points)."""
    if not math.isfinite(content):
        return "n/a"
    sign = "+" if content > 0 and signed else ""
    if is_share(name):
        return f"{sign}{100 * content:.2f}{' points' if with_unit else ''}".replace("-", MINUS)
    return sign + number(content, 3, even=True)


def span(name: str, low: float, high: float) -> str:
    """Returns an interval of a difference: `"+1.90 to +4.50"`."""
    return f"{change(name, low, with_unit=False)} to {change(name, high, with_unit=False)}"


def mean_with_half(name: str, mean: float, half: float) -> str:
    """Returns a mean with half of its interval.

    Args:
        name: The metric that is averaged; empty for other numbers.
        mean: The mean.
        half: Half of its interval's width, left out where it is not finite.
    """
    shown = score(name, mean) if name else number(mean, 3)
    if not math.isfinite(half):
        return shown
    return f"{shown} ± {change(name, half, with_unit=False, signed=False) if is_share(name) else number(half, 2)}"


def mean_of(name: str, values: Sequence[float] | np.ndarray, overlap: float = 0.0, *, none: str = "unknown") -> str:
    """Returns the mean of values with half of its 95 % interval.

    Args:
        name: The metric that they are of; empty for other numbers.
        values: Independent values, NaN where unknown.
        overlap: As for `kerasdl.report.statistics.mean_test`.
        none: What to return where no value is known.
    """
    known = np.asarray(values, dtype="float64")
    known = known[np.isfinite(known)]
    if not len(known):
        return none
    low, high = mean_test(known, overlap=overlap).interval()
    return mean_with_half(name, float(known.mean()), (high - low) / 2)


def share_of(count: int, total: int) -> str:
    """Returns a count with Wilson's 95 % interval of its share: `"1 of 5 (4 to 62 %)"`."""
    low, high = wilson(float(count), float(total))
    return f"{count} of {total} ({100 * low:.0f} to {100 * high:.0f}\u00a0%)"


def plural(count: int, noun: str) -> str:
    """Returns a count with its noun: `"1 repeat"`, `"3 repeats"`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Returns seconds to read: `"0.3 s"`, `"2 min 5 s"`, `"3 h 20 min"`."""
    if not math.isfinite(seconds):
        return "n/a"
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def sentence(text: str) -> str:
    """Returns the text with a capital letter first."""
    return text[:1].upper() + text[1:]


def listed(items: Sequence[str], limit: int = 6) -> str:
    """Joins items with semicolons, and counts those beyond the limit."""
    shown = "; ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown}; and {len(items) - limit} more"
