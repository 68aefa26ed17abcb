import numpy as np
import pytest

from brain_tumor.data.annotations import outline_mask
from brain_tumor.data.images import WHOLE, Frame, Reader
from brain_tumor.data.masks import masks_at_model_size, widen


@pytest.mark.parametrize("crop", ["none", "head"])
def test_masks_lie_where_the_reader_puts_the_tumour(crop):
    head = np.array([[0.3, 0.1], [0.9, 0.1], [0.9, 0.8], [0.3, 0.8]])
    tumour = np.array([[0.6, 0.2], [0.8, 0.2], [0.8, 0.5], [0.6, 0.5]])
    picture = np.where(outline_mask(tumour, 270, 450), 255, np.where(outline_mask(head, 270, 450), 120, 0))
    pixels, frame = Reader(size=128, crop=crop).prepare(picture.astype(np.uint8))
    assert (frame == WHOLE) == (crop == "none")

    rows, found = masks_at_model_size({"a": tumour, "unseen": tumour}, ["b", "a"], [WHOLE, frame], 128)

    assert rows.tolist() == [1]
    seen = pixels > 190
    assert (seen & found[0]).sum() / (seen | found[0]).sum() > 0.9


def test_a_tumour_outside_the_frame_is_left_out():
    outline = np.array([[0.1, 0.1], [0.2, 0.1], [0.2, 0.2]])
    rows, found = masks_at_model_size({"a": outline}, ["a"], [Frame(0.5, 0.5, 1, 1)], 64)
    assert len(rows) == len(found) == 0


def test_widen_reaches_two_hundredths_of_the_side():
    masks = np.zeros((1, 100, 100), bool)
    masks[0, 50, 50] = True
    wide = widen(masks)[0]
    assert (wide[50].sum(), wide[:, 50].sum()) == (5, 5)
    assert widen(np.zeros((0, 8, 8), bool)).shape == (0, 8, 8)
