"""Small sets of images, and predictions without an error."""

import numpy as np
import pandas as pd

from brain_tumor.data.arrays import INDEX_COLUMNS, SplitArrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.images import WHOLE
from brain_tumor.evaluation.tables import Predictions


def split_arrays(images, paths, classes):
    """Originals that show the whole of their pictures."""
    index = pd.DataFrame({"path": paths, "class": classes, "augmented": 0, "group": paths})
    index[list(WHOLE._fields)] = WHOLE
    return SplitArrays(images, index[list(INDEX_COLUMNS)])


def perfect(test):
    """Predictions of images without an error or a doubt."""
    return Predictions(np.eye(4)[test.labels], test.labels, CLASSES, test.index["path"].to_numpy(str), 1)
