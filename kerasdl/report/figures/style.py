"""What carries a figure to the page, and how its text and axes are written."""

import io
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from kerasdl.drawing import RESOLUTION, styled
from kerasdl.report.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A drawn figure with its words.

    Attributes:
        name: The stem of its file name.
        title: What it is about.
        alt: What it shows, for those who cannot see it.
        caption: How to read it.
        figure: The figure.
    """

    name: str
    title: str
    alt: str
    caption: str
    figure: "Figure"

    @property
    def width(self) -> int:
        """Its width on the page, in CSS pixels."""
        return round(self.figure.get_figwidth() * 96)

    @property
    def height(self) -> int:
        """Its height on the page, in CSS pixels."""
        return round(self.figure.get_figheight() * 96)

    def settle(self) -> None:
        """Lays the figure out, once for all formats: what draws it afterwards only draws."""
        with styled():
            engine = self.figure.get_layout_engine()
            if engine is not None:
                engine.execute(self.figure)
        self.figure.set_layout_engine("none")

    # The canvases print by themselves: `Figure.savefig` would draw everything once more, for a layout that is settled.

    def svg(self) -> bytes:
        """Returns it as SVG, the same bytes for the same figure."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        buffer = io.BytesIO()
        canvas = self.figure.canvas
        with styled():
            FigureCanvasSVG(self.figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
        # Printing left its own canvas and 72 dots an inch, the unit of its format.
        self.figure.set_canvas(canvas)
        self.figure.dpi = RESOLUTION
        return buffer.getvalue()

    def png(self) -> bytes:
        """Returns it as PNG, 150 dots an inch."""
        buffer = io.BytesIO()
        # The canvas of the layout knows how long each text is.
        canvas: Any = self.figure.canvas
        # A higher compression takes half as long again and saves next to nothing.
        options = {"compress_level": 3}
        with styled():
            canvas.print_png(buffer, metadata={"Software": None}, pil_kwargs=options)
        return buffer.getvalue()


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib import font_manager

    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def label(text: str, length: int = 60) -> str:
    """Returns text that the figures' font can show, on one line, cut to a length.

    Args:
        text: Any text.
        length: The most characters to keep.

    Returns:
        The text; characters that the font lacks are replaced by a box.
    """
    shown = "".join(
        " "
        if unicodedata.category(character).startswith(("C", "Z"))
        else character
        if ord(character) in _glyphs()
        else "□"
        for character in text
    )
    shown = " ".join(shown.split())
    return shown if len(shown) <= length else shown[: length - 1].rstrip() + "…"


def wrapped(text: str, width: int, lines: int = 3) -> str:
    """Returns a label broken into at most so many lines of about `width` characters."""
    import textwrap

    return "\n".join(textwrap.wrap(label(text, width * lines), width, max_lines=lines, placeholder="…"))


def is_log_spaced(values: Sequence[float]) -> bool:
    """Tells whether positive values are spread over factors rather than steps: a log axis shows them better."""
    ordered = sorted(set(values))
    if len(ordered) < 3 or ordered[0] <= 0:
        return len(ordered) == 2 and ordered[0] > 0 and ordered[1] / ordered[0] >= 20
    ratio = ordered[-1] / ordered[0]
    middle = ordered[len(ordered) // 2]
    # Half of the values below the geometric mean's neighbourhood: closer to even in logarithms than in numbers.
    linear = abs((middle - ordered[0]) / (ordered[-1] - ordered[0]) - 0.5)
    logarithmic = abs(math.log(middle / ordered[0]) / math.log(ratio) - 0.5)
    return ratio >= 8 and logarithmic < linear


def number_ticks(axis: Any, values: Sequence[float]) -> None:
    """Puts plain numbers on an axis at the given values only."""
    axis.set_ticks(list(values))
    axis.set_ticklabels([number(value) for value in values])
    axis.set_minor_locator(_no_ticks())


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def strip_grid(axes: "Axes") -> None:
    """Takes the grid and the frame away, for pictures made of cells."""
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
