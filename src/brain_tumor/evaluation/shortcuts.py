"""Shortcuts: how well features that show no brain separate tumour from no tumour.

Pictures with and without a tumour come from different collections. Where the kind of picture gives the answer away, a
high score says little about tumours. So a small classifier sees only features of the kind of picture: if it scores
well, the network could score as well without finding a single tumour.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.ensemble import HistGradientBoostingClassifier

from brain_tumor.data.arrays import Arrays
from brain_tumor.data.catalog import HEALTHY_INDEX
from brain_tumor.data.images import Pixels, image_header, read_images
from brain_tumor.evaluation.tables import Floats, Predictions, binary_table

OTHER_SOURCES = "other sources only"
"""Of test images that are not in the annotated collection."""

GREYS = 32
"""Bins of the intensity histogram."""

_BORDER = 0.04  # width of the border, as a share of the side
_NEAR_BLACK = 12  # of 255; compression leaves noise below it
_COLOUR_MODES = ("RGB", "RGBA", "P", "CMYK")


def shortcut_table(raw: Path, arrays: Arrays, predictions: Predictions, annotated: Collection[str]) -> pd.DataFrame:
    """How well files, surroundings and grey values alone separate tumour from no tumour, beside the network.

    Over all test images, and over those that are not in the annotated collection: there tumours and healthy heads
    both come from other sources, so that the collection itself gives nothing away.

    Args:
        raw: folder of the data set.
        arrays: train and test images.
        predictions: of the test images.
        annotated: paths of the images that are in the annotations; empty where there are none.

    Returns:
        Rows of `binary_table`.
    """
    train, test = arrays.train, arrays.test
    originals = train.index["augmented"].to_numpy() == 0
    files = [[raw / path for path in index["path"]] for index in (train.index[originals], test.index)]
    whole = [read_images(paths, train.images.shape[1]) for paths in files]
    seen = train.images[originals], test.images
    features = {
        "file: size, aspect, colour": [file_features(paths) for paths in files],
        "border and background, whole picture": [surroundings(images) for images in whole],
        "border and background, as the network sees it": [surroundings(images) for images in seen],
        "histogram, whole picture": [histogram(images) for images in whole],
        "histogram, as the network sees it": [histogram(images) for images in seen],
    }
    tumour, truth = train.labels[originals] != HEALTHY_INDEX, predictions.labels != HEALTHY_INDEX
    guesses = {name: guess_tumour(known, tumour, new, predictions.seed) for name, (known, new) in features.items()}
    healthy = predictions.probabilities[:, HEALTHY_INDEX]
    guesses["the network"] = np.stack([healthy, 1 - healthy], axis=1)
    table = binary_table(guesses, truth, predictions)
    other = ~test.index["path"].isin(annotated).to_numpy(bool)
    if not 0 < truth[other].sum() < other.sum() < len(other):
        return table
    elsewhere = {f"{name} ({OTHER_SOURCES})": guess[other] for name, guess in guesses.items()}
    return pd.concat([table, binary_table(elsewhere, truth[other], predictions.subset(other))])


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
    """What file headers say, (images, 4): width, height, aspect ratio, whether the picture has colour."""
    features = np.empty((len(paths), 4))
    for row, path in enumerate(paths):
        width, height, mode = image_header(path)
        features[row] = (width, height, width / height, mode in _COLOUR_MODES)
    return features


def guess_tumour(train: Floats, tumour: ArrayLike, test: Floats, seed: int) -> Floats:
    """Train gradient-boosted trees to predict tumour or no tumour from these features.

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
