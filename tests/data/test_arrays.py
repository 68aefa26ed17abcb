import numpy as np
import pandas as pd
import pytest

from brain_tumor.data.arrays import INDEX_COLUMNS, ORIGIN, UNKNOWN_TUMOUR, open_arrays, write_origin, write_split_arrays
from brain_tumor.data.catalog import CLASSES, SPLITS, TUMOUR
from brain_tumor.data.images import Frame, Reader
from brain_tumor.errors import UserError

READER = Reader(size=32, crop="head", intensities="head")

FRAME = Frame(0.125, 0.0, 1.0, 0.75)


@pytest.fixture
def index():
    rows = [(f"Training/{name}/a.jpg", name, 0, f"Training/{name}/a.jpg", *FRAME) for name in CLASSES]
    return pd.DataFrame(rows, columns=list(INDEX_COLUMNS))


@pytest.fixture
def images(rng):
    return {name: rng.integers(0, 256, (4, 32, 32), dtype=np.uint8) for name in SPLITS}


@pytest.fixture
def folder(tmp_path, images, index):
    for name in SPLITS:
        write_split_arrays(tmp_path, name, images[name], index)
    write_origin(tmp_path, READER, "0a1b")
    return tmp_path


def test_what_is_written_is_read_back_as_memory_maps_that_cannot_be_written(folder, images, index):
    arrays = open_arrays(folder)

    for name in SPLITS:
        split = getattr(arrays, name)
        assert np.array_equal(split.images, images[name])
        assert isinstance(split.images, np.memmap)
        assert not split.images.flags.writeable
        assert split.labels.tolist() == [0, 1, 2, 3]
        pd.testing.assert_frame_equal(split.index, index, check_dtype=False)
        assert split.frames == [FRAME] * 4
    assert arrays.reader == READER
    assert arrays.split_digest == "0a1b"
    assert arrays.external is None


def test_a_tumour_of_unknown_type_has_a_label_of_its_own(folder, rng, index):
    unknown = index.assign(**{"class": TUMOUR})
    write_split_arrays(folder, "train", rng.integers(0, 256, (4, 32, 32), dtype=np.uint8), unknown)

    assert open_arrays(folder).train.labels.tolist() == [UNKNOWN_TUMOUR] * 4


def test_images_and_rows_must_agree(tmp_path, index):
    with pytest.raises(ValueError, match="3 images, 4 rows"):
        write_split_arrays(tmp_path, "train", np.zeros((3, 32, 32), np.uint8), index)


@pytest.mark.parametrize("name", ["train.npy", "validation.csv", ORIGIN])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()

    with pytest.raises(UserError, match=f"{name} is not there: run the augment stage"):
        open_arrays(folder)


def test_a_split_without_images_is_refused(folder, index):
    write_split_arrays(folder, "validation", np.zeros((0, 32, 32), np.uint8), index.iloc[:0])

    with pytest.raises(UserError, match="validation: 0 images"):
        open_arrays(folder)
