"""Masks beside the true ones, and Dice image by image."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, new_figure
from kerasdl.report.evidence import Evidence
from kerasdl.report.figures.images import draw_image, limits
from kerasdl.report.figures.style import Picture, label
from kerasdl.report.words import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 12
MOST_DOTS = 400
# Classes that the legend names; beyond seven, colours come again.
MOST_NAMED = 20
# Okabe and Ito's, the light ones first: they must be told apart on grey images.
COLOURS = (ORANGE, SKY, GREEN, "#F0E442", PURPLE, BLUE, VERMILION)
BACKGROUNDS = ("background", "none", "void", "unlabelled", "unlabeled")
MISSED, INVENTED, MISTAKEN = BLUE, VERMILION, "#F0E442"
PLACES = {1: ("only",), 2: ("best", "worst"), 3: ("best", "median", "worst")}


def draw_image_scores(evidence: Evidence) -> Picture | None:
    """Draws the winner's Dice on each test image, a line for each class.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where the data give no class for each pixel, or there is one test image.
    """
    found = evidence.overlaps
    if found is None or len(found.images) < 2:
        return None
    entries = [found.mean, *found.classes[:MOST_CLASSES]]
    figure = new_figure(6.4, 1.25 + 0.42 * len(entries))
    axes = figure.subplots()
    for line, one in enumerate(entries):
        values = found.images[f"dice_{one.name}" if one.name else "dice"].dropna().to_numpy()
        dots = values[:: -(-len(values) // MOST_DOTS) or 1]
        # Multiples of the golden ratio lie apart, and where they did before when it is drawn again.
        spread = 0.3 * (2 * (np.arange(len(dots)) * 0.618 % 1) - 1)
        axes.plot(dots, line + spread, "o", color=SKY, markersize=3, markeredgewidth=0, alpha=0.6, zorder=2)
        if np.isfinite(one.low):
            axes.hlines(line, one.low, one.high, color=BLUE, linewidth=2.2, zorder=3, capstyle="projecting")
        axes.plot(one.image_dice, line, "o", color=BLUE, markerfacecolor="white", markersize=6, zorder=4)
        axes.plot(one.dice, line, "D", color=VERMILION, markersize=4.5, zorder=4)
    axes.set_yticks(range(len(entries)), ["mean of classes", *(label(one.name, 24) for one in entries[1:])])
    axes.set_ylim(len(entries) - 0.45, -0.55)
    axes.grid(False, axis="y")
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("Dice")
    axes.set_title("Dice of each test image")
    figure.legend(*_score_legend(), loc="outside lower right", ncols=3)
    mean, more = found.mean, len(found.classes) > MOST_CLASSES
    left_out = f" The first {MOST_CLASSES} of {len(found.classes)} classes." if more else ""
    return Picture(
        "overlaps",
        "Dice of each test image",
        f"Dice of {plural(len(found.images), 'test image')}: {mean.image_dice:.3f} on average, 95 % interval "
        f"{mean.low:.3f} to {mean.high:.3f}, from {found.images['dice'].min():.3f} to "
        f"{found.images['dice'].max():.3f}; over all pixels {mean.dice:.3f}.",
        "Dots are images, means over repeats; an image that holds a class neither in its mask nor in the prediction "
        f"has no dot on its line. Intervals are bootstrapped over images.{left_out}",
        figure,
    )


def _score_legend() -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", color=SKY, linewidth=0, markersize=3),
        Line2D([], [], marker="o", color=BLUE, markerfacecolor="white", markersize=6, linewidth=2.2),
        Line2D([], [], marker="D", color=VERMILION, linewidth=0, markersize=4.5),
    ]
    return handles, ["an image", "mean of images, 95 % interval", "over all pixels"]


def draw_overlays(evidence: Evidence) -> Picture | None:
    """Draws the best, the median and the worst test image with true mask, predicted mask and errors.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where no masks were kept.
    """
    found, samples = evidence.overlaps, evidence.samples
    masks = {row: both for row, both in samples.masks.items() if row in samples.rows}
    if found is None or not masks:
        return None
    names = [str(name) for name in evidence.run.data["classes"]]
    background = 0 if names[0].strip().lower() in BACKGROUNDS else None
    ends = limits(evidence.run, samples.rows.values())
    height, width = next(iter(masks.values()))[0].shape
    tall = float(np.clip(height / width, 0.4, 1.6))
    present = sorted({int(label_) for both in masks.values() for mask in both for label_ in np.unique(mask)})
    legend = _class_legend(names, present, background)
    figure = new_figure(7.9, 0.7 + 0.17 * -(-len(legend[0]) // 3) + (1.72 * tall + 0.08) * len(masks))
    grid: Any = figure.subplots(len(masks), 4, squeeze=False)
    scores = {one["row"]: (float(one["dice"]), float(one["iou"])) for one in found.saved.to_dict("records")}
    words = []
    for line, place, (row, (truth, predicted)) in zip(grid, PLACES[len(masks)], masks.items(), strict=True):
        image = samples.rows[row]
        for axes in line:
            draw_image(axes, image, ends)
        _lay(line[1], truth, _class_colours(names, background))
        _lay(line[2], predicted, _class_colours(names, background))
        _lay(line[3], errors(truth, predicted, background, len(names)), (None, MISSED, INVENTED, MISTAKEN))
        dice, iou = scores[row]
        line[0].set_ylabel(f"{place}: image {row}\nDice {dice:.3f}\nIoU {iou:.3f}", fontsize=8)
        words.append(f"{place}, image {row} with Dice {dice:.3f}")
    for axes, title in zip(grid[0], ("image", "truth", "prediction", "error"), strict=True):
        axes.set_title(title, fontsize=9)
    figure.legend(*legend, loc="outside lower left", ncols=3)
    figure.legend(*_error_legend(names, background), loc="outside lower right", ncols=3)
    return Picture(
        "overlays",
        "Masks beside the truth",
        f"Test images with their true and predicted masks and the errors: {'; '.join(words)}.",
        "The test images with the best, the median and the worst Dice of the saved model. Colours lie over the image; "
        "errors show only pixels whose class is wrong.",
        figure,
    )


def _class_colours(names: Sequence[str], background: int | None) -> list[str | None]:
    offset = 0 if background is None else 1
    return [
        None if position == background else COLOURS[(position - offset) % len(COLOURS)]
        for position in range(len(names))
    ]


def errors(truth: np.ndarray, predicted: np.ndarray, background: int | None, classes: int) -> np.ndarray:
    """Returns 0 where the class is right or does not count, 1 missed, 2 invented, 3 mistaken for another class."""
    wrong = (truth != predicted) & (truth < classes)
    if background is None:
        return np.where(wrong, 3, 0)
    kind = np.where(predicted == background, 1, np.where(truth == background, 2, 3))
    return np.where(wrong, kind, 0)


def _lay(axes: "Axes", labels: np.ndarray, colours: Sequence[str | None]) -> None:
    """Lays colours over an image; labels without a colour leave it as it is."""
    from matplotlib.colors import to_rgba

    table = np.zeros((256, 4))
    for position, colour in enumerate(colours):
        if colour is not None:
            table[position] = to_rgba(colour, 0.62)
    axes.imshow(table[labels.astype("uint8")], interpolation="nearest")


def _class_legend(names: Sequence[str], present: Sequence[int], background: int | None) -> tuple[list[Any], list[str]]:
    from matplotlib.patches import Patch

    colours = _class_colours(names, background)
    shown = [position for position in present if position < len(names) and colours[position] is not None]
    handles = [Patch(facecolor=colours[position], edgecolor=GREY, linewidth=0.5) for position in shown[:MOST_NAMED]]
    labels = [label(names[position], 18) for position in shown[:MOST_NAMED]]
    if len(shown) > MOST_NAMED:
        handles.append(Patch(facecolor="white"))
        labels.append(f"and {len(shown) - MOST_NAMED} more")
    return handles, labels


def _error_legend(names: Sequence[str], background: int | None) -> tuple[list[Any], list[str]]:
    from matplotlib.patches import Patch

    kinds = [(MISTAKEN, "wrong class")]
    if background is not None:
        kinds = [(MISSED, "missed"), (INVENTED, "not there"), *(kinds if len(names) > 2 else [])]
    handles = [Patch(facecolor=colour, edgecolor=GREY, linewidth=0.5) for colour, _ in kinds]
    return handles, [f"error: {words}" for _, words in kinds]
