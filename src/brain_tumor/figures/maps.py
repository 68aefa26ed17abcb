"""Maps laid over their images."""

from collections.abc import Sequence

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels
from brain_tumor.explanation.sample import Explanation, Panel
from brain_tumor.figures.style import BLUE, GREY, IMAGE_DPI, VERMILLION, bare, show, styled

CORRECT, WRONG = "✓", "✗"
"""Marks, so that correct and wrong differ without colour."""

STRENGTH = 0.75
"""Opacity of the hottest place; a cold one is transparent, so the anatomy stays visible."""


def blend(image: Pixels, heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay a heat map over a grey image.

    Args:
        image: (height, width).
        heat: (height, width), 0 to 1. Colour (viridis) and opacity both grow with it.

    Returns:
        (height, width, 3), RGB.
    """
    grey = image[..., None].astype(np.float32) / 255  # (height, width, 1)
    colour = matplotlib.colormaps["viridis"](heat)[..., :3]
    opacity = STRENGTH * heat[..., None]
    mixed: NDArray[np.float64] = (1 - opacity) * grey + opacity * colour
    return (mixed * 255).round().astype(np.uint8)


def layer(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(height, width, 4), RGBA: what `blend` lays over an image, for a page that lays it there itself."""
    coloured = matplotlib.colormaps["viridis"](heat)
    coloured[..., 3] = STRENGTH * heat
    return np.asarray((coloured * 255).round(), np.uint8)


@styled
def gradcam_picture(explanation: Explanation) -> Figure:
    """One image, and beside it an overlay for each explained class."""
    panels = explanation.panels
    figure = Figure((2.3 * (1 + len(panels)) + 0.2, 2.95), dpi=IMAGE_DPI, layout="constrained")
    first, *others = figure.subplots(1, 1 + len(panels))
    show(first, explanation.image)
    first.set_title(f"truth: {explanation.truth}")
    for axes, panel in zip(others, panels, strict=True):
        _overlay(axes, explanation, panel)
        axes.set_title(f"for {panel.explained}, p = {panel.probability:.3f}")
        axes.set_xlabel(f"map's maximum {panel.maximum:.3g}" if panel.maximum > 0 else "nothing speaks for it")
    mark, colour = _mark(explanation)
    title = f"{mark}  predicted: {explanation.prediction}, p = {panels[0].probability:.3f}"
    figure.suptitle(title, x=0.02, ha="left", weight="bold", color=colour)
    return figure


@styled
def gradcam_overview(explanations: Sequence[Explanation], classes: Sequence[str]) -> Figure:
    """All explained images on one sheet: a row a class, correct before wrong predictions, each with its class's map.

    Args:
        explanations: in any order; shown in the order given. Where there are none, the sheet says so.
        classes: the rows.

    Raises:
        ValueError: a true class that is not among `classes`.
    """
    if not {item.truth for item in explanations} <= set(classes):
        raise ValueError(f"true classes must be among {', '.join(classes)}")
    cells = {
        word: [[item for item in explanations if item.truth == name and item.correct == correct] for name in classes]
        for word, correct in (("correct", True), ("wrong", False))
    }
    widths = [max(1, *map(len, rows)) for rows in cells.values()]
    figure = Figure((1.35 * max(sum(widths), 4) + 0.4, 1.62 * len(classes) + 0.45), dpi=IMAGE_DPI, layout="constrained")
    grid = figure.subplots(len(classes), sum(widths), squeeze=False)
    for axes in grid.ravel():
        bare(axes)
    for (word, rows), places in zip(cells.items(), np.split(grid, widths[:1], axis=1), strict=True):
        for row, line in zip(rows, places, strict=True):
            if not row:
                line[0].text(0.5, 0.5, f"none {word}", ha="center", va="center", color=GREY)
            for axes, explanation in zip(line, row, strict=False):
                panel, (mark, colour) = explanation.panels[0], _mark(explanation)
                _overlay(axes, explanation, panel)
                axes.set_title(f"{mark} {panel.explained}\np = {panel.probability:.3f}", fontsize=8, color=colour)
    for axes, name in zip(grid[:, 0], classes, strict=True):
        axes.set_ylabel(name, fontsize=10)
    figure.suptitle(
        f"Rows: true class. Above each image: {CORRECT} correct or {WRONG} wrong, predicted class, its probability.\n"
        "Colour: what speaks for the predicted class. Line: half of the map's maximum.",
        x=0.01,
        ha="left",
        fontsize=8,
    )
    return figure


def _overlay(axes: Axes, explanation: Explanation, panel: Panel) -> None:
    """The blended image, and a line around the places above half of the maximum, which also shows without colour."""
    show(axes, blend(explanation.image, panel.heat))
    if panel.heat.min() < 0.5 < panel.heat.max():
        line = axes.contour(panel.heat, levels=[0.5], colors="white", linewidths=1.0)
        line.set_path_effects([withStroke(linewidth=2.2, foreground="black")])


def _mark(explanation: Explanation) -> tuple[str, str]:
    """A sign and a colour."""
    return (CORRECT, BLUE) if explanation.correct else (WRONG, VERMILLION)
