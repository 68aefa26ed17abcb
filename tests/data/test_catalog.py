import hashlib

import numpy as np
import pandas as pd
import pytest

from brain_tumor.data.catalog import (
    CLASSES,
    SPLIT_COLUMNS,
    digest_order,
    evenly_spaced,
    read_catalog,
    read_split,
    scores_and_labels,
    write_split,
)
from brain_tumor.errors import UserError


@pytest.fixture
def root(tmp_path):
    for folder in ("Training", "Testing"):
        for name in CLASSES:
            (tmp_path / folder / name).mkdir(parents=True)
            (tmp_path / folder / name / "b.jpg").write_bytes(f"{folder} {name}".encode())
    return tmp_path


@pytest.fixture
def split():
    row = ("Training/glioma/a.jpg", "glioma", "Training", "train", "", "Training/glioma/a.jpg", "", "0" * 64)
    return pd.DataFrame([row], columns=list(SPLIT_COLUMNS))


def test_every_image_has_a_row(root):
    (root / "Testing" / "glioma" / "a.PNG").write_bytes(b"a")
    (root / "Testing" / "glioma" / "c.dcm").write_bytes(b"c")
    (root / "Testing" / "glioma" / "d.IMA").write_bytes(b"d")
    (root / "Testing" / "glioma" / "Thumbs.db").write_bytes(b"no image")
    (root / "annotations").mkdir()

    catalog = read_catalog(root)

    assert len(catalog) == 11
    assert catalog["path"].is_monotonic_increasing
    first = catalog.iloc[0]
    assert first.to_list() == ["Testing/glioma/a.PNG", "glioma", "Testing", hashlib.sha256(b"a").hexdigest()]


def test_folders_of_classes_alone_are_no_published_folders(root):
    catalog = read_catalog(root / "Training")

    assert catalog["folder"].eq("").all()
    assert catalog["path"].iat[0] == "glioma/b.jpg"


def test_an_unknown_or_empty_class_folder_is_named(root):
    (root / "Testing" / "notumor" / "b.jpg").unlink()
    with pytest.raises(UserError, match="holds no images of notumor"):
        read_catalog(root)

    (root / "Training" / "menigioma").mkdir()
    with pytest.raises(UserError, match="menigioma: unknown class folder, expected glioma, meningioma"):
        read_catalog(root)


def test_nothing_at_all_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no images"):
        read_catalog(tmp_path)
    with pytest.raises(UserError, match="is no folder: run the download stage"):
        read_catalog(tmp_path / "absent")


def test_split_is_read_back_as_text_and_names_no_path_twice(tmp_path, split):
    write_split(tmp_path / "split.csv", split)

    pd.testing.assert_frame_equal(read_split(tmp_path / "split.csv"), split, check_dtype=False)
    with pytest.raises(ValueError, match="one row a path"):
        write_split(tmp_path / "split.csv", pd.concat([split, split]))


def test_split_of_another_release_is_refused(tmp_path):
    (tmp_path / "split.csv").write_text("path,label\n")

    with pytest.raises(UserError, match="expected the columns path, class"):
        read_split(tmp_path / "split.csv")
    with pytest.raises(UserError, match="run the split stage first"):
        read_split(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("shape", "labels"),
    [((0, 4), []), ((2, 4), [0]), ((4,), [0]), ((1, 4), 0), ((1, 4), [4]), ((1, 4), [-1]), ((1, 4), [0.5])],
)
def test_scores_and_labels_that_do_not_belong_together_are_refused(shape, labels):
    with pytest.raises(ValueError, match=r"expected \(images, classes\)|must be integers from 0 to 3"):
        scores_and_labels(np.full(shape, 0.25), labels)


def test_the_order_by_digest_stays_when_images_are_added_or_reordered():
    paths = [f"{number}.png" for number in range(50)]
    names = [paths[row] for row in digest_order(paths)]
    assert sorted(names) == sorted(paths) != names
    assert names == [paths[::-1][row] for row in digest_order(paths[::-1])]
    assert [name for name in names if name in paths[:12]] == [paths[row] for row in digest_order(paths[:12])]


@pytest.mark.parametrize(
    ("total", "wanted", "rows"), [(0, 3, []), (3, 9, [0, 1, 2]), (9, 3, [0, 4, 8]), (9, 1, [0]), (4, 3, [0, 2, 3])]
)
def test_evenly_spaced_rows(total, wanted, rows):
    assert evenly_spaced(total, wanted).tolist() == rows
