import numpy as np
import pandas as pd
import pytest

from brain_tumor.data.catalog import CLASSES, SPLIT_COLUMNS, TUMOUR, published_duplicates
from brain_tumor.errors import UserError
from brain_tumor.params import SplitParams
from brain_tumor.split.protocols import (
    DUPLICATE_OF_MAIN,
    DUPLICATE_OF_TEST,
    NOT_TRAINED_ON,
    OTHER_CHANNEL,
    TWO_LABELS,
    WRONG_LABEL,
    assign,
)

IMAGES = 60  # of each class in Training; a third of it in Testing
PROTOCOLS = ("published", "leak_free", "grouped", "patient")


def parameters(**changes):
    values = {"protocol": "published", "fold": 0, "validation": 0.15}
    return SplitParams(**(values | {"duplicate_threshold": 0.99, "additional": []} | changes))


@pytest.fixture
def catalog():
    rows = []
    for name in CLASSES:
        for folder, count in (("Training", IMAGES), ("Testing", IMAGES // 3)):
            for number in range(count):
                path = f"{folder}/{name}/{number:03}.jpg"
                rows.append((path, name, folder, f"{len(rows):064x}"))
    return pd.DataFrame(rows, columns=["path", "class", "folder", "digest"]).sort_values("path", ignore_index=True)


@pytest.fixture
def pairs(catalog):
    """The first five test images of each class have a duplicate in Training; ten pairs lie within Training."""
    row = {path: number for number, path in enumerate(catalog["path"])}
    found = []
    for name in CLASSES:
        for number in range(5):
            found.append((row[f"Testing/{name}/{number:03}.jpg"], row[f"Training/{name}/{number:03}.jpg"]))
        for number in range(10, 20):
            found.append((row[f"Training/{name}/{number:03}.jpg"], row[f"Training/{name}/{number + 10:03}.jpg"]))
    table = pd.DataFrame(found, columns=["first", "second"])
    return table.assign(correlation=0.995, kind="near")


@pytest.fixture
def slices(catalog):
    """Three images a patient; one file is in the wrong folder."""
    patients = [f"MR{number // 3:03}" for number in range(len(catalog))]
    table = pd.DataFrame(
        {"image": catalog["path"], "slice": catalog["path"], "patient": patients, "label": catalog["class"]}
    )
    table.loc[table["image"] == "Training/pituitary/059.jpg", "label"] = "meningioma"
    return table


def splits_of(split, column):
    used = split[split["split"].isin(["train", "validation", "test"]) & split[column].ne("")]
    return used.groupby(column)["split"].agg(set)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_image_has_one_split_and_every_class_is_in_each(catalog, pairs, slices, protocol):
    split = assign(catalog, pairs, slices, parameters(protocol=protocol), 1)

    assert tuple(split.columns) == SPLIT_COLUMNS
    assert split["path"].tolist() == catalog["path"].tolist()
    assert set(split["split"]) <= {"train", "validation", "test", "excluded"}
    assert split["reason"].ne("").equals(split["split"].eq("excluded"))
    counts = split.groupby(["split", "class"]).size().unstack()
    assert counts.loc[["train", "validation", "test"]].notna().all(axis=None)


@pytest.mark.parametrize("protocol", ["leak_free", "grouped", "patient"])
def test_no_group_lies_across_splits(catalog, pairs, slices, protocol):
    split = assign(catalog, pairs, slices, parameters(protocol=protocol), 1)

    assert splits_of(split, "group").map(len).max() == 1


def test_published_keeps_the_leak_but_not_into_validation(catalog, pairs):
    split = assign(catalog, pairs, None, parameters(), 1)

    assert split.loc[split["folder"] == "Testing", "split"].eq("test").all()
    assert split.loc[split["folder"] == "Training", "split"].isin(["train", "validation"]).all()
    assert all({"train", "validation"} - found for found in splits_of(split, "group"))


def test_leak_free_excludes_the_duplicates_of_test_images_and_nothing_else(catalog, pairs):
    split = assign(catalog, pairs, None, parameters(protocol="leak_free"), 1)

    excluded = split[split["split"] == "excluded"]
    assert sorted(excluded["path"]) == [f"Training/{name}/{number:03}.jpg" for name in CLASSES for number in range(5)]
    assert excluded["reason"].eq(DUPLICATE_OF_TEST).all()
    assert split.loc[split["folder"] == "Testing", "split"].eq("test").all()


def test_the_five_folds_cover_every_image_once(catalog, pairs):
    tests = [assign(catalog, pairs, None, parameters(protocol="grouped", fold=fold), 1) for fold in range(5)]

    times = sum(split["split"].eq("test").astype(int) for split in tests)
    assert times.eq(1).all()
    shares = [split["split"].eq("test").mean() for split in tests]
    assert np.allclose(shares, 0.2, atol=0.04)


def test_patients_stay_together(catalog, pairs, slices):
    split = assign(catalog, pairs, slices, parameters(protocol="patient"), 1)

    assert splits_of(split, "patient").map(len).max() == 1


def test_patient_without_annotations_says_how_to_get_them(catalog, pairs):
    with pytest.raises(
        UserError,
        match=r"split.protocol: patient needs .*patients.csv with the columns image",
    ):
        assign(catalog, pairs, None, parameters(protocol="patient"), 1)


@pytest.mark.parametrize(("protocol", "in_test"), [("published", True), ("leak_free", True), ("grouped", False)])
def test_duplicates_with_two_labels_never_train(catalog, pairs, protocol, in_test):
    row = {path: number for number, path in enumerate(catalog["path"])}
    across = pd.DataFrame(
        {"first": [row["Testing/glioma/019.jpg"]], "second": [row["Training/notumor/059.jpg"]], "kind": "near"}
    )

    split = assign(catalog, pd.concat([pairs, across]), None, parameters(protocol=protocol), 1).set_index("path")

    assert split.loc["Training/notumor/059.jpg", "split"] == "excluded"
    assert split.loc["Testing/glioma/019.jpg", "split"] == ("test" if in_test else "excluded")
    assert split.loc["Training/notumor/059.jpg", "reason"] == TWO_LABELS


def test_a_label_that_the_annotation_contradicts_never_trains(catalog, pairs, slices):
    split = assign(catalog, pairs, slices, parameters(), 1).set_index("path")

    assert split.loc["Training/pituitary/059.jpg", ["split", "reason"]].tolist() == ["excluded", WRONG_LABEL]


@pytest.mark.parametrize("share", [0.05, 0.15, 0.3, 0.6])
def test_validation_has_about_its_share_of_every_class(catalog, pairs, share):
    split = assign(catalog, pairs, None, parameters(validation=share), 1)

    training = split[split["split"].isin(["train", "validation"])]
    shares = training["split"].eq("validation").groupby(training["class"]).mean()
    assert np.allclose(shares, share, atol=0.06)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_seed_decides(catalog, pairs, slices, protocol):
    first, again, other = (
        assign(catalog, pairs, slices, parameters(protocol=protocol), seed)["split"] for seed in (1, 1, 2)
    )

    assert first.equals(again)
    assert not first.equals(other)


def test_folders_of_classes_alone_need_grouped(catalog, pairs):
    alone = catalog.assign(folder="")
    for protocol in ("published", "leak_free"):
        with pytest.raises(UserError, match=rf"protocol: {protocol} needs the folders Training and Testing.*grouped"):
            assign(alone, pairs, None, parameters(protocol=protocol), 1)

    split = assign(alone, pairs, None, parameters(protocol="grouped"), 1)

    assert split["split"].eq("test").any()
    assert published_duplicates(split) == set()


def test_too_few_images_are_named(catalog, pairs):
    few = catalog.groupby(["folder", "class"]).head(2).reset_index(drop=True)

    with pytest.raises(UserError, match=r"glioma has 4 groups of duplicates or patients, split\.protocol needs 5: add"):
        assign(few, pairs.iloc[:0], None, parameters(protocol="grouped"), 1)


def test_published_duplicates_are_known_under_every_protocol(catalog, pairs, slices):
    expected = {f"Testing/{name}/{number:03}.jpg" for name in CLASSES for number in range(5)}

    for protocol in PROTOCOLS:
        assert published_duplicates(assign(catalog, pairs, slices, parameters(protocol=protocol), 1)) == expected


@pytest.mark.parametrize("protocol", ["published", "leak_free"])
def test_a_folder_of_validation_images_validates_and_shares_nothing_with_train(catalog, pairs, protocol):
    cut = catalog.copy()
    moved = np.flatnonzero(cut["folder"].eq("Training"))[::4]
    cut.loc[moved, "folder"] = "Validation"

    split = assign(cut, pairs, None, parameters(protocol=protocol), seed=1)

    assert set(split.loc[split["split"] == "validation", "folder"]) == {"Validation"}
    assert (split.loc[split["folder"] == "Validation", "split"] == "train").sum() == 0
    groups = {name: set(split.loc[split["split"] == name, "group"]) for name in ("train", "validation", "test")}
    assert not groups["train"] & groups["validation"]
    assert protocol == "published" or not groups["validation"] & groups["test"]


@pytest.fixture
def with_external_set(catalog):
    """300 external images with a tumour after those of the main set."""
    rows = [(f"additional/br35h/tumor/{number:03}.jpg", TUMOUR, "br35h", f"{number:065x}") for number in range(300)]
    return pd.concat([catalog, pd.DataFrame(rows, columns=catalog.columns)], ignore_index=True)


@pytest.mark.parametrize("protocol", ["leak_free", "grouped"])
def test_half_of_external_data_is_held_back_whatever_the_seed(with_external_set, catalog, pairs, protocol):
    external = with_external_set["folder"] == "br35h"
    links = [(len(catalog) + number, len(catalog) + number + 1) for number in range(0, 300, 3)]
    links.append((0, len(catalog) + 299))
    both = pd.concat([pairs, pd.DataFrame(links, columns=["first", "second"])], ignore_index=True)

    split = assign(with_external_set, both, None, parameters(protocol=protocol), seed=1)
    other_seed = assign(with_external_set, both, None, parameters(protocol=protocol), seed=2)
    training = assign(with_external_set, both, None, parameters(protocol=protocol, additional=["br35h"]), seed=1)

    held_back = split["split"] == "external"
    assert 110 < held_back.sum() < 190
    assert held_back[external].sum() == held_back.sum()
    assert split[external].groupby("group")["split"].nunique().eq(1).all()
    assert held_back.equals(other_seed["split"] == "external")
    assert held_back.equals(training["split"] == "external")
    assert set(split.loc[external & ~held_back, "split"]) == {"excluded"}
    assert training.loc[external & ~held_back, "split"].value_counts().to_dict() == {
        "train": 299 - held_back.sum(),
        "excluded": 1,
    }
    assert split["reason"].iloc[-1] == training["reason"].iloc[-1] == DUPLICATE_OF_MAIN
    assert set(split.loc[external & ~held_back, "reason"]) == {NOT_TRAINED_ON, DUPLICATE_OF_MAIN}


def test_of_the_channels_of_a_slice_one_trains_and_all_are_measured(with_external_set, catalog, pairs):
    paths = with_external_set["path"].iloc[len(catalog) :]
    shown = [str(number // 3) for number in range(300)]
    slices = pd.DataFrame({"image": paths, "slice": shown, "patient": shown, "label": "glioma"})

    split = assign(with_external_set, pairs, slices, parameters(additional=["br35h"]), seed=1).iloc[len(catalog) :]

    held_back = split["split"] == "external"
    assert held_back.groupby(shown).nunique().eq(1).all()
    assert (split["split"] == "train").groupby(shown).sum().eq(1 - held_back.groupby(shown).first()).all()
    assert set(split["reason"]) == {"", OTHER_CHANNEL}


def test_external_data_leaves_the_split_of_the_main_set_as_it_is(with_external_set, catalog, pairs):
    alone = assign(catalog, pairs, None, parameters(protocol="leak_free"), seed=1)
    together = assign(with_external_set, pairs, None, parameters(protocol="leak_free"), seed=1)

    pd.testing.assert_frame_equal(alone, together.iloc[: len(catalog)])
