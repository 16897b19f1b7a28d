"""Pictures of what was watched: gradients, updates and activations, by layer and epoch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.drawing import GREY, LINES, PALE, new_figure, plain_logarithms, styled
from kerasdl.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Even in lightness, and the same to people who see no red or no green (J. Nuñez et al., PLOS ONE 13(7), 2018).
_MAP = "cividis"


def gradient_map(table: "pd.DataFrame", quantity: str = "gradient_norm", statistic: str = "median") -> "Figure":
    """Draws a heat map of all weights over epochs: where gradients vanish or explode.

    Args:
        table: What `GradientMagnitude.table()` returned.
        quantity: `"gradient_norm"`, `"weight_norm"`, `"update_ratio"` or `"zero_share"`; all but the last have a
            logarithmic scale.
        statistic: `"mean"`, `"median"`, `"p05"`, `"p95"` or `"maximum"`.

    Returns:
        A matplotlib figure that draws without a display; `figure.savefig("gradients.png")` writes it. Cells without a
        finite value are hatched.

    Raises:
        UserError: The table is empty or lacks what was asked for.
    """
    rows = _of_quantity(table, quantity, statistic)
    names = list(dict.fromkeys(rows["layer"] + "/" + rows["variable"]))
    values = rows.assign(name=rows["layer"] + "/" + rows["variable"]).pivot(
        index="name", columns=["fit", "epoch"], values=statistic
    )
    with styled():
        figure = new_figure(1.8 + _name_width(names) + min(0.32 * values.shape[1], 5.5), 1.1 + 0.22 * len(names))
        axes = figure.subplots()
        title = f"{_QUANTITIES[quantity][0]}, {_STATISTICS[statistic]} of the steps"
        _cells(figure, axes, values.reindex(names), _QUANTITIES[quantity][1], logarithmic=quantity != "zero_share")
        axes.set_title(title)
        axes.set_ylabel("weight, from inputs to outputs")
    return figure


def gradient_lines(table: "pd.DataFrame", layers: Sequence[str] | None = None) -> "Figure":
    """Draws the gradient's norm in chosen layers over epochs: the median of the steps, and a band
    from 5 % to 95 % of them where no more than three are drawn.

    Args:
        table: What `GradientMagnitude.table()` returned.
        layers: Names as in the table, at most seven; `None` for seven evenly spaced, or all if there are fewer. Of each
            layer its first weight is drawn, the kernel of a dense layer.

    Returns:
        A matplotlib figure that draws without a display.

    Raises:
        UserError: The table is empty, or a name is not in it.
    """
    return _lines(table, "gradient_norm", layers)


def update_ratio_lines(table: "pd.DataFrame", layers: Sequence[str] | None = None) -> "Figure":
    """Draws how large updates are beside their weights over epochs, with the rule of thumb of one in a thousand.

    Args:
        table: What `GradientMagnitude.table()` returned.
        layers: As for `gradient_lines`.

    Returns:
        A matplotlib figure that draws without a display.

    Raises:
        UserError: The table is empty, or a name is not in it.
    """
    return _lines(table, "update_ratio", layers, reference=(1e-3, "rule of thumb, 1e-3"))


def activation_maps(table: "pd.DataFrame") -> "Figure":
    """Draws heat maps of all layers over epochs: their outputs' mean and spread, dead units, saturated outputs.

    Args:
        table: What `Activations.table()` returned.

    Returns:
        A matplotlib figure that draws without a display; the saturated outputs only where a layer can saturate.

    Raises:
        UserError: The table is empty.
    """
    _not_empty(table)
    again = table["call"].astype(str).radd(" (call ").add(")").where(table["call"] > 0, "")
    rows = table.assign(name=table["layer"] + again)
    names = list(dict.fromkeys(rows["name"]))
    panels = [
        ("mean", "Mean output", 1),
        ("standard_deviation", "Standard deviation", 1),
        ("dead_share", "Dead units, %", 100),
        ("saturated_share", "Saturated outputs, %", 100),
    ]
    panels = [panel for panel in panels if rows[panel[0]].notna().any()]
    columns = rows.groupby(["fit", "epoch"]).ngroups
    width = 0.6 + _name_width(names) + len(panels) * (1.3 + min(0.22 * columns, 2.0))
    with styled():
        figure = new_figure(width, 1.3 + 0.24 * len(names))
        panes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (column, title, factor) in zip(panes, panels, strict=True):
            values = rows.pivot(index="name", columns=["fit", "epoch"], values=column).reindex(names) * factor
            _cells(figure, axes, values, "", logarithmic=False, share=factor == 100, centred=column == "mean")
            axes.set_title(title)
            if axes is not panes[0]:
                axes.set_yticks([])
        panes[0].set_ylabel("layer, from inputs to outputs")
    return figure


_QUANTITIES = {
    "gradient_norm": ("Gradient norm", "2-norm of the gradient"),
    "weight_norm": ("Weight norm", "2-norm of the weight"),
    "update_ratio": ("Update ratio", "update norm / weight norm"),
    "zero_share": ("Zeros in the gradient", "share of the gradient's elements"),
}
_STATISTICS = {
    "mean": "mean",
    "median": "median",
    "p05": "5th percentile",
    "p95": "95th percentile",
    "maximum": "maximum",
}


def _not_empty(table: "pd.DataFrame") -> None:
    if not len(table):
        raise UserError("there is nothing to draw: the table is empty; fit a model with the callback first")


def _of_quantity(table: "pd.DataFrame", quantity: str, statistic: str) -> "pd.DataFrame":
    _not_empty(table)
    for word, words in ((quantity, _QUANTITIES), (statistic, _STATISTICS)):
        if word not in words:
            raise UserError(f"{word!r} cannot be drawn; {nearest(word, words)}")
    return table[table["quantity"] == quantity]


def _name_width(names: Sequence[str]) -> float:
    """Returns the inches that names on an axis take."""
    return 0.068 * max(map(len, names))


def _cells(
    figure: "Figure",
    axes: "Axes",
    values: "pd.DataFrame",
    unit: str,
    *,
    logarithmic: bool,
    share: bool = False,
    centred: bool = False,
) -> None:
    """Draws a matrix of layers by epochs with its colour bar."""
    numbers = values.to_numpy(float)
    shown = np.ma.masked_where(~np.isfinite(numbers) | (logarithmic & (numbers <= 0)), numbers)
    # What has no colour is neither small nor large: hatches show through.
    axes.patch.set(facecolor="white", hatch="////", edgecolor=PALE)
    norm = _norm(shown, logarithmic, share, centred)
    mesh = axes.pcolormesh(shown, cmap="PuOr" if centred else _MAP, norm=norm, edgecolors="white", linewidth=0.4)
    axes.invert_yaxis()
    axes.set_yticks(np.arange(len(values)) + 0.5, list(values.index))
    epochs: Any = list(values.columns)
    _epoch_ticks(axes, epochs, 0.5)
    if shown.count() < shown.size:
        axes.set_xlabel("epoch (hatched: no value)")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(mesh, ax=axes, fraction=0.06, pad=0.03)
    bar.set_label(unit)
    bar.outline.set_visible(False)


def _norm(shown: np.ma.MaskedArray, logarithmic: bool, share: bool, centred: bool) -> Any:
    """Returns how numbers become colours: in logarithms, in percent, around zero, or from zero."""
    from matplotlib.colors import LogNorm, Normalize

    if share or not shown.count():
        return Normalize(0, 100)
    if logarithmic:
        return LogNorm(shown.min(), max(shown.max(), shown.min() * 1.01))
    largest = max(float(np.abs(shown).max()), 1e-9)
    return Normalize(-largest if centred else 0, largest)


def _epoch_ticks(axes: "Axes", columns: Sequence[tuple[int, int]], offset: float) -> None:
    """Numbers some of the epochs, and says where another fit begins."""
    begins = [place for place in range(1, len(columns)) if columns[place][0] != columns[place - 1][0]]
    step = max(1, -(-len(columns) // 8))
    regular = [place for place in range(0, len(columns), step) if all(abs(place - begin) >= step for begin in begins)]
    labels = {place: str(columns[place][1]) for place in regular}
    labels |= {place: f"{columns[place][1]}\nfit {columns[place][0] + 1}" for place in begins}
    axes.set_xticks([place + offset for place in labels], list(labels.values()))
    axes.set_xlabel("epoch")
    for place in begins:
        axes.axvline(place - 0.5 + offset, color=GREY, linewidth=0.9, linestyle=(0, (2, 2)))


def _lines(
    table: "pd.DataFrame",
    quantity: str,
    layers: Sequence[str] | None,
    reference: tuple[float, str] | None = None,
) -> "Figure":
    rows = _of_quantity(table, quantity, "median")
    firsts = rows.drop_duplicates("layer")[["layer", "variable"]].itertuples(index=False)
    weights: dict[str, str] = dict(firsts)
    chosen = _chosen(list(weights), layers)
    columns = list(dict.fromkeys(zip(rows["fit"], rows["epoch"], strict=True)))
    place = {column: number for number, column in enumerate(columns)}
    names = [f"{layer}/{weights[layer]}" for layer in chosen]
    with styled():
        figure = new_figure(4.6 + _name_width(names), 3.0)
        axes = figure.subplots()
        # More bands than a few hide one another.
        banded = len(chosen) <= 3
        for layer, name, (colour, marker) in zip(chosen, names, LINES, strict=False):
            own = rows[(rows["layer"] == layer) & (rows["variable"] == weights[layer])]
            x = [place[column] for column in zip(own["fit"], own["epoch"], strict=True)]
            median, low, high = (own[part].where(own[part] > 0).to_numpy(float) for part in ("median", "p05", "p95"))
            if banded:
                axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(x, median, color=colour, marker=marker, markersize=4, linewidth=1.5, label=name)
        if reference is not None:
            axes.axhline(reference[0], color=GREY, linewidth=1.2, linestyle=(0, (5, 3)), label=reference[1])
        axes.set_yscale("log")
        plain_logarithms(axes.yaxis)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel(_QUANTITIES[quantity][1])
        _epoch_ticks(axes, columns, 0)
        spread = " and 5 to 95 %" if banded else ""
        some = f", {len(chosen)} of {len(weights)} layers" if layers is None and len(chosen) < len(weights) else ""
        axes.set_title(f"{_QUANTITIES[quantity][0]}: median{spread} of the steps{some}")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _chosen(names: Sequence[str], layers: Sequence[str] | None) -> list[str]:
    if layers is None:
        places = np.linspace(0, len(names) - 1, min(len(LINES), len(names))).round().astype(int)
        return [names[place] for place in places]
    for layer in layers:
        if layer not in names:
            raise UserError(f"the table has no layer {layer!r}; {nearest(layer, names)}")
    if len(layers) > len(LINES):
        raise UserError(f"{len(layers)} layers are too many to tell apart in one picture; choose up to {len(LINES)}")
    return list(layers)
