"""What is known of the Kaggle set holds for what the project finds in it."""

import zipfile
from itertools import chain, combinations
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from duplicates.by_hash import across_splits, duplicates_by_hash

from brain_tumor.data.annotations import read_slices
from brain_tumor.data.catalog import HEALTHY, TEST, TESTING, read_catalog
from brain_tumor.data.images import decode, head_mask
from brain_tumor.download.archives import copy_files, open_tree
from brain_tumor.download.figshare import MATCHED_SLICES, write_annotations
from brain_tumor.duplicates.groups import group_names
from brain_tumor.duplicates.search import find_duplicates, match_duplicates
from brain_tumor.duplicates.views import looks_at
from brain_tumor.params import load_params
from brain_tumor.split.leaks import LEAKED, kind_of_leak, split_counts
from brain_tumor.split.protocols import TWO_LABELS, assign

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

PROJECT = Path(__file__).resolve().parents[2]
PARAMS = load_params(PROJECT / "params.yaml")

MISLABELLED = ("Te-piTr_0002", "Tr-pi_0043", "Tr-pi_0515", "Tr-pi_0520")
"""Meningiomas in the folder `pituitary`, by the labels of Cheng et al.; each has a mirrored duplicate elsewhere."""


@pytest.fixture(scope="module")
def raw(real_data, tmp_path_factory):
    """The images of the set, and annotations if they lie beside it."""
    folder = tmp_path_factory.mktemp("raw")
    with open_tree(real_data) as tree:
        names = [name for name in tree.names if name.endswith(".jpg")]
        copy_files(tree, {name: name for name in names}, folder)
    if (real_data.parent / MATCHED_SLICES).is_file():
        write_annotations(real_data.parent, folder)
    return folder


@pytest.fixture(scope="module")
def found(raw):
    """Catalog and pairs of duplicates."""
    catalog = read_catalog(raw)
    return catalog, find_duplicates(raw, catalog, PARAMS.split.duplicate_threshold)


@pytest.fixture(scope="module")
def groups(found):
    """The group of duplicates of each image, by path."""
    catalog, pairs = found
    return pd.Series(group_names(catalog["path"].tolist(), pairs), index=catalog["path"])


@pytest.fixture(scope="module")
def found_by_hash(raw, found):
    catalog, _ = found
    return duplicates_by_hash([raw / path for path in catalog["path"]])


@pytest.fixture(scope="module")
def found_in_frames(raw, found):
    """By hashes of what the frames of the heads show; 0.98, because two frames are never quite the same."""
    catalog, _ = found
    return duplicates_by_hash([raw / path for path in catalog["path"]], "head", 0.98)


@pytest.fixture(scope="module")
def slices(raw):
    table = read_slices(raw)
    if table is None:
        pytest.skip("no annotations beside the archive")
    return table


def test_pairs_of_one_slice_are_found_and_no_others(slices, found, groups):
    catalog, pairs = found
    shown = catalog["path"].map(slices.set_index("image")["slice"])

    same = [pair for _, rows in shown.dropna().groupby(shown) for pair in combinations(rows.index, 2)]
    both = pairs[shown[pairs["first"]].notna().to_numpy() & shown[pairs["second"]].notna().to_numpy()]

    assert len(same) == 1_711
    assert all(groups.iloc[first] == groups.iloc[second] for first, second in same)
    assert (shown[both["first"]].to_numpy() == shown[both["second"]].to_numpy()).all()


def test_three_quarters_of_the_test_images_leak(found):
    """982 by plain correlation at 0.99; other looks add some that were cropped, sharpened or changed in contrast."""
    catalog, pairs = found
    split = assign(catalog, pairs, None, PARAMS.split, PARAMS.seed)
    leaks = split_counts(split).set_index("split").loc[LEAKED]

    assert kind_of_leak(split, pairs).eq("equal").sum() == 103
    assert leaks["glioma"] == 81
    assert leaks["pituitary"] == 219
    assert 289 <= leaks["meningioma"] <= 295
    assert leaks["notumor"] == 405, "all of them, by a look at the pictures"


SHARPENED_OR_FLIPPED = [
    ("Tr-no_0428", "Te-no_0206"),
    ("Tr-no_0441", "Te-no_0118"),
    ("Tr-no_0455", "Te-no_0192"),
    ("Tr-no_0469", "Te-no_0158"),
    ("Tr-no_0518", "Te-no_0382"),
    ("Tr-no_0650", "Te-no_0119"),
    ("Tr-no_0756", "Te-no_0137"),
    ("Tr-no_1523", "Te-no_0112"),
    ("Tr-no_1540", "Te-no_0382"),
]
"""Duplicates found by looking at the pictures: strongly sharpened, upside down, or both."""


@pytest.mark.parametrize(("train", "test"), SHARPENED_OR_FLIPPED)
def test_duplicates_that_eyes_found_are_grouped(groups, train, test):
    assert groups[f"Training/notumor/{train}.jpg"] == groups[f"Testing/notumor/{test}.jpg"]


