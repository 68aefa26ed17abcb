import pandas as pd
import pytest

from brain_tumor.data.catalog import CLASSES, SPLIT_COLUMNS
from brain_tumor.figures.sheets import pair_sheet
from brain_tumor.split.leaks import LEAKED, examples, kind_of_leak, split_counts, split_details, split_headline
from brain_tumor.split.protocols import TWO_LABELS, WRONG_LABEL

ROWS = [
    # path, class, folder, split, reason, group, patient, digest
    ("Testing/glioma/0.jpg", "glioma", "Testing", "test", "", "a", "P1", "1"),
    ("Testing/glioma/1.jpg", "glioma", "Testing", "test", "", "b", "", "2"),
    ("Testing/glioma/2.jpg", "glioma", "Testing", "test", "", "c", "", "3"),
    ("Testing/glioma/3.jpg", "glioma", "Testing", "test", "", "c", "", "4"),
    ("Testing/notumor/0.jpg", "notumor", "Testing", "test", "", "d", "", "5"),
    ("Training/glioma/0.jpg", "glioma", "Training", "train", "", "a", "P1", "1"),
    ("Training/glioma/1.jpg", "glioma", "Training", "train", "", "b", "", "6"),
    ("Training/glioma/2.jpg", "glioma", "Training", "train", "", "c", "", "7"),
    ("Training/glioma/3.jpg", "glioma", "Training", "excluded", TWO_LABELS, "e", "P2", "8"),
    ("Training/pituitary/4.jpg", "pituitary", "Training", "excluded", TWO_LABELS, "e", "P2", "9"),
    ("Training/pituitary/5.jpg", "pituitary", "Training", "excluded", WRONG_LABEL, "f", "P3", "10"),
    ("Training/pituitary/6.jpg", "pituitary", "Training", "train", "", "g", "P1", "11"),
]


@pytest.fixture
def split():
    return pd.DataFrame(ROWS, columns=list(SPLIT_COLUMNS))


@pytest.fixture
def pairs():
    rows = [
        (0, 5, 1.0, "equal"),
        (1, 6, 0.992, "near"),
        (1, 6, 0.994, "mirrored"),
        (1, 6, 0.993, "flipped"),
        (2, 7, 0.999, "mirrored"),
        (2, 3, 0.995, "near"),  # leads from test image 3 to training by test image 2 alone
        (8, 9, 0.997, "near"),
    ]
    return pd.DataFrame(rows, columns=["first", "second", "correlation", "kind"])


def test_the_plainest_kind_of_duplicate_counts(split, pairs):
    assert kind_of_leak(split, pairs).to_dict() == {
        "Testing/glioma/0.jpg": "equal",
        "Testing/glioma/1.jpg": "near",
        "Testing/glioma/2.jpg": "mirrored",
        "Testing/glioma/3.jpg": "indirect",
    }


def test_an_equal_file_counts_though_its_pair_is_named_for_another(split, pairs):
    """Of equal files only the first is paired with other pictures."""
    split.loc[3, "digest"] = split.loc[2, "digest"]

    assert kind_of_leak(split, pairs)["Testing/glioma/3.jpg"] == "mirrored"


def test_counts_have_a_row_a_split_and_a_column_a_class(split):
    counts = split_counts(split).set_index("split")

    assert counts.columns.tolist() == ["all", "glioma", "meningioma", "notumor", "pituitary"]
    assert counts.loc["test"].tolist() == [5, 4, 0, 1, 0]
    assert counts.loc["excluded"].tolist() == [3, 1, 0, 0, 2]
    assert counts.loc[LEAKED].tolist() == [4, 4, 0, 0, 0]
    assert counts.index.tolist() == ["train", "validation", "test", "excluded", LEAKED]
    external = split.assign(**{"class": "tumor", "split": "external", "folder": "br35h"})
    counts = split_counts(pd.concat([split, external[:2]])).set_index("split")
    assert counts.loc["external"].to_dict() == dict.fromkeys(CLASSES, 0) | {"all": 2, "tumor": 2}


def test_details_list_kinds_reasons_and_patients(split, pairs):
    details = split_details(split, pairs).set_index("name")["value"].to_dict()

    assert details == {
        "duplicates.equal": 1,
        "duplicates.near": 1,
        "duplicates.mirrored": 1,
        "duplicates.flipped": 0,
        "duplicates.indirect": 1,
        "groups": 7,
        "excluded.duplicates with two labels": 2,
        "excluded.label differs from the annotation": 1,
        "groups_with_two_labels": 1,
        "patients.train": 1,
        "patients.test": 1,
        "patients.in_both": 1,
    }
    assert split_headline(split) == {"train": 4, "test": 5, "leaked_share": 4 / 5}


def test_without_duplicates_patients_and_published_folders_there_is_less_to_say(split, pairs):
    alone = split.assign(patient="", folder="", reason="", group=split["path"])

    details = split_details(alone, pairs[:0])

    assert not details["name"].str.contains("patients|excluded").any()
    assert details["value"].tolist() == [0] * 5 + [len(split), 0]
    assert split_headline(alone)["leaked_share"] is None
    assert split_counts(alone)["all"].iloc[-1] == 0
    assert examples(alone, pairs[:0]) == []
    assert pair_sheet(examples(alone, pairs[:0]))


def test_examples_show_leaks_and_doubtful_labels(split, pairs):
    paths, captions = zip(*examples(split, pairs), strict=True)

    assert list(paths) == [
        ("Testing/glioma/0.jpg", "Training/glioma/0.jpg"),
        ("Testing/glioma/1.jpg", "Training/glioma/1.jpg"),
        ("Testing/glioma/1.jpg", "Training/glioma/1.jpg"),
        ("Testing/glioma/2.jpg", "Training/glioma/2.jpg"),
        ("Testing/glioma/1.jpg", "Training/glioma/1.jpg"),
        ("Training/glioma/3.jpg", "Training/pituitary/4.jpg"),
        ("Training/pituitary/5.jpg",),
    ]
    assert captions[:2] == ("glioma, equal, correlation 1.000", "glioma, flipped, correlation 0.993")
    assert captions[5:] == ("glioma and pituitary, near", WRONG_LABEL)


def test_a_tumour_of_unknown_type_contradicts_no_label(split, pairs):
    external = split.iloc[[0]].assign(path="additional/br35h/tumor/y1.jpg", **{"class": "tumor", "folder": "br35h"})
    together = pd.concat([split, external], ignore_index=True)
    link = pd.DataFrame({"first": [0], "second": [len(split)], "correlation": [0.99], "kind": ["near"]})

    assert examples(together, pd.concat([pairs, link], ignore_index=True)) == examples(split, pairs)
    value = split_details(together, pairs).set_index("name")["value"]
    assert value["groups_with_two_labels"] == 1
