"""What leaks between the published folders, and whose labels are in doubt: counts and examples."""

from collections.abc import Iterator
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
    TUMOUR,
    published_duplicates,
)
from brain_tumor.duplicates.search import EQUAL, INDIRECT, KINDS
from brain_tumor.files import list_of
from brain_tumor.split.protocols import WRONG_LABEL

LEAKED = "published test with a duplicate in train"
"""Row of `split_counts`."""


Example = tuple[tuple[str, ...], str]
"""Paths of two images to be shown side by side, or of one that stands alone, and a caption that says why."""


def split_headline(split: pd.DataFrame) -> dict[str, Any]:
    """The numbers of `metrics/split.json`.

    Args:
        split: `SPLIT_COLUMNS`.

    Returns:
        How many images train and how many test, and the share of the published test images that leak: they have a
        duplicate in the published training set. None where no test set is published.
    """
    published = int(split["folder"].eq(TESTING).sum())
    leaked = len(published_duplicates(split)) / published if published else None
    return {name: int(split["split"].eq(name).sum()) for name in (TRAIN, TEST)} | {"leaked_share": leaked}


def split_counts(split: pd.DataFrame) -> pd.DataFrame:
    """Images by split and class.

    Args:
        split: `SPLIT_COLUMNS`.

    Returns:
        A row a split, `EXTERNAL` where there is one, and last the published test images that leak: `split`, `all`, and
        a column a class; 0 where there are none.
    """
    rows = {name: split["split"] == name for name in (*SPLITS, EXCLUDED, EXTERNAL)}
    if not rows[EXTERNAL].any():
        del rows[EXTERNAL]
    rows[LEAKED] = split["path"].isin(published_duplicates(split))
    classes = [*CLASSES, *({TUMOUR} & set(split["class"]))]
    counts = {name: split[mask]["class"].value_counts().reindex(classes, fill_value=0) for name, mask in rows.items()}
    table = pd.DataFrame.from_dict(counts, orient="index")
    table.insert(0, "all", table.sum(axis=1))
    return table.rename_axis("split").reset_index()


def split_details(split: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """What `split_counts` leaves out, as a list: `name` and `value`.

    Args:
        split: `SPLIT_COLUMNS`, in the order of the catalog.
        pairs: duplicates, columns `first`, `second` and `kind`.

    Returns:
        Published test images that leak by the kind of their duplicate, groups of duplicates, excluded images by
        reason, groups with two labels, and patients in train, in test and in both where patients are known.
    """
    reasons = split.loc[split["reason"] != "", "reason"]
    details = {
        "duplicates": kind_of_leak(split, pairs).value_counts().reindex(KINDS, fill_value=0).to_dict(),
        "groups": split["group"].nunique(),
        "excluded": reasons.value_counts().sort_index().to_dict(),
        "groups_with_two_labels": int(split[split["class"] != TUMOUR].groupby("group")["class"].nunique().gt(1).sum()),
    }
    known = split[split["patient"].ne("")]
    if len(known):
        train, test = (set(known.loc[known["split"] == name, "patient"]) for name in (TRAIN, TEST))
        details["patients"] = {"train": len(train), "test": len(test), "in_both": len(train & test)}
    return list_of(details)


def kind_of_leak(split: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """The plainest kind of duplicate in the published training set of each published test image that has one, by path.

    Args:
        split: `SPLIT_COLUMNS`, in the order of the catalog.
        pairs: duplicates, columns `first`, `second` and `kind`.
    """
    digests = split["digest"].to_numpy()
    both = _both_ways(pairs[pairs["kind"] != EQUAL])
    links = pd.DataFrame({"test": digests[both["first"]], "train": digests[both["second"]], "kind": both["kind"]})
    training = set(split.loc[split["folder"] == TRAINING, "digest"])
    ranks = links[links["train"].isin(training)].set_index("test")["kind"].map(KINDS.index)
    plainest = ranks.groupby(level="test").min().map(KINDS.__getitem__)
    leaked = split[split["path"].isin(published_duplicates(split))].set_index("path")["digest"]
    return leaked.map(plainest).fillna(INDIRECT).mask(leaked.isin(training), EQUAL)


def examples(split: pd.DataFrame, pairs: pd.DataFrame) -> list[Example]:
    """Test images beside their duplicates in training, then images whose label is in doubt.

    Of each class the strongest and the weakest pair of each kind, so that a reader sees where the line is drawn; all
    pairs of duplicates with two labels, and all images whose label the annotation contradicts.

    Args:
        split: `SPLIT_COLUMNS`, in the order of the catalog.
        pairs: duplicates, columns `first`, `second`, `correlation` and `kind`.
    """
    wrong = [((path,), WRONG_LABEL) for path in split.loc[split["reason"] == WRONG_LABEL, "path"]]
    return [*_leaked(split, pairs), *_two_labels(split, pairs), *wrong]


def _leaked(split: pd.DataFrame, pairs: pd.DataFrame) -> Iterator[Example]:
    paths, folders, classes = (split[name].to_numpy() for name in ("path", "folder", "class"))
    both = _both_ways(pairs)
    across = both[(folders[both["first"]] == TESTING) & (folders[both["second"]] == TRAINING)]
    for (name, kind), found in across.groupby([classes[across["first"]], "kind"]):
        ordered = found.sort_values(["correlation", "first", "second"])
        chosen = ordered.iloc[[0]] if kind == EQUAL else ordered.iloc[sorted({0, len(ordered) - 1})]
        for first, second, correlation in zip(chosen["first"], chosen["second"], chosen["correlation"], strict=True):
            yield (paths[first], paths[second]), f"{name}, {kind}, correlation {correlation:.3f}"


def _two_labels(split: pd.DataFrame, pairs: pd.DataFrame) -> Iterator[Example]:
    paths, classes = split["path"].to_numpy(), split["class"].to_numpy()
    differ = classes[pairs["first"]] != classes[pairs["second"]]
    typed = (classes[pairs["first"]] != TUMOUR) & (classes[pairs["second"]] != TUMOUR)  # else no label contradicts
    found = pairs[differ & typed]
    for first, second, kind in zip(found["first"], found["second"], found["kind"], strict=True):
        yield (paths[first], paths[second]), f"{classes[first]} and {classes[second]}, {kind}"


def _both_ways(pairs: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([pairs, pairs.rename(columns={"first": "second", "second": "first"})], ignore_index=True)
