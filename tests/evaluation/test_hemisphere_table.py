import numpy as np
import pytest
from evaluation.toy import perfect, split_arrays

from brain_tumor.data.catalog import HEALTHY_INDEX
from brain_tumor.evaluation.hemispheres import HEMISPHERES, hemisphere_table

SIZE = 32
SQUARE = np.array([[0.15, 0.4], [0.3, 0.4], [0.3, 0.55], [0.15, 0.55]])
RIGHTWARDS = np.array([1, 0])


@pytest.fixture
def heads(rng):
    """Six symmetric heads, the first four with a bright square on the left, the last two in the middle."""
    half = rng.integers(40, 160, (6, SIZE, SIZE // 2), dtype=np.uint8)
    images = np.concatenate([half, half[:, :, ::-1]], axis=2)
    images[:4, 13:17, 5:9] = 255
    images[4:, 13:17, 14:18] = 255
    return split_arrays(images, [f"test/{row}.png" for row in range(6)], "glioma")


@pytest.mark.parametrize(("looks", "auroc"), [(True, 1.0), (False, 0.5)])
def test_only_a_network_that_looks_for_the_tumour_tells_the_hemispheres_apart(looks, auroc, heads):
    paths = heads.index["path"]
    outlines = {path: SQUARE + (0 if row < 4 else 0.275) * RIGHTWARDS for row, path in enumerate(paths)}

    def ask(images):
        healthy = np.where((images == 255).any(axis=(1, 2)) & looks, 0.1, 0.9)
        answers = np.repeat((1 - healthy)[:, None] / 3, 4, axis=1)
        answers[:, HEALTHY_INDEX] = healthy
        return answers

    table = hemisphere_table(outlines, heads, perfect(heads), ask)

    assert table[["features", "images", "groups", "auroc"]].to_numpy().tolist() == [[HEMISPHERES, 8, 4, auroc]]
    assert hemisphere_table({}, heads, perfect(heads), ask).empty
