"""Decision boundaries: what models of two features predict over the plane."""

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.drawing import new_figure
from kerasdl.report.evidence import Evidence
from kerasdl.report.figures.style import Picture, label, strip_grid
from kerasdl.report.scores import Scores, key
from kerasdl.report.words import describe, metric_name, plural, score
from kerasdl.runs.regions import Regions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 24
_CLASSES = ("o", "^", "s", "D", "v", "P", "X", "<", ">", "*")


def draw_regions(evidence: Evidence) -> Picture | None:
    """Draws each configuration's decision regions, a grid of panels where two settings vary.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where no regions were kept.
    """
    regions, scores = evidence.run.regions(), evidence.scores
    if regions is None or not regions.predicted:
        return None
    places = _places(scores, [number for number in scores.configurations if number in regions.predicted])
    rows, columns = (1 + max(place[axis] for place in places.values()) for axis in (0, 1))
    figure = new_figure(0.9 + 1.75 * columns, 1.0 + 1.85 * rows)
    grid: Any = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for row, column in set(np.ndindex(rows, columns)) - set(places.values()):
        grid[row][column].set_visible(False)
    *_, image = [_draw(grid[row][column], scores, regions, number) for number, (row, column) in places.items()]
    names = [label(str(name)) for name in evidence.run.data.get("classes", [])]
    bar = figure.colorbar(image, ax=grid.ravel().tolist(), fraction=0.03, pad=0.02)
    if len(names) == 2:
        bar.set_label(f"probability of {names[1]}")
    elif len(names) > 2:
        bar.set_ticks([position / (len(names) - 1) for position in range(len(names))], labels=names)
    features = [label(str(name)) for name in evidence.run.data.get("features", [])]
    if len(features) == 2:
        figure.supxlabel(features[0], fontsize=9)
        figure.supylabel(features[1], fontsize=9)
    return Picture(
        "regions",
        "Decision regions",
        f"What {plural(len(places), 'configuration')} predict over the plane of the two features, with training rows.",
        f"The model of each configuration's first seed, with its {metric_name(scores.objective)}. Dots are training "
        "rows: of the first class white, of the second black; more classes differ by shape too.",
        figure,
    )


def _draw(axes: "Axes", scores: Scores, regions: Regions, number: int) -> Any:
    (left, bottom), (right, top) = regions.ends
    ends = (left, right, bottom, top)
    shown = regions.predicted[number].astype(float)
    image = axes.imshow(shown, origin="lower", extent=ends, aspect="auto", cmap="cividis", vmin=0, vmax=1)
    for position in range(int(regions.rows[:, 2].max()) + 1):
        own = regions.rows[regions.rows[:, 2] == position]
        colour, marker = ("white", "black")[position % 2], _CLASSES[position % len(_CLASSES)]
        axes.scatter(own[:, 0], own[:, 1], s=3, c=colour, marker=marker, linewidths=0, alpha=0.5)
    index = scores.configurations.index(number)
    named = describe(scores.settings[index], scores.varying)
    axes.set_title(f"{label(named, 34)}\n{score(scores.objective, float(scores.values[index][0]))}", fontsize=7.5)
    strip_grid(axes)
    return image


def _places(scores: Scores, numbers: list[int]) -> dict[int, tuple[int, int]]:
    """Returns the row and the column of each configuration's panel."""
    shown = numbers[:MOST]
    if len(scores.varying) == 2:
        down, across = scores.varying
        levels = [[key(level) for level in scores.levels(name)] for name in (down, across)]
        places = {}
        for number in shown:
            settings = scores.settings[scores.configurations.index(number)]
            row, column = (own.index(key(settings.get(name))) for own, name in zip(levels, (down, across), strict=True))
            places[number] = (row, column)
        if len(set(places.values())) == len(places):
            return places
    return {number: divmod(position, 4) for position, number in enumerate(shown)}
