"""Maps of all predictions and of the chosen ones, these ready to be drawn."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels
from brain_tumor.explanation.gradcam import Heat, Maps, normalise, upsample
from brain_tumor.explanation.overlays import Choice, Explanation, Panel

BATCH = 32

MapsOf = Callable[[NDArray[np.int64], NDArray[np.int64]], Maps]
"""Maps of a batch, from rows and class indices."""


def explain_all(targets: NDArray[np.int64], maps_of: MapsOf) -> Heat:
    """Explain one class for every image.

    Args:
        targets: (images,), class indices.
        maps_of: from rows of `targets`.

    Returns:
        (images, height, width) of the explained layer, as in `Maps.values`.
    """
    batches = np.array_split(np.arange(len(targets)), -(-len(targets) // BATCH))
    return np.concatenate([maps_of(rows, targets[rows]).values for rows in batches])


def fixed_sample(paths: Sequence[str], size: int) -> NDArray[np.int64]:
    """Rows of at most `size` images, in order; by the digest of the path, so that they stay whatever the model says."""
    order = sorted(range(len(paths)), key=lambda row: hashlib.sha256(paths[row].encode()).digest())
    return np.array(sorted(order[:size]), np.int64)


def explain(
    choices: Sequence[Choice],
    images: Pixels,
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    maps_of: MapsOf,
) -> list[Explanation]:
    """Explain the classes of interest of each chosen prediction.

    Args:
        choices: whose `row` counts in `images` and `probabilities`.
        images: (images, size, size), grey values.
        probabilities: (images, classes).
        classes: names, in the order of the columns.
        maps_of: from rows of `images`.

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


def maps_summary(maps: Heat, right: NDArray[np.bool_]) -> dict[str, object]:
    """How strong the maps of the predicted classes are.

    Args:
        maps: (images, height, width), not scaled.
        right: (images,), whether the prediction is true.

    Returns:
        For right and wrong predictions: `images`, `flat_maps` (no place speaks for the class) and `mean_maximum`, the
        mean over images of the map's largest value; None without images.
    """
    maxima = maps.max(axis=(1, 2))
    parts: dict[str, object] = {}
    for name, chosen in (("right", maxima[right]), ("wrong", maxima[~right])):
        parts[name] = {
            "images": len(chosen),
            "flat_maps": int((chosen == 0).sum()),
            "mean_maximum": round(float(chosen.mean()), 4) if len(chosen) else None,
        }
    return parts
