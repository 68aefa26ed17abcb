"""The style of every figure (readable in print and for colour-blind people, the same bytes for the same values), and
sheets of pictures. Figures of scores are in `score_plots.py`."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from brain_tumor.data.images import Pixels
from brain_tumor.explanation.overlays import Explanation, Panel, blend
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

RIGHT, WRONG = "✓", "✗"
"""Marks, so that right and wrong are told without colour."""


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all; nothing in it tells version or date."""
    with _style(), atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})


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
def augmentation_sheet(
    originals: Sequence[Pixels], copies: Sequence[Sequence[Pixels]], labels: Sequence[str]
) -> Figure:
    """Originals, each beside the changed copies that are made of it.

    Args:
        originals: each (height, width).
        copies: for each original its copies, (height, width) each; not every original needs as many.
        labels: what to write beside each original, for example its class.

    Raises:
        ValueError: no originals, or lengths that do not agree.
    """
    if not originals or not len(originals) == len(copies) == len(labels):
        raise ValueError(f"{len(originals)} originals, {len(copies)} lists of copies, {len(labels)} labels")
    rows, columns = len(originals), 1 + max(map(len, copies))
    figure = Figure((1.45 * columns + 0.5, 1.5 * rows + 0.3), dpi=IMAGE_DPI, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for line, original, changed, label in zip(grid, originals, copies, labels, strict=True):
        for axes in line:
            axes.set_axis_off()
        for axes, image in zip(line, (original, *changed), strict=False):
            show(axes, image)
        line[0].set_axis_on()
        line[0].set_ylabel(label)
    grid[0, 0].set_title("original")
    for number, axes in enumerate(grid[0, 1:], start=1):
        axes.set_title(f"copy {number}")
    return figure


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
    called = f"predicted: {explanation.prediction}, p = {panels[0].probability:.3f}"
    figure.suptitle(f"{_mark(explanation)}  {called}", x=0.02, ha="left", weight="bold", color=_colour(explanation))
    return figure


@styled
def gradcam_overview(explanations: Sequence[Explanation], classes: Sequence[str]) -> Figure:
    """All explained images on one sheet: a row a class, right predictions first, each with the predicted class's map.

    Args:
        explanations: in any order; shown in the order given.
        classes: the rows.

    Raises:
        ValueError: no explanations, or a true class that is not among `classes`.
    """
    if not explanations or not {item.truth for item in explanations} <= set(classes):
        raise ValueError(f"{len(explanations)} explanations, true classes must be among {', '.join(classes)}")
    right = {name: [e for e in explanations if e.truth == name and e.right] for name in classes}
    wrong = {name: [e for e in explanations if e.truth == name and not e.right] for name in classes}
    widths = [max(map(len, part.values())) for part in (right, wrong)]
    figure = Figure((1.35 * max(sum(widths), 4) + 0.4, 1.62 * len(classes) + 0.45), dpi=IMAGE_DPI, layout="constrained")
    grid = figure.subplots(len(classes), sum(widths), squeeze=False)
    for line, name in zip(grid, classes, strict=True):
        for axes in line:
            _frame(axes)
        for word, part, places in (
            ("right", right[name], line[: widths[0]]),
            ("wrong", wrong[name], line[widths[0] :]),
        ):
            if len(places) and not part:
                places[0].text(0.5, 0.5, f"none {word}", ha="center", va="center", color=GREY)
            for axes, explanation in zip(places, part, strict=False):
                panel = explanation.panels[0]
                _overlay(axes, explanation, panel)
                title = f"{_mark(explanation)} {panel.explained}\np = {panel.probability:.3f}"
                axes.set_title(title, fontsize=8, color=_colour(explanation))
        line[0].set_ylabel(name, fontsize=10)
    figure.suptitle(
        f"Rows: true class. Above each image: {RIGHT} right or {WRONG} wrong, predicted class, its probability.\n"
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


def show(axes: Axes, image: Pixels) -> None:
    """Draw a grey picture without frame or ticks."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    _frame(axes)


def _frame(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _mark(explanation: Explanation) -> str:
    return RIGHT if explanation.right else WRONG


def _colour(explanation: Explanation) -> str:
    return BLUE if explanation.right else VERMILLION


@styled
def pair_sheet(pairs: Sequence[tuple[Sequence[Pixels], Sequence[str], str]], columns: int = 3) -> Figure:
    """Pictures side by side, pair by pair.

    Args:
        pairs: for each its one or two images (height, width), a title for each image, and a caption for both.
        columns: pairs in a row.

    Raises:
        ValueError: no pairs.
    """
    if not pairs:
        raise ValueError("no pairs")
    rows = -(-len(pairs) // columns)
    figure = Figure((3.3 * columns, 1.95 * rows), dpi=IMAGE_DPI, layout="constrained")
    cells = figure.subfigures(rows, columns, squeeze=False, wspace=0.06, hspace=0.05).ravel()
    for cell, (images, titles, caption) in zip(cells, pairs, strict=False):
        cell.suptitle(caption, fontsize=8)
        for axes, image, title in zip(cell.subplots(1, 2), (*images, None)[:2], (*titles, "")[:2], strict=True):
            axes.set_axis_off()
            axes.set_title(title, fontsize=6)
            if image is not None:
                show(axes, image)
    return figure
