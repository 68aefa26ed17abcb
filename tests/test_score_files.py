import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brain_tumor.data.arrays import INDEX_COLUMNS, Arrays, SplitArrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.images import WHOLE, Reader
from brain_tumor.evaluation.tables import Predictions
from brain_tumor.score_files import HEALTHY, HEMISPHERES, OTHER_SOURCES, hemispheres_told_apart, write_shortcuts

SIZE = 32
GREYS = {"glioma": 200, "meningioma": 60, "notumor": 60, "pituitary": 200}
"""Meningiomas look like healthy heads, the other tumours do not: only these two are there in another source."""


@pytest.fixture
def arrays(rng, tmp_path):
    return Arrays(
        part(rng, tmp_path, "train"),
        part(rng, tmp_path, "test"),
        part(rng, tmp_path, "test"),
        None,
        Reader(size=SIZE),
        "0",
    )


def part(rng, raw, name):
    """Twelve images a class, on disk and as arrays."""
    labels = np.repeat(np.arange(len(CLASSES)), 12)
    classes = [CLASSES[label] for label in labels]
    images = np.array([rng.normal(GREYS[word], 8, (SIZE, SIZE)).clip(0, 255) for word in classes]).astype(np.uint8)
    paths = [f"{name}/{word}/{row}.png" for row, word in enumerate(classes)]
    for path, image in zip(paths, images, strict=True):
        (raw / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(raw / path)
    index = pd.DataFrame({"path": paths, "class": classes, "augmented": 0, "group": paths})
    index[list(WHOLE._fields)] = WHOLE
    return SplitArrays(images, index[list(INDEX_COLUMNS)])


def perfect(test):
    return Predictions(np.eye(4)[test.labels], test.labels, CLASSES, test.index["path"].to_numpy(str), 1)


def shortcuts(arrays, folder, annotated, halves=None):
    predictions = perfect(arrays.test)
    write_shortcuts(folder, folder, arrays, predictions, annotated, pd.DataFrame() if halves is None else halves)
    return pd.read_csv(folder / "shortcuts.csv").set_index("features")


def test_the_source_gives_tumours_away_until_it_is_left_out(arrays, tmp_path):
    """Grey values tell most tumours from healthy heads, but not where both come from other sources."""
    paths, classes = arrays.test.index["path"], arrays.test.index["class"]
    table = shortcuts(arrays, tmp_path, set(paths[classes.isin(["glioma", "pituitary"])]))

    name = "histogram, whole picture"
    assert table.loc[name, "images"] == 48
    assert table.loc[name, "auroc"] > 0.75
    assert table.loc[f"{name} ({OTHER_SOURCES})", "images"] == 24
    assert table.loc[f"{name} ({OTHER_SOURCES})", "auroc"] < 0.75
    assert table.loc[f"the network ({OTHER_SOURCES})", "auroc"] == 1


def test_without_annotations_there_is_one_row_for_each_kind_of_feature(arrays, tmp_path):
    table = shortcuts(arrays, tmp_path, set())

    assert not table.index.str.contains(OTHER_SOURCES).any()
    assert (table["images"] == 48).all()


SQUARE = np.array([[0.15, 0.4], [0.3, 0.4], [0.3, 0.55], [0.15, 0.55]])
RIGHTWARDS = np.array([1, 0])


def halved_heads(seed):
    """Six symmetric heads, the first four with a bright square on the left, the last two in the middle."""
    rng = np.random.default_rng(seed)
    half = rng.integers(40, 160, (6, SIZE, SIZE // 2), dtype=np.uint8)
    images = np.concatenate([half, half[:, :, ::-1]], axis=2)
    images[:4, 13:17, 5:9] = 255
    images[4:, 13:17, 14:18] = 255
    paths = [f"test/{row}.png" for row in range(6)]
    index = pd.DataFrame({"path": paths, "class": "glioma", "augmented": 0, "group": paths})
    index[list(WHOLE._fields)] = WHOLE
    return SplitArrays(images, index[list(INDEX_COLUMNS)])


@pytest.mark.parametrize(("looks", "auroc"), [(True, 1.0), (False, 0.5)])
def test_only_a_network_that_looks_for_the_tumour_tells_the_halves_apart(looks, auroc, arrays, tmp_path):
    test = halved_heads(0)
    outlines = {path: SQUARE + (0 if row < 4 else 0.275) * RIGHTWARDS for row, path in enumerate(test.index["path"])}

    def ask(images):
        healthy = np.where((images == 255).any(axis=(1, 2)) & looks, 0.1, 0.9)
        answers = np.repeat((1 - healthy)[:, None] / 3, 4, axis=1)
        answers[:, HEALTHY] = healthy
        return answers

    table = hemispheres_told_apart(outlines, test, perfect(test), ask)

    assert table[["features", "images", "groups", "auroc"]].to_numpy().tolist() == [[HEMISPHERES, 8, 4, auroc]]
    assert shortcuts(arrays, tmp_path, set(), table).loc[HEMISPHERES, "auroc"] == auroc
    assert hemispheres_told_apart({}, test, perfect(test), ask).empty
