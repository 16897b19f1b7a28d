"""Figures say what they show, draw without a display, and stay readable with gaps and several fits."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kerasdl.errors import UserError
from kerasdl.watch import figures

pytestmark = pytest.mark.backend_free

QUANTITIES = ("gradient_norm", "weight_norm", "update_ratio", "zero_share")


def gradients(layers: int = 9) -> pd.DataFrame:
    """Two fits of three epochs and one; the first layer's gradient vanishes, the last's explodes at the end."""
    rows = []
    for fit, epoch in ((0, 0), (0, 1), (0, 2), (1, 0)):
        for layer in range(layers):
            for variable in ("kernel", "bias"):
                for quantity in QUANTITIES:
                    median = 10.0 ** (layer - 8) if layer else 0.0
                    median = np.nan if layer == layers - 1 and fit else median
                    rows.append(
                        {"fit": fit, "epoch": epoch, "layer": f"dense_{layer}", "variable": variable}
                        | {"quantity": quantity, "mean": median, "median": median, "maximum": median}
                        | {"p05": median / 2, "p95": median * 2, "steps": 5, "not_finite": 0}
                    )
    return pd.DataFrame(rows)


def activations() -> pd.DataFrame:
    columns = ["fit", "epoch", "layer", "call", "mean", "standard_deviation", "dead_share", "saturated_share"]
    rows = [
        (0, epoch, layer, call, 0.1 * epoch, 1.0, 0.2, np.nan)
        for epoch in range(3)
        for layer, call in (("first", 0), ("twice", 0), ("twice", 1))
    ]
    return pd.DataFrame(rows, columns=columns)


def png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def names(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_the_map_has_a_row_for_each_weight_from_inputs_to_outputs() -> None:
    figure = figures.gradient_map(gradients())
    axes, bar = figure.axes
    assert names(axes.yaxis)[:3] == ["dense_0/kernel", "dense_0/bias", "dense_1/kernel"]
    assert axes.yaxis_inverted()
    assert axes.get_xlabel() == "epoch (hatched: no value)"
    assert names(axes.xaxis) == ["0", "1", "2", "0\nfit 2"]
    assert bar.get_ylabel() == "2-norm of the gradient"
    mesh = axes.collections[0]
    # A gradient of zero has no place on a logarithmic scale, nor has one that is not finite.
    assert mesh.get_array().mask.sum() == 2 * 4 + 2
    assert mesh.norm.vmin == pytest.approx(1e-7)
    assert png(figure).startswith(b"\x89PNG")
    assert png(figures.gradient_map(gradients(), "zero_share", "maximum")).startswith(b"\x89PNG")


def test_lines_show_no_more_layers_than_can_be_told_apart() -> None:
    table = gradients()
    axes = figures.gradient_lines(table).axes[0]
    assert [line.get_label() for line in axes.lines if "/" in line.get_label()][:2] == [
        "dense_0/kernel",
        "dense_1/kernel",
    ]
    assert len({(line.get_color(), line.get_marker()) for line in axes.lines if "/" in line.get_label()}) == 7
    assert axes.get_title(loc="left").endswith("7 of 9 layers")
    assert axes.get_yscale() == "log"
    figure = figures.update_ratio_lines(table, ["dense_8", "dense_2"])
    axes = figure.axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["dense_8/kernel", "dense_2/kernel", "rule of thumb, 1e-3"]
    assert axes.get_ylabel() == "update norm / weight norm"
    # A band each, for the steps between the 5th and the 95th percentile.
    assert len(axes.collections) == 2
    assert png(figure).startswith(b"\x89PNG")


def test_activations_have_a_panel_for_each_number_that_there_is() -> None:
    figure = figures.activation_maps(activations())
    titled = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in titled] == ["Mean output", "Standard deviation", "Dead units, %"]
    assert names(titled[0].yaxis) == ["first", "twice", "twice (call 1)"]
    np.testing.assert_allclose(titled[2].collections[0].get_array(), 20)
    assert png(figure).startswith(b"\x89PNG")


def test_mistakes_are_named() -> None:
    table = gradients()
    with pytest.raises(UserError, match="the table is empty"):
        figures.gradient_map(table[:0])
    with pytest.raises(UserError, match="did you mean 'gradient_norm'"):
        figures.gradient_map(table, "gradient_nrom")
    with pytest.raises(UserError, match="did you mean 'dense_3'"):
        figures.gradient_lines(table, ["dens_3"])
    with pytest.raises(UserError, match="too many"):
        figures.gradient_lines(table, [f"dense_{number}" for number in range(8)])
