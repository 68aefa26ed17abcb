"""Fixtures that several folders of tests share."""

import os
from pathlib import Path

import numpy as np
import pytest

from brain_tumor.params import Params, load_params

PROJECT = Path(__file__).resolve().parent.parent


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
