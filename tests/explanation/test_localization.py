import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from brain_tumor.data.images import WHOLE
from brain_tumor.data.masks import masks_at_model_size
from brain_tumor.explanation.localization import (
    SCORES,
    centred_blob,
    headline,
    localization_table,
    localize,
    outside_head,
    shuffled,
)

SIZE = 8

masks = hnp.arrays(bool, (3, SIZE, SIZE)).filter(lambda mask: mask.any(axis=(1, 2)).all())
maps = hnp.arrays(np.uint8, (3, SIZE, SIZE), elements=st.integers(0, 50)).map(lambda values: values.astype(np.float32))


def square(start, end):
    mask = np.zeros((1, SIZE, SIZE), bool)
    mask[0, start:end, start:end] = True
    return mask


@given(maps, masks, st.sampled_from([0.125, 4.0, 1024.0]))
def test_scores_lie_between_0_and_1_and_do_not_depend_on_the_scale(heat, mask, factor):
    scores = localize(heat, mask, 1)
    assert scores.to_numpy().min() >= 0
    assert scores.to_numpy().max() <= 1
    np.testing.assert_allclose(localize(heat * np.float32(factor), mask, 1), scores, atol=1e-12)


@given(masks)
def test_scores_of_known_maps(mask):
    np.testing.assert_array_equal(localize(mask.astype(np.float32), mask, 0), 1)  # the best map
    np.testing.assert_array_equal(localize(np.zeros(mask.shape, np.float32), mask, 100), 0)
    scores = localize(np.ones(mask.shape, np.float32), mask, 0)  # without preference: the mask's share of the picture
    share = mask.mean(axis=(1, 2))
    np.testing.assert_allclose(scores["mass"], share)
    np.testing.assert_allclose(scores["pointing"], share)


def test_scores_by_hand():
    heat = np.zeros((1, SIZE, SIZE), np.float32)
    heat[0, 2, 2:6] = 4, 3, 2, 1  # the first two cells lie in the mask of 4 pixels
    scores = localize(heat, square(2, 4), 0).iloc[0]
    assert scores["pointing"] == 1
    assert scores["mass"] == pytest.approx(0.7)
    assert scores["iou"] == pytest.approx(2 / 6)


@pytest.mark.parametrize(("tolerance", "hit"), [(0, 0), (2.8, 0), (2.9, 1)])
def test_the_tolerance_is_a_distance(tolerance, hit):
    heat = np.zeros((1, SIZE, SIZE), np.float32)
    heat[0, 5, 5] = 1  # two down and two right of the mask's corner: the root of 8
    assert localize(heat, square(2, 4), tolerance)["pointing"].item() == hit


def test_refuses_an_empty_mask():
    with pytest.raises(ValueError, match="none empty"):
        localize(np.ones((1, SIZE, SIZE), np.float32), square(0, 0), 0)


@pytest.mark.parametrize("images", [2, 3, 17])
def test_every_image_gets_the_map_of_another_one(images, rng):
    values = np.arange(images, dtype=np.float32)[:, None, None]
    exchanged = shuffled(values, rng).ravel()
    assert sorted(exchanged) == list(range(images))
    assert (exchanged != np.arange(images)).all()


def test_the_blob_is_a_centred_gaussian():
    blob = centred_blob(60)
    assert np.unravel_index(blob.argmax(), blob.shape) in {(29, 29), (29, 30), (30, 29), (30, 30)}
    np.testing.assert_allclose(blob, blob[::-1, ::-1], rtol=1e-6)
    assert np.sqrt((blob.sum(axis=0) * (np.arange(60) - 29.5) ** 2).sum() / blob.sum()) == pytest.approx(10, rel=0.05)


def test_without_outlines_there_are_no_rows_and_nothing_is_said_of_the_tumour():
    rows, found = masks_at_model_size({}, ["a.png"], [WHOLE], 64)
    table = localization_table(np.empty((0, 4, 4), np.float32), found, [], np.empty(0, bool), seed=1)
    assert len(rows) == len(found) == len(table) == 0
    assert headline(None, table) == {"outside_head": None}


def test_a_single_image_has_no_map_of_another_one():
    table = localization_table(np.ones((1, 4, 4), np.float32), square(2, 4), ["a"], np.zeros(1, bool), seed=1)
    assert table["name"].tolist() == [
        f"{name}, wrong, {kind}" for name in ("all", "a") for kind in ("model", "centred")
    ]
    assert headline(0.1, table) == {"outside_head": 0.1}  # no correct prediction


def test_table_and_headline_count_each_image_once(rng):
    mask = square(2, 6).repeat(10, axis=0)
    heat = rng.random((10, 4, 4), dtype=np.float32)
    labels, correct = ["a"] * 6 + ["b"] * 4, np.arange(10) % 3 > 0

    table = localization_table(heat, mask, labels, correct, seed=2)

    model = table[table["map"] == "model"].set_index(["class", "prediction"])
    images = {("all", "correct"): 6, ("all", "wrong"): 4, ("a", "correct"): 4}
    images |= {("a", "wrong"): 2, ("b", "correct"): 2, ("b", "wrong"): 2}
    assert model["images"].to_dict() == images
    assert set(table["map"]) == {"model", "centred", "shuffled"}
    alone = localize(heat, mask, 1)  # half a cell of 2 pixels
    for score in SCORES:
        assert model.loc[("a", "correct"), score] == pytest.approx(alone[score][[1, 2, 4, 5]].mean())
    values = headline(0.2, table)
    assert list(values) == ["outside_head", "pointing", "iou", "centred", "a", "b"]
    blob = localize(centred_blob(SIZE)[None], mask[:1], 1)
    for score in ("pointing", "iou"):
        assert values[score] == pytest.approx(alone[score][correct].mean(), abs=1e-4)
        assert values["a"][score] == pytest.approx(alone[score][[1, 2, 4, 5]].mean(), abs=1e-4)
        assert values["centred"][score] == pytest.approx(blob[score].item(), abs=1e-4)
    json.dumps(values, allow_nan=False)


def test_mass_outside_the_head():
    image = np.zeros((1, 100, 100), np.uint8)
    image[0, :, :50] = 200
    heat = np.zeros((1, 100, 100), np.float32)
    heat[0, 50, 10], heat[0, 50, 90] = 3, 1
    result = outside_head(heat, image)
    assert result["mass"] == pytest.approx(0.25)
    assert result["area"] == pytest.approx(0.5, abs=0.02)
    assert outside_head(0 * heat, image) == {"mass": None, "area": result["area"]}
