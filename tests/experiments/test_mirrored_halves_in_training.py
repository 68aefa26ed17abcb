"""The changes that heads made of halves go through, and what the script wants before it trains."""

import mirrored_hemispheres
import numpy as np
import pandas as pd
import pytest
from mirrored_hemispheres import bent

from brain_tumor.errors import UserError


def test_a_bent_head_is_less_like_its_mirror_image_and_still_the_same_head() -> None:
    half = np.tile(np.arange(40, 200, 2, dtype=np.uint8), (160, 1))
    half[60:90, 20:50] = 230
    head = np.concatenate([half, half[:, ::-1]], axis=1)
    result = bent(head, np.random.default_rng(1))
    likeness = np.corrcoef(result.ravel(), result[:, ::-1].ravel())[0, 1]
    assert result.shape == head.shape
    assert likeness < 0.99
    assert np.corrcoef(result.ravel(), head.ravel())[0, 1] > 0.8
    np.testing.assert_array_equal(result, bent(head, np.random.default_rng(1)))


@pytest.mark.parametrize(("outlines", "asked_for"), [({}, "annotations: true"), ({"a": None}, "additional: .br35h")])
def test_what_is_missing_is_told_before_anything_trains(
    monkeypatch: pytest.MonkeyPatch, outlines: dict[str, None], asked_for: str
) -> None:
    split = pd.DataFrame({"path": ["a"], "split": ["train"], "reason": [""]})
    monkeypatch.setattr("sys.argv", ["mirrored_hemispheres.py", "halves"])
    monkeypatch.setattr(mirrored_hemispheres, "read_split", lambda _: split)
    monkeypatch.setattr(mirrored_hemispheres, "read_outlines", lambda _: outlines)
    with pytest.raises(UserError, match=asked_for):
        mirrored_hemispheres.main.__wrapped__()
