"""Fixtures that several folders of tests share."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brain_tumor.data.arrays import INDEX_COLUMNS, Arrays, SplitArrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.images import WHOLE, Reader
from brain_tumor.model.features import FeatureCache
from brain_tumor.params import Params, load_params

PROJECT = Path(__file__).resolve().parent.parent
SIZE = 32


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture
def params() -> Params:
    """The parameters at HEAD."""
    return load_params(PROJECT / "params.yaml")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The archive or folder of the Kaggle set."""
    place = os.environ.get("BRAIN_TUMOR_DATA")
    if not place:
        pytest.skip("BRAIN_TUMOR_DATA does not name the Kaggle set")
    return Path(place)


def part(rng, images_per_class):
    """Images whose class is plain to see: stripes of another direction and width for each class."""
    grid = np.indices((SIZE, SIZE))
    waves = [grid[0] / 2, grid[1] / 2, grid[0] / 5, grid[1] / 5]
    labels = np.repeat(np.arange(len(CLASSES)), images_per_class)
    noise = rng.normal(0, 20, (len(labels), SIZE, SIZE))
    phases = rng.uniform(0, 6, len(labels))
    images = [128 + 90 * np.sin(waves[label] * 2 + phase) for label, phase in zip(labels, phases, strict=True)]
    paths = [f"{CLASSES[label]}/{row}.png" for row, label in enumerate(labels)]
    index = pd.DataFrame({"path": paths, "class": [CLASSES[label] for label in labels], "augmented": 0, "group": paths})
    index[list(WHOLE._fields)] = WHOLE
    return SplitArrays(np.clip(np.array(images) + noise, 0, 255).astype(np.uint8), index[list(INDEX_COLUMNS)])


@pytest.fixture
def arrays(rng):
    return Arrays(part(rng, 16), part(rng, 6), part(rng, 6), None, Reader(size=SIZE), "0a1b")


@pytest.fixture
def train_params(params):
    """Quick: random weights, small images, few epochs."""
    changes = {
        "backbone": "vgg16",
        "weights": "none",
        "trainable": "head",
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 3e-4,
        "precision": "fp32",
    }
    return params.train.model_copy(update=changes)


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "features", limit=10**9)
