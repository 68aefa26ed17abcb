import numpy as np
from evaluation.toy import perfect, split_arrays

from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.masks import widen
from brain_tumor.evaluation.lesion_removal import (
    COLUMNS,
    elsewhere,
    inpaint,
    lesion_removal_table,
    lesion_removed_images,
)
from brain_tumor.evaluation.tables import Predictions


def disc(size, x, y, radius):
    rows, columns = np.mgrid[:size, :size]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_a_tumour_on_a_gradient_becomes_the_gradient():
    clean = np.tile(np.linspace(40, 200, 100), (100, 1)).round().astype(np.uint8)
    mask = disc(100, 60, 45, 8)
    image = np.where(mask, 255, clean).astype(np.uint8)
    images, masks = np.stack([image, image]), np.stack([mask, np.zeros_like(mask)])

    filled = inpaint(images, masks)

    assert np.abs(filled[0].astype(int) - clean).max() <= 12
    outside = ~widen(masks)[0]
    np.testing.assert_array_equal(filled[0][outside], image[outside])
    np.testing.assert_array_equal(filled[1], image)  # nothing to fill
    np.testing.assert_array_equal(images[0], image)  # the input stays


def test_the_other_side_is_clear_unless_the_tumour_is_in_the_middle():
    masks = np.stack([disc(100, 20, 40, 8), disc(100, 50, 40, 8), disc(100, 38, 40, 8)])
    mirrored, clear = elsewhere(masks)
    np.testing.assert_array_equal(mirrored[0], disc(100, 79, 40, 8))
    assert clear.tolist() == [True, False, True]
    close = disc(100, 42, 40, 6)  # clear as drawn, but not when widened
    assert not (close & close[:, ::-1]).any()
    assert not elsewhere(close[None])[1][0]


def test_what_is_taken_out_is_the_tumour_or_as_much_elsewhere():
    rows, columns = np.mgrid[:100, :100]
    clean = (60 + 40 * np.cos(np.abs(columns - 49.5) / 6) + rows / 4).astype(np.uint8)
    masks = np.stack([disc(100, 20, 40, 8), disc(100, 50, 40, 8)])
    images = np.where(masks, 255, clean).astype(np.uint8)

    done = lesion_removed_images(images, masks)

    assert {name: those.tolist() for name, (those, _) in done.items()} == {
        "the tumour": [True, True],
        "the same place on the other side": [True, False],
        "the hemisphere with it": [True, False],
        "the other hemisphere": [True, False],
    }
    left = {name: [int((picture == 255).sum()) for picture in pictures] for name, (_, pictures) in done.items()}
    tumour = int(masks[0].sum())
    assert left == {
        "the tumour": [0, 0],
        "the same place on the other side": [tumour],
        "the hemisphere with it": [0],
        "the other hemisphere": [2 * tumour],
    }
    np.testing.assert_array_equal(done["the hemisphere with it"][1][0], clean)


def test_what_becomes_of_predictions_by_hand():
    """Six images with a square in the middle; without it the first two stay, one is healthy, one another tumour."""
    labels = ["glioma", "glioma", "meningioma", "pituitary", "pituitary", "notumor"]
    images = np.full((6, 40, 40), 90, np.uint8)
    images[:, 16:24, 16:24] = 255
    images[:, 0, 0] = range(6)
    test = split_arrays(images, list("abcdef"), labels)
    outline = np.array([[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6]])
    whole = perfect(test)
    probabilities = np.eye(4)[[0, 0, 1, 3, 0, 2]] * 0.8 + 0.05  # the fifth is wrong
    before = Predictions(probabilities, whole.labels, CLASSES, np.array(list("aabcde")), 1)

    def ask(changed):
        assert (changed[:, 20, 20] < 120).all()
        return np.eye(4)[[{0: 0, 1: 2, 2: 2, 3: 1}[number] for number in changed[:, 0, 0]]] * 0.8 + 0.05

    table = lesion_removal_table(dict.fromkeys("abcdef", outline), test, before, ask)

    assert table.columns.tolist() == list(COLUMNS)
    assert table["lesion_removed"].unique().tolist() == ["the tumour"]  # it lies in the middle
    rows = table.set_index("class")
    assert rows["images"].to_dict() == {"glioma": 2, "meningioma": 1, "pituitary": 1, "all": 4}
    assert rows["kept"].tolist() == [0.5, 0, 0, 0.25]
    assert rows["healthy"].tolist() == [0.5, 1, 0, 0.5]
    np.testing.assert_allclose(rows["drop"], [0.4, 0.8, 0.8, 0.6])
    assert rows["groups"].tolist() == [1, 1, 1, 3]


def test_without_outlines_of_correct_tumours_the_table_has_no_rows():
    test = split_arrays(np.zeros((1, 40, 40), np.uint8), ["a"], "glioma")
    table = lesion_removal_table({}, test, perfect(test), lambda changed: np.full((len(changed), 4), 0.25))
    assert (table.columns.tolist(), len(table)) == (list(COLUMNS), 0)
