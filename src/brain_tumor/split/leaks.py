"""What leaks between the published folders, and whose labels are in doubt: counts and examples."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from brain_tumor.data.catalog import (
    CLASSES,
    EXCLUDED,
    EXTERNAL,
    SPLITS,
    TEST,
    TESTING,
    TRAIN,
    TRAINING,
    published_duplicates,
)
from brain_tumor.duplicates.search import EQUAL, INDIRECT, KINDS
from brain_tumor.files import list_of
from brain_tumor.split.protocols import WRONG_LABEL, patient_of


@dataclass(frozen=True)
class Example:
    """Two images to be shown side by side.

    Attributes:
        paths: below `data/raw`; the second is missing where one image stands alone.
        caption: why they are shown.
    """

    paths: tuple[str, ...]
    caption: str


def split_report(split: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Any]:
    """What is in each split, and what leaks in the published one, for `metrics/split.json`.

    Args:
        split: `SPLIT_COLUMNS`, in the order of the catalog.
        pairs: copies, columns `first`, `second` and `kind`.
    """
    report: dict[str, Any] = {
        "groups": int(split["group"].nunique()),
        "images": {name: _per_class(split[split["split"] == name]) for name in (*SPLITS, EXCLUDED)},
        "excluded": {
            reason: int(count) for reason, count in split["reason"].value_counts().sort_index().items() if reason
        },
        "test_with_published_duplicate": _leaks(split, pairs),
        "groups_with_two_labels": int(split.groupby("group")["class"].nunique().gt(1).sum()),
    }
    held_back = split[split["split"] == EXTERNAL]
    if len(held_back):
        report["images"][EXTERNAL] = {"all": len(held_back)} | held_back["class"].value_counts().to_dict()
    known = split[split["patient"].ne("")]
    if len(known):
        people = known["patient"].map(patient_of)
        train, test = (set(people[known["split"] == name]) for name in (TRAIN, TEST))
        report["patients"] = {"train": len(train), "test": len(test), "in_both": len(train & test)}
    return report


def kind_of_leak(split: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """How each published test image with a copy in the published training set is one, by path: the plainest kind.

    Args:
        split: `SPLIT_COLUMNS`, in the order of the catalog.
        pairs: copies, columns `first`, `second` and `kind`.
    """
    digests = split["digest"].to_numpy()
    both = _both_ways(pairs[pairs["kind"] != EQUAL])
    links = pd.DataFrame({"test": digests[both["first"]], "train": digests[both["second"]], "kind": both["kind"]})
    training = set(split.loc[split["folder"] == TRAINING, "digest"])
    ranks = links[links["train"].isin(training)].set_index("test")["kind"].map(KINDS.index)
    plainest = ranks.groupby(level="test").min().map(KINDS.__getitem__)
    copied = split[split["path"].isin(published_duplicates(split))].set_index("path")["digest"]
    kinds = copied.map(plainest).fillna(INDIRECT)
    return kinds.mask(copied.isin(training), EQUAL)


def examples(split: pd.DataFrame, pairs: pd.DataFrame) -> list[Example]:
    """Test images beside their copies in training, then images whose label is in doubt.

    Of each class the strongest and the weakest pair of each kind, so that a reader sees where the line is drawn; all
    pairs of copies with two labels, and all images whose label the annotation contradicts.

    Args:
        split: `SPLIT_COLUMNS`, in the order of the catalog.
        pairs: copies, columns `first`, `second`, `correlation` and `kind`.
    """
    return [*_leaked(split, pairs), *_two_labels(split, pairs), *_wrong_labels(split)]


def _leaked(split: pd.DataFrame, pairs: pd.DataFrame) -> Iterator[Example]:
    paths = split["path"].to_numpy()
    across = _across(split, pairs).assign(name=lambda found: split["class"].to_numpy()[found["first"]])
    for (name, kind), found in across.groupby(["name", "kind"]):
        ordered = found.sort_values(["correlation", "first", "second"])
        chosen = ordered.iloc[[0]] if kind == EQUAL else ordered.iloc[sorted({0, len(ordered) - 1})]
        for first, second, correlation in zip(chosen["first"], chosen["second"], chosen["correlation"], strict=True):
            yield Example((paths[first], paths[second]), f"{name}, {kind}, correlation {correlation:.3f}")


def _two_labels(split: pd.DataFrame, pairs: pd.DataFrame) -> Iterator[Example]:
    paths, classes = split["path"].to_numpy(), split["class"].to_numpy()
    found = pairs[classes[pairs["first"]] != classes[pairs["second"]]]
    for first, second, kind in zip(found["first"], found["second"], found["kind"], strict=True):
        yield Example((paths[first], paths[second]), f"{classes[first]} and {classes[second]}, {kind}")


def _wrong_labels(split: pd.DataFrame) -> Iterator[Example]:
    for path in split.loc[split["reason"] == WRONG_LABEL, "path"]:
        yield Example((path,), WRONG_LABEL)


def _across(split: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Pairs of a published test image (`first`) and a published training image (`second`)."""
    both = _both_ways(pairs)
    part = split["folder"].to_numpy()
    across: pd.DataFrame = both[(part[both["first"]] == TESTING) & (part[both["second"]] == TRAINING)]
    return across


def _both_ways(pairs: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([pairs, pairs.rename(columns={"first": "second", "second": "first"})], ignore_index=True)


def _per_class(images: pd.DataFrame) -> dict[str, int]:
    counts = images["class"].value_counts()
    return {"all": len(images)} | {name: int(counts.get(name, 0)) for name in CLASSES}


def _leaks(split: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Any]:
    kinds = kind_of_leak(split, pairs)
    copied = split[split["path"].isin(kinds.index)]
    by_kind = kinds.value_counts()
    test = int(split["folder"].eq(TESTING).sum())
    return {
        "share": len(copied) / test if test else None,
        "by_class": _per_class(copied),
        "by_kind": {kind: int(by_kind.get(kind, 0)) for kind in KINDS},
    }


LEAKS = "test_with_published_duplicate"


def split_headline(report: Mapping[str, Any]) -> dict[str, Any]:
    """The few numbers of `metrics/split.json`.

    Args:
        report: as `split_report` gives it.

    Returns:
        How many images train and how many test, and the share of published test images that have `leaked`: they have a
        copy in the published training set.
    """
    return {name: report["images"][name]["all"] for name in ("train", "test")} | {"leaked": report[LEAKS]["share"]}


def split_counts(report: Mapping[str, Any]) -> pd.DataFrame:
    """Images by split and class, and last the published test images with a copy in the published training set.

    Args:
        report: as `split_report` gives it.

    Returns:
        A row a split: `split`, `all`, and a column a class; 0 where there are none.
    """
    rows = {**report["images"], "published test with a copy in train": report[LEAKS]["by_class"]}
    table = pd.DataFrame.from_dict(rows, orient="index").fillna(0).astype(int)
    return table.rename_axis("split").reset_index()


def split_list(report: Mapping[str, Any]) -> pd.DataFrame:
    """What `split_counts` leaves out: why images are excluded, kinds of copies, doubtful labels, patients."""
    values = {name: value for name, value in report.items() if name not in {"images", LEAKS}}
    return list_of({"copies": report[LEAKS]["by_kind"], **values})
