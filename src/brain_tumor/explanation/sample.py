"""Grad-CAM for the chosen predictions, ready to be drawn."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels
from brain_tumor.explanation.gradcam import Maps, normalise, upsample
from brain_tumor.explanation.overlays import Choice, Explanation, Panel

BATCH = 32


def explain(
    choices: Sequence[Choice],
    images: Pixels,
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    maps_of: Callable[[NDArray[np.int64], NDArray[np.int64]], Maps],
) -> list[Explanation]:
    """Explain the classes of interest of each chosen prediction.

    Args:
        choices: whose `row` counts in `images` and `probabilities`.
        images: (images, size, size), grey values.
        probabilities: (images, classes).
        classes: names, in the order of the columns.
        maps_of: Grad-CAM of a batch, from rows and class indices.

    Returns:
        One for each choice, in order; its heat maps have the size of the image.
    """
    wanted = np.array([(choice.row, target) for choice in choices for target in choice.targets])
    panels = []
    for batch in np.array_split(wanted, -(-len(wanted) // BATCH)):
        maps = maps_of(batch[:, 0], batch[:, 1])
        heats = normalise(upsample(maps.values, images.shape[1]))
        for (row, target), heat, maximum in zip(batch, heats, maps.maxima, strict=True):
            panels.append(Panel(classes[target], float(probabilities[row, target]), heat, float(maximum)))
    remaining = iter(panels)
    return [
        Explanation(
            name=choice.name,
            image=images[choice.row],
            truth=classes[choice.truth],
            panels=tuple(next(remaining) for _ in choice.targets),
        )
        for choice in choices
    ]


def summary(explanations: Sequence[Explanation]) -> dict[str, object]:
    """How many predictions were explained, and how strong the maps of the predicted classes are.

    Returns:
        For right and wrong predictions: `images`, `flat_maps` (no place speaks for the class) and `mean_maximum`, the
        mean over images of the map's largest value in logits; None without images.
    """
    parts: dict[str, object] = {"images": len(explanations)}
    for name, right in (("right", True), ("wrong", False)):
        maxima = [explanation.panels[0].maximum for explanation in explanations if explanation.right == right]
        parts[name] = {
            "images": len(maxima),
            "flat_maps": sum(maximum == 0 for maximum in maxima),
            "mean_maximum": float(np.mean(maxima)) if maxima else None,
        }
    return parts
