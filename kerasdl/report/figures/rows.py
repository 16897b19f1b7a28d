"""Images that models get right and wrong, and how they see them while training."""

from typing import TYPE_CHECKING, Any

from kerasdl.drawing import new_figure
from kerasdl.report.evidence import Evidence
from kerasdl.report.figures.images import draw_image, limits
from kerasdl.report.figures.style import Picture, label
from kerasdl.report.rows import ROWS_OF_PAIR, is_image
from kerasdl.report.words import number, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4
# Characters of a class name under an image.
NAME = 18


def draw_disagreements(evidence: Evidence) -> Picture | None:
    """Draws the test images that the best gets right and the worst wrong, the most confident first.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where the data are no images or none was kept.
    """
    found, images = evidence.disagreements, evidence.samples.rows
    if found is None or not is_image(evidence.run):
        return None
    shown = [one for one in found.shown.to_dict("records") if one["row"] in images]
    if not shown:
        return None
    ends = limits(evidence.run, images.values())
    lines = -(-len(shown) // COLUMNS)
    figure = new_figure(1.85 * COLUMNS, 0.35 + 2.15 * lines)
    grid: Any = figure.subplots(lines, COLUMNS, squeeze=False)
    for place, axes in enumerate(grid.ravel()):
        if place >= len(shown):
            axes.set_visible(False)
            continue
        one = shown[place]
        draw_image(axes, images[one["row"]], ends)
        _name(axes, f"row {one['row']}: {label(one['truth'], NAME)}")
        axes.set_xlabel(
            f"best: {label(one['best'], NAME)}, {_percent(one['best_probability'])}\n"
            f"worst: {label(one['worst'], NAME)}, {_percent(one['worst_probability'])}",
            fontsize=7,
            loc="left",
        )
    figure.suptitle("Right by the best, wrong by the worst", x=0.01, ha="left", fontsize=10, fontweight="bold")
    words = [f"row {one['row']}, {label(one['truth'])}, taken for {label(one['worst'])}" for one in shown]
    return Picture(
        "disagreements",
        "What the best gets right and the worst wrong",
        f"{plural(len(shown), 'test image')} that the best configuration gets right and the worst wrong: "
        f"{'; '.join(words)}.",
        "Above each image its true class; below it what the best and the worst say, with the probability that each "
        "gives to its answer. The most confident first.",
        figure,
    )


def draw_confused(evidence: Evidence) -> Picture | None:
    """Draws test images of the pairs of classes that the winner confuses most, a line for each pair.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where the data are no images or none was kept.
    """
    found, best, images = evidence.confused_rows, evidence.run.best, evidence.samples.rows
    if found is None or best is None or not is_image(evidence.run):
        return None
    pairs = [(one, [row for row in one["rows"] if row in images][:ROWS_OF_PAIR]) for one in found.to_dict("records")]
    pairs = [(one, rows) for one, rows in pairs if rows]
    if not pairs:
        return None
    ends, probability = limits(evidence.run, images.values()), evidence.run.answers(best.trial)["probability"]
    figure = new_figure(1.6 + 1.3 * ROWS_OF_PAIR, 0.4 + 1.47 * len(pairs))
    grid: Any = figure.subplots(len(pairs), 1 + ROWS_OF_PAIR, squeeze=False, width_ratios=[1.15, *[1] * ROWS_OF_PAIR])
    for line, (one, rows) in zip(grid, pairs, strict=True):
        line[0].set_axis_off()
        line[0].text(0, 0.5, _pair(one), transform=line[0].transAxes, va="center", fontsize=8, linespacing=1.4)
        for place, axes in enumerate(line[1:]):
            if place >= len(rows):
                axes.set_visible(False)
                continue
            draw_image(axes, images[rows[place]], ends)
            _name(axes, f"row {rows[place]}, {_percent(float(probability[rows[place]]))}")
    figure.suptitle("Most confused classes", x=0.01, ha="left", fontsize=10, fontweight="bold")
    words = [f"{label(one['truth'])} taken for {label(one['predicted'])}" for one, _ in pairs]
    return Picture(
        "confused",
        "Samples of the most confused classes",
        f"Test images of {plural(len(pairs), 'pair')} of classes that the winner confuses: {'; '.join(words)}.",
        "A line for each pair, that with most rows first; images that the saved model confuses, with the probability "
        "that it gives to its answer, the most confident first. Counts are means over repeats.",
        figure,
    )


def _pair(one: dict[Any, Any]) -> str:
    truth, predicted = label(one["truth"], NAME), label(one["predicted"], NAME)
    between = " taken for " if len(truth) + len(predicted) <= 6 else "\ntaken for\n"
    return f"{truth}{between}{predicted}\n\n{number(one['count'], 3)} rows, {100 * one['share']:.1f} %"


def draw_augmented(evidence: Evidence) -> Picture | None:
    """Draws training images as they are, and below each what the winner's augmentation makes of it.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where the winner has no augmentation.
    """
    found = evidence.samples.augmented
    if found is None or not len(found[0]):
        return None
    count = len(found[0])
    ends = limits(evidence.run, found[0])
    figure = new_figure(0.75 + 1.0 * count, 2.65)
    grid: Any = figure.subplots(2, count, squeeze=False)
    for line, images, name in zip(grid, found, ("as they are", "as the model\nsees them"), strict=True):
        for axes, image in zip(line, images, strict=True):
            draw_image(axes, image, ends)
        line[0].set_ylabel(name, fontsize=8)
    figure.suptitle("As the model sees them", x=0.01, ha="left", fontsize=10, fontweight="bold")
    return Picture(
        "augmented",
        "As the model sees them",
        f"{plural(count, 'training image')} as they are, and below each what the winner's augmentation layers make of "
        "it in one training step.",
        "One draw of the winner's augmentation layers; every epoch draws anew, and test images pass unchanged.",
        figure,
    )


def _name(axes: "Axes", text: str) -> None:
    axes.set_title(text, fontsize=7.5, fontweight="normal", loc="left", pad=3)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share < 0.995 else f"{100 * share:.1f} %"
