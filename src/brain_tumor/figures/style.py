"""The style of every figure: readable in print and for colour-blind people, the same bytes for the same values."""

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from brain_tumor.data.images import Pixels
from brain_tumor.files import atomic_file

P = ParamSpec("P")

BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#6E6E6E"
"""From the palette of Okabe and Ito (2008), which all kinds of colour vision tell apart; and a grey."""

STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "image.interpolation": "antialiased",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.dpi": 150,
    "savefig.dpi": "figure",
}

IMAGE_DPI = 100
"""For sheets of images, where more would only enlarge what has some 200 pixels a side."""


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG of 256 colours, whole or not at all; nothing in it tells version or date."""
    content = io.BytesIO()
    with _style():
        figure.savefig(content, format="png")
    with atomic_file(path) as temporary:
        colours = Image.open(content).convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        colours.save(temporary, format="png", optimize=True)


def _style() -> Any:
    """The style alone, whatever the user's own settings are."""
    return matplotlib.style.context(["default", STYLE])


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Let a function draw in the style of all figures, and leave matplotlib's own settings alone."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _style():
            return draw(*args, **kwargs)

    return drawn


@styled
def nothing(reason: str) -> Figure:
    """The figure in the place of one without content; it says why."""
    figure = Figure((6, 1.2), layout="constrained")
    axes = figure.add_subplot()
    bare(axes)
    axes.text(0.5, 0.5, reason, ha="center", va="center", color=GREY)
    return figure


def show(axes: Axes, image: Pixels) -> None:
    """Draw a grey picture without frame or ticks."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    bare(axes)


def bare(axes: Axes) -> None:
    """Take away frame, ticks and grid."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)
