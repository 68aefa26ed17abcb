"""Groups of images that are duplicates of one another, by way of others too."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def group_names(paths: Sequence[str], pairs: pd.DataFrame) -> list[str]:
    """Name the group of duplicates of each image: the smallest path in it; duplicates of duplicates are duplicates.

    Args:
        paths: one an image, no two alike.
        pairs: columns `first` and `second`, row numbers of `paths`.
    """
    by_path = np.array(sorted(range(len(paths)), key=lambda image: paths[image]), np.int64)
    rank = np.empty(len(paths), np.int64)
    rank[by_path] = np.arange(len(paths))
    smallest = connected(len(paths), rank[pairs["first"].to_numpy()], rank[pairs["second"].to_numpy()])
    return [paths[image] for image in by_path[smallest[rank]]]


def connected(size: int, first: Rows, second: Rows) -> Rows:
    """(size,): the smallest number that each number 0 to `size` - 1 is linked to, directly or by way of others.

    Args:
        size: how many numbers.
        first: (links,).
        second: (links,).
    """
    smallest = list(range(size))  # each leads to a smaller one of its kind (union-find)

    def find(number: int) -> int:
        while smallest[number] != number:
            smallest[number] = smallest[smallest[number]]
            number = smallest[number]
        return number

    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        low, high = sorted((find(one), find(other)))
        smallest[high] = low
    return np.array([find(number) for number in range(size)], np.int64)
