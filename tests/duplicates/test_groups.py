import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from brain_tumor.duplicates.groups import group_names


def test_groups_are_the_connected_components(rng):
    first, second = rng.integers(0, 60, (2, 45))
    pairs = pd.DataFrame({"first": first, "second": second})
    paths = [f"{number:03}" for number in rng.permutation(60)]

    names = group_names(paths, pairs)

    _, labels = connected_components(coo_matrix((np.ones(45), (first, second)), (60, 60)), directed=False)
    for label in range(labels.max() + 1):
        members = [paths[row] for row in np.flatnonzero(labels == label)]
        assert {names[row] for row in np.flatnonzero(labels == label)} == {min(members)}
