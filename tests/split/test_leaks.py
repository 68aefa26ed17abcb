import pandas as pd
import pytest

from brain_tumor.data.catalog import SPLIT_COLUMNS
from brain_tumor.split.leaks import examples, kind_of_leak, split_report

ROWS = [
    # path, class, part, split, reason, group, patient, digest
    ("Testing/glioma/0.jpg", "glioma", "Testing", "test", "", "a", "P1", "1"),
    ("Testing/glioma/1.jpg", "glioma", "Testing", "test", "", "b", "", "2"),
    ("Testing/glioma/2.jpg", "glioma", "Testing", "test", "", "c", "", "3"),
    ("Testing/glioma/3.jpg", "glioma", "Testing", "test", "", "c", "", "4"),
    ("Testing/notumor/0.jpg", "notumor", "Testing", "test", "", "d", "", "5"),
    ("Training/glioma/0.jpg", "glioma", "Training", "train", "", "a", "P1", "1"),
    ("Training/glioma/1.jpg", "glioma", "Training", "train", "", "b", "", "6"),
    ("Training/glioma/2.jpg", "glioma", "Training", "train", "", "c", "", "7"),
    ("Training/glioma/3.jpg", "glioma", "Training", "excluded", "copies with two labels", "e", "P2", "8"),
    ("Training/pituitary/4.jpg", "pituitary", "Training", "excluded", "copies with two labels", "e", "P2", "9"),
    (
        "Training/pituitary/5.jpg",
        "pituitary",
        "Training",
        "excluded",
        "label differs from the annotation",
        "f",
        "P3",
        "10",
    ),
    ("Training/pituitary/6.jpg", "pituitary", "Training", "train", "", "g", "P1B", "11"),
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


def test_the_plainest_kind_of_copy_counts(split, pairs):
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


def test_report_counts(split, pairs):
    report = split_report(split, pairs)

    assert report["groups"] == 7
    assert report["images"]["test"] == {"all": 5, "glioma": 4, "meningioma": 0, "notumor": 1, "pituitary": 0}
    assert report["excluded"] == {"copies with two labels": 2, "label differs from the annotation": 1}
    leaks = report["test_with_published_duplicate"]
    assert leaks["share"] == 4 / 5
    assert leaks["by_class"]["glioma"] == leaks["by_class"]["all"] == 4
    assert leaks["by_kind"] == {"equal": 1, "near": 1, "mirrored": 1, "flipped": 0, "indirect": 1}
    assert report["groups_with_two_labels"] == 1
    assert report["patients"] == {"train": 1, "test": 1, "in_both": 1}


def test_report_without_patients_or_published_parts(split, pairs):
    report = split_report(split.assign(patient="", folder=""), pairs)

    assert "patients" not in report
    assert report["test_with_published_duplicate"]["share"] is None


def test_examples_show_leaks_and_doubtful_labels(split, pairs):
    shown = examples(split, pairs)

    assert [example.paths for example in shown] == [
        ("Testing/glioma/0.jpg", "Training/glioma/0.jpg"),
        ("Testing/glioma/1.jpg", "Training/glioma/1.jpg"),
        ("Testing/glioma/1.jpg", "Training/glioma/1.jpg"),
        ("Testing/glioma/2.jpg", "Training/glioma/2.jpg"),
        ("Testing/glioma/1.jpg", "Training/glioma/1.jpg"),
        ("Training/glioma/3.jpg", "Training/pituitary/4.jpg"),
        ("Training/pituitary/5.jpg",),
    ]
    assert shown[0].caption == "glioma, equal, correlation 1.000"
    assert shown[1].caption == "glioma, flipped, correlation 0.993"
    assert shown[5].caption == "glioma and pituitary, near"
