"""How all figures look, those of runs and those of what was watched."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# M. Okabe and K. Ito, Color Universal Design, 2008.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
GREY = "#6b7280"
PALE = "#c9ced6"

# Each colour with a marker, so that colour is never alone.
LINES = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PURPLE, "D"), (SKY, "v"), (VERMILION, "P"), (BLACK, "X"))

# Dots an inch of the PNG files.
RESOLUTION = 150

_PARAMETERS = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#4b5563",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.7,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.06,
    "svg.fonttype": "path",
    "svg.hashsalt": "kerasdl",
    # A dollar sign in a class name is a dollar sign.
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    # One resolution and no fitting of letters to pixels: text measures the same for the layout and for every format.
    "figure.dpi": RESOLUTION,
    "text.hinting": "none",
    "axes.unicode_minus": True,
}


def styled() -> AbstractContextManager[None]:
    """Returns the context in which figures are made and saved; matplotlib's own settings are put back after it."""
    import matplotlib

    context: AbstractContextManager[None] = matplotlib.rc_context(_PARAMETERS)
    return context


def new_figure(width: float, height: float) -> "Figure":
    """Makes an empty figure, in inches, that draws with Agg."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def label_epochs(axes: "Axes") -> None:
    """Names an axis of epochs and marks whole ones alone, the only one of a short training among them."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def plain_logarithms(axis: "Axis", write: "Callable[[float], str] | None" = None) -> None:
    """Writes plain numbers on a logarithmic axis whose limits are set: powers would need formulas, which are not drawn.

    Args:
        axis: `axes.xaxis` or `axes.yaxis`.
        write: How a number is written; as `f"{number:g}"` where absent.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    between = (1.0, 2.0, 5.0) if high / low < 100 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=between, numticks=9))
    axis.set_major_formatter("{x:g}" if write is None else lambda number, _: write(number))
    axis.set_minor_formatter(NullFormatter())
