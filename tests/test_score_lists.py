import pandas as pd
import pytest

from brain_tumor.files import flattened, list_of
from brain_tumor.split.leaks import split_counts, split_headline, split_list

REPORT = {
    "groups": 7,
    "images": {
        "train": {"all": 5, "glioma": 3, "notumor": 2},
        "test": {"all": 4, "glioma": 0, "notumor": 4},
        "external": {"all": 2, "tumor": 2},
    },
    "excluded": {"copy of a test image": 3},
    "test_with_published_duplicate": {
        "share": 0.75,
        "by_class": {"all": 3, "glioma": 0, "notumor": 3},
        "by_kind": {"equal": 1, "near": 2},
    },
    "groups_with_two_labels": 1,
    "patients": {"train": 4, "test": 3, "in_both": 2},
}


def test_the_headline_is_flat_and_short():
    assert split_headline(REPORT) == {"train": 5, "test": 4, "leaked": 0.75}


def test_counts_have_a_row_a_split_and_a_column_a_class():
    table = split_counts(REPORT).set_index("split")
    assert table.columns.tolist() == ["all", "glioma", "notumor", "tumor"]
    assert table.loc["external"].tolist() == [2, 0, 0, 2]
    assert table.loc["published test with a copy in train"].tolist() == [3, 0, 3, 0]


def test_headline_counts_and_list_hold_the_whole_report():
    in_lists = {*split_headline(REPORT).values(), *split_counts(REPORT).iloc[:, 1:].to_numpy().ravel()}
    in_lists |= set(split_list(REPORT)["value"])
    assert {value for _, value in flattened(REPORT)} <= in_lists


@pytest.mark.parametrize("nothing", [{}, {"empty": {}}])
def test_names_of_a_path_are_joined_and_none_is_empty(nothing):
    table = list_of({"a": {"b": {"c": 1.5}, "d": None}, "e": 2} | nothing)
    pd.testing.assert_series_equal(table["name"], pd.Series(["a.b.c", "a.d", "e"], name="name"))
    assert table["value"].isna().tolist() == [False, True, False]
