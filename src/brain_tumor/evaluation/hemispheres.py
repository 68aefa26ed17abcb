"""Whether a classifier separates heads with a tumour from heads without one where nothing else differs."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from brain_tumor.data.annotations import Outline
from brain_tumor.data.arrays import SplitArrays
from brain_tumor.data.catalog import HEALTHY_INDEX
from brain_tumor.data.hemispheres import mirrored_hemispheres, one_sided, opposite
from brain_tumor.data.images import Pixels
from brain_tumor.evaluation.tables import Floats, Predictions, binary_table

HEMISPHERES = "the network (hemispheres of the same heads)"


def hemisphere_table(
    outlines: Mapping[str, Outline], test: SplitArrays, predictions: Predictions, ask: Callable[[Pixels], Floats]
) -> pd.DataFrame:
    """How well the network separates heads made of the hemisphere with the tumour from heads made of the other one.

    Both come from the same pictures, so that neither source nor kind of picture gives the answer away.

    Args:
        outlines: by path.
        test: the test images.
        predictions: of them.
        ask: from images at model size to probabilities (images, classes).

    Returns:
        A row of `binary_table`; none where no tumour with an outline lies on one side.
    """
    rows, sides = one_sided(outlines, test.index["path"].tolist(), test.frames, test.images)
    if not len(rows):
        return pd.DataFrame()
    images, twice = test.images[rows], np.tile(rows, 2)
    answers = ask(np.concatenate([mirrored_hemispheres(images, opposite(sides)), mirrored_hemispheres(images, sides)]))
    healthy, with_tumour = answers[:, HEALTHY_INDEX], np.arange(len(twice)) >= len(rows)
    of = Predictions(
        answers, predictions.labels[twice], predictions.classes, predictions.groups[twice], predictions.seed
    )
    return binary_table({HEMISPHERES: np.stack([healthy, 1 - healthy], axis=1)}, with_tumour, of)