def test_what_was_read_in_test_images_holds_for_their_duplicates(found, groups):
    catalog, _ = found
    shows = pd.read_csv(PROJECT / "docs" / "test_notumor.csv", index_col="path")["shows"]
    healthy = catalog.loc[(catalog["folder"] == TESTING) & (catalog["class"] == HEALTHY), "path"]

    read = shows.reindex(healthy).fillna("").groupby(groups[healthy].to_numpy())

    assert set(shows.index) <= set(healthy)
    assert (read.nunique() == 1).all()


def test_mislabelled_files_are_found_by_their_duplicates_and_do_not_train(found):
    catalog, pairs = found
    params = PARAMS.split.model_copy(update={"protocol": "grouped"})

    split = assign(catalog, pairs, None, params, PARAMS.seed)

    doubtful = split[split["reason"] == TWO_LABELS]
    assert {Path(path).stem for path in doubtful.loc[doubtful["class"] == "pituitary", "path"]} == set(MISLABELLED)


@pytest.mark.parametrize("protocol", ["leak_free", "grouped"])
def test_no_group_lies_across_splits(found, protocol):
    catalog, pairs = found
    split = assign(catalog, pairs, None, PARAMS.split.model_copy(update={"protocol": protocol}), PARAMS.seed)

    used = split[split["split"] != "excluded"]
    assert used.groupby("group")["split"].nunique().max() == 1


@pytest.mark.parametrize("by", ["found_by_hash", "found_in_frames"])
def test_whatever_hashes_find_the_search_groups(groups, by, request):
    name = groups.to_numpy()

    assert [pair for pair in request.getfixturevalue(by).tolist() if name[pair[0]] != name[pair[1]]] == []


@pytest.mark.parametrize("protocol", ["leak_free", "grouped", "patient"])
def test_hashes_find_no_duplicates_across_splits(slices, found, found_by_hash, protocol):
    catalog, pairs = found
    split = assign(catalog, pairs, slices, PARAMS.split.model_copy(update={"protocol": protocol}), PARAMS.seed)

    assert across_splits(found_by_hash, split) == []


def test_hashes_see_the_duplicates_across_published_folders(found, found_by_hash):
    """982 test images by plain correlation at 0.99, upside down not among them."""
    catalog, pairs = found
    split = assign(catalog, pairs, None, PARAMS.split.model_copy(update={"protocol": "published"}), PARAMS.seed)

    tests = set(split.loc[split["split"] == TEST, "path"])
    assert len(tests.intersection(chain(*across_splits(found_by_hash, split)))) == 991


SQUEEZED = [("Tr-no_0147", "Te-no_0103"), ("Tr-no_0032", "Te-no_0137"), ("Tr-no_0190", "Te-no_0123")]
"""Duplicates that were cut to the head or squeezed; found by the look in its frame, confirmed by eye."""


@pytest.mark.parametrize(("train", "test"), SQUEEZED)
def test_duplicates_in_the_frame_of_the_head_are_grouped(groups, train, test):
    assert groups[f"Training/notumor/{train}.jpg"] == groups[f"Testing/notumor/{test}.jpg"]


def test_pictures_that_were_cut_to_the_head_are_found(raw, found, rng):
    catalog, _ = found
    files = [raw / path for path in catalog["path"].sample(200, random_state=0)]
    originals = [decode(file) for file in files]
    cut = [cut_to_head(picture, rng) for picture in originals]
    images = np.stack([looks_at(picture) for picture in (*originals, *cut)])

    pairs = match_duplicates(images, [str(row) for row in range(400)], PARAMS.split.duplicate_threshold)

    ends = set(pairs[["first", "second"]].itertuples(index=False, name=None))
    assert len({(row, row + 200) for row in range(200)} & ends) >= 198


def cut_to_head(picture, rng):
    """With margins of -3 to +8 % of the head on each side, squeezed, compressed, and every other time mirrored."""
    mask = head_mask(picture)
    sides = np.array(cv2.boundingRect(mask)) / np.tile(mask.shape[::-1], 2) * np.tile(picture.shape[::-1], 2)
    (left, top, width, height), margins = sides, rng.uniform(-0.03, 0.08, 4)
    rows = slice(max(0, round(top - margins[0] * height)), round(top + (1 + margins[1]) * height))
    columns = slice(max(0, round(left - margins[2] * width)), round(left + (1 + margins[3]) * width))
    square = cv2.resize(picture[rows, columns], (224, 224), interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
    decoded = cv2.imdecode(cv2.imencode(".jpg", square, quality)[1], cv2.IMREAD_GRAYSCALE)
    return np.ascontiguousarray(decoded[:, :: rng.choice([1, -1])])


def test_consecutive_slices_of_a_patient_are_no_duplicates(real_data, tmp_path):
    """Of 58 patients of LGG, in grey: the hardest there are."""
    archive = real_data.parent / "lgg-mri-segmentation.zip"
    if not archive.is_file():
        pytest.skip("no LGG archive beside the set")
    with zipfile.ZipFile(archive) as files:
        names = [name for name in files.namelist() if name.endswith(".tif") and "mask" not in name]
        files.extractall(tmp_path, names)
    images = np.stack([looks_at(decode(tmp_path / name)) for name in names])

    assert len(names) == 2260
    assert match_duplicates(images, names, PARAMS.split.duplicate_threshold).empty
