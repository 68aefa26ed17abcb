"""A made set in the layout of LGG: what is a picture, with which class, patient and outline."""

import numpy as np
import pytest
from PIL import Image

from brain_tumor.data.annotations import SLICES_FILE, outline_mask, read_outlines, read_slices
from brain_tumor.data.catalog import ANNOTATIONS_FOLDER
from brain_tumor.download.archives import open_tree
from brain_tumor.download.external_sets import fetch_external
from brain_tumor.download.lgg import outline_of, read_lgg
from brain_tumor.errors import UserError

SIZE, SLICES = 64, 20
FIRST, SECOND = "TCGA_CS_4941_19960909", "TCGA_DU_A5TW_19980228"
MARKED = {FIRST: {8: 400, 9: 500, 10: 100}, SECOND: {14: 400, 15: 500}}
"""Pixels of the mask of each slice that has one."""


def square(pixels, left=20):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    side = round(pixels**0.5)
    mask[20 : 20 + side, left : left + side] = 255
    return mask


def write_volume(folder, volume, rng, flair_again=()):
    """A bright disc in three channels; `flair_again`: channels that repeat FLAIR."""
    place = folder / "kaggle_3m" / volume
    place.mkdir(parents=True)
    y, x = np.mgrid[:SIZE, :SIZE]
    head = (np.hypot(x - 32, y - 32) < 28)[..., None]
    for number in range(1, SLICES + 1):
        picture = (head * rng.integers(80, 200, (SIZE, SIZE, 3))).astype(np.uint8)
        if number > SLICES - 3:
            picture[:] = 0
            picture[30:33, 30:33] = 200  # hardly any head
        for channel in flair_again:
            picture[..., channel] = picture[..., 1]
        mask = square(MARKED[volume][number]) if number in MARKED[volume] else np.zeros((SIZE, SIZE), np.uint8)
        Image.fromarray(picture).save(place / f"{volume}_{number}.tif")
        Image.fromarray(mask).save(place / f"{volume}_{number}_mask.tif")


@pytest.fixture
def lgg(tmp_path, rng):
    folder = tmp_path / "lgg"
    write_volume(folder, FIRST, rng)
    write_volume(folder, SECOND, rng, flair_again=(0,))
    return folder


def pictures(folder):
    with open_tree(folder) as tree:
        return list(read_lgg(tree))


def numbers(found, label):
    return {(p.patient, int(p.name.split("_")[4])) for p in found if p.label == label}


def test_slices_get_the_class_of_their_mask_and_those_between_are_left_out(lgg):
    found = pictures(lgg)
    expected = {("TCGA_CS_4941", 8), ("TCGA_CS_4941", 9), ("TCGA_DU_A5TW", 14), ("TCGA_DU_A5TW", 15)}
    assert numbers(found, "glioma") == expected  # slice 10 of the first shows little of the tumour
    healthy = numbers(found, "notumor")
    assert healthy
    for patient, number in healthy:
        marked = next(marks for volume, marks in MARKED.items() if volume.startswith(patient))
        assert min(abs(number - other) for other in marked) >= 3
        assert number <= SLICES - 3  # those above have hardly any head


def test_a_channel_that_repeats_flair_is_left_out(lgg):
    channels = {(p.patient, p.name.rsplit("_", 1)[1]) for p in pictures(lgg)}
    assert ("TCGA_CS_4941", "t1") in channels
    assert ("TCGA_DU_A5TW", "t1") not in channels
    assert {("TCGA_DU_A5TW", "flair"), ("TCGA_DU_A5TW", "t1c")} <= channels


def test_level_says_nothing(lgg):
    """Of each tenth of the way up there are no more healthy slices than slices with a tumour."""
    found = pictures(lgg)
    tenths = {
        label: [10 * (number - 1) // SLICES for _, number in numbers(found, label)] for label in ("glioma", "notumor")
    }
    assert set(tenths["notumor"]) == {3, 4, 6, 7}
    assert all(tenths["notumor"].count(tenth) <= tenths["glioma"].count(tenth) for tenth in range(10))


def test_outlines_fill_to_the_mask_with_all_its_regions():
    mask = (square(100) | square(64, left=45)) > 0
    assert (outline_mask(outline_of(mask), SIZE, SIZE) == mask).mean() > 0.99
    assert outline_mask(outline_of(mask), SIZE, SIZE)[24, 49]


def test_the_set_lies_beside_the_main_one_with_patients_and_outlines(lgg, tmp_path):
    raw = tmp_path / "raw"
    (raw / ANNOTATIONS_FOLDER).mkdir(parents=True)
    before = "image,slice,patient,label\nTraining/glioma/a.jpg,7,MR1,glioma\n"
    (raw / ANNOTATIONS_FOLDER / SLICES_FILE).write_text(before)
    fetch_external(raw, "lgg", lgg)
    slices, outlines = read_slices(raw), read_outlines(raw)
    assert slices is not None
    assert slices["image"].iloc[0] == "Training/glioma/a.jpg"
    assert set(slices["patient"]) == {"MR1", "TCGA_CS_4941", "TCGA_DU_A5TW"}
    gliomas = slices.loc[slices["label"].eq("glioma"), "image"].iloc[1:]
    assert set(outlines) == set(gliomas)
    for path in slices["image"].iloc[1:]:
        with Image.open(raw / path) as image:
            assert image.mode == "L"
    mask = outline_mask(outlines[next(path for path in gliomas if FIRST in path and "_09_" in path)], SIZE, SIZE)
    assert abs(int(mask.sum()) - int((square(MARKED[FIRST][9]) > 0).sum())) <= 4


def test_a_slice_without_its_mask_is_named(lgg):
    next(lgg.rglob("*_7_mask.tif")).unlink()
    with pytest.raises(UserError, match=r"_7\.tif stands alone"):
        pictures(lgg)
