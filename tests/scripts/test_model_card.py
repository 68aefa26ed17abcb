"""The changes of parameters that a card names are those that `dvc exp run -S` would make, in the form that it takes."""

import yaml
from model_card import changes

BEFORE = {"seed": 17, "download": {"digest": None, "additional": [], "annotations": False}, "train": {"rate": 3e-4}}
AFTER = {
    "seed": 18,
    "download": {"digest": None, "additional": ["br35h", "other"], "annotations": True},
    "train": {"rate": 0.003},
}


def test_what_is_equal_is_not_named_and_lists_and_truth_are_as_one_types_them():
    assert changes(BEFORE, AFTER) == [
        "seed=18",
        "download.additional=[br35h,other]",
        "download.annotations=true",
        "train.rate=0.003",
    ]
    assert changes(AFTER, BEFORE)[1:3] == ["download.additional=[]", "download.annotations=false"]
    assert changes(BEFORE, BEFORE) == []


def test_the_values_are_read_as_they_were():
    for change in changes(BEFORE, AFTER):
        name, _, text = change.partition("=")
        value = AFTER
        for key in name.split("."):
            value = value[key]
        assert yaml.safe_load(text) == value
    assert changes({"download": {"digest": "a"}}, {"download": {"digest": None}}) == ["download.digest=null"]
