"""How well tumour can be told from no tumour without looking at the brain.

Pictures with and without a tumour come from different collections. Where the kind of picture gives the answer away, a
high score says little about tumours. So a small classifier is given only what tells the kind of picture: if it does
well, so could the network, without having found a single tumour.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from sklearn.ensemble import HistGradientBoostingClassifier

from brain_tumor.data.images import Pixels

Floats = NDArray[np.float64]

GREYS = 32
"""Bins of the intensity histogram."""

_BORDER = 0.04  # width of the border, as a share of the side
_NEAR_BLACK = 12  # of 255; compression leaves noise below it
_COLOUR_MODES = ("RGB", "RGBA", "P", "CMYK")


def surroundings(images: Pixels) -> Floats:
    """What of each picture is no brain: border, corners, background, and how much of the frame the head fills.

    Args:
        images: (images, size, size).

    Returns:
        (images, 15): mean, deviation and three quantiles of the border's greys; mean of each corner; the darkest
        hundredth of all greys; share of nearly black pixels; extent and middle, across and down, of what is not.
    """
    return np.array([_surroundings(image) for image in images], np.float64)


def histogram(images: Pixels) -> Floats:
    """(images, `GREYS`): share of the pixels in each bin of grey values, wherever they are in the picture."""
    width = 256 // GREYS
    counts = [np.bincount((image // width).ravel(), minlength=GREYS) for image in images]
    shares: Floats = np.array(counts, np.float64) / images[0].size
    return shares


def file_features(paths: Sequence[Path]) -> Floats:
    """What the files tell without their pixels: (images, 4): width, height, aspect ratio, whether they have colour."""
    features = np.empty((len(paths), 4))
    for row, path in enumerate(paths):
        with Image.open(path) as image:  # reads the header only
            features[row] = (*image.size, image.width / image.height, image.mode in _COLOUR_MODES)
    return features


def guess_tumour(train: Floats, tumour: ArrayLike, test: Floats, seed: int) -> Floats:
    """Train gradient-boosted trees to tell tumour from no tumour by these features, and let them guess.

    Args:
        train: (images, features).
        tumour: (images,), True where the picture shows a tumour. Both classes weigh the same.
        test: (images, features), of other pictures.
        seed: of the trees.

    Returns:
        (test images, 2): probability of no tumour and of a tumour.
    """
    trees = HistGradientBoostingClassifier(class_weight="balanced", early_stopping=False, random_state=seed)
    trees.fit(train, np.asarray(tumour, bool))
    guesses: Floats = trees.predict_proba(test)
    return guesses


def _surroundings(image: Pixels) -> list[float]:
    size = len(image)
    edge = max(1, round(_BORDER * size))
    inner = np.zeros_like(image, bool)
    inner[edge:-edge, edge:-edge] = True
    border = image[~inner]
    corner = slice(None, 2 * edge), slice(-2 * edge, None)
    corners = [float(image[rows, columns].mean()) for rows in corner for columns in corner]
    filled = image > _NEAR_BLACK
    extents = []
    for axis in (0, 1):
        places = np.flatnonzero(filled.mean(axis=axis) > 0.02) / size
        first, last = (places[0], places[-1]) if len(places) else (0.5, 0.5)
        extents += [last - first, (first + last) / 2]
    spread = np.quantile(border, (0.05, 0.5, 0.95))
    dark = np.quantile(image, 0.01)
    return [border.mean(), border.std(), *spread, *corners, float(dark), 1 - filled.mean(), *extents]
