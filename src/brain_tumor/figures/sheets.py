"""Sheets of images."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from brain_tumor.data.images import Pixels
from brain_tumor.figures.style import IMAGE_DPI, nothing, show, styled


@styled
def augmentation_sheet(
    originals: Sequence[Pixels], augmented: Sequence[Sequence[Pixels]], labels: Sequence[str]
) -> Figure:
    """Originals, each beside the augmented images that are made of it.

    Args:
        originals: each (height, width).
        augmented: for each original its augmented images, (height, width) each; not every original needs as many.
        labels: what to write beside each original, for example its class.

    Raises:
        ValueError: lengths that do not agree.
    """
    lines = list(zip(originals, augmented, labels, strict=True))
    if not lines:
        return nothing("no augmented images")
    rows, columns = len(lines), 1 + max(map(len, augmented))
    figure = Figure((1.45 * columns + 0.5, 1.5 * rows + 0.3), dpi=IMAGE_DPI, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for line, (original, changed, label) in zip(grid, lines, strict=True):
        for axes in line:
            axes.set_axis_off()
        for axes, image in zip(line, (original, *changed), strict=False):
            show(axes, image)
        line[0].set_axis_on()
        line[0].set_ylabel(label)
    grid[0, 0].set_title("original")
    for number, axes in enumerate(grid[0, 1:], start=1):
        axes.set_title(f"augmented {number}")
    return figure


@styled
def pair_sheet(pairs: Sequence[tuple[Sequence[Pixels], Sequence[str], str]], columns: int = 3) -> Figure:
    """Duplicates side by side, pair by pair.

    Args:
        pairs: for each its one or two images (height, width), a title for each image, and a caption for both.
        columns: pairs in a row.
    """
    if not pairs:
        return nothing("no duplicates across the published folders")
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


@styled
def mistakes_sheet(images: Sequence[Pixels], captions: Sequence[str], columns: int = 6) -> Figure:
    """Wrong predictions, an image and a caption each.

    Args:
        images: each (height, width).
        captions: for example truth, prediction and probability.
        columns: images in a row.

    Raises:
        ValueError: lengths that do not agree.
    """
    mistakes = list(zip(images, captions, strict=True))
    if not mistakes:
        return nothing("no mistakes")
    rows = -(-len(mistakes) // columns)
    figure = Figure((1.75 * columns, 2.3 * rows), dpi=IMAGE_DPI, layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in places:
        axes.set_axis_off()
    for axes, (image, caption) in zip(places, mistakes, strict=False):
        show(axes, image)
        axes.set_title(caption, fontsize=7.5)
    return figure
