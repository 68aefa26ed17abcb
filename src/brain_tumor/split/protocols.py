"""Which image trains, validates and tests, and why.

| protocol    | test                                    | train                                                    |
| ----------- | --------------------------------------- | -------------------------------------------------------- |
| `published` | the published test set, whole           | the whole published training set                         |
| `leak_free` | the published test set, whole           | the published training set without duplicates of test   |
| `grouped`   | one fold of five, by group of duplicates | the other folds                                         |
| `patient`   | one fold of five, groups of one patient joined | the other folds                                   |

Validation is cut out of train by the same kind of group, unless `published` and `leak_free` find a folder of it. Half
of external data is held back, see `_external_images`.
"""

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from brain_tumor.data.catalog import (
    CLASSES,
    EXCLUDED,
    EXTERNAL,
    SPLIT_COLUMNS,
    SPLITS,
    TEST,
    TESTING,
    TRAIN,
    TRAINING,
    VALIDATING,
    VALIDATION,
    digest_order,
    main_set,
)
from brain_tumor.duplicates.groups import group_names
from brain_tumor.errors import UserError
from brain_tumor.params import SplitParams

FOLDS = 5

HELD_BACK = {"br35h": 2, "lgg": 4}
"""Of so many groups of an external set one is held back."""

VALIDATION_SLICES = 20
"""Train is cut into so many stratified slices, or as many as a class has groups, and validation takes its share."""

DUPLICATE_OF_TEST = "duplicate of a test image"
DUPLICATE_OF_VALIDATION = "duplicate of a validation image"
TWO_LABELS = "duplicates with two labels"
WRONG_LABEL = "label differs from the annotation"
DUPLICATE_OF_MAIN = "duplicate of an image of the main set"
NOT_TRAINED_ON = "external data that is only measured on"
OTHER_CHANNEL = "another channel of a slice that trains"
"""The values of the column `reason`."""


def assign(
    catalog: pd.DataFrame, pairs: pd.DataFrame, slices: pd.DataFrame | None, params: SplitParams, seed: int
) -> pd.DataFrame:
    """Give every image its split.

    Images whose label is in doubt (their duplicates carry another one, or the annotation says otherwise) never train or
    validate. The published test set stays whole; the folds of `grouped` and `patient` leave them out.

    Args:
        catalog: columns `path, class, folder, digest`, a row an image.
        pairs: duplicates, columns `first` and `second`, row numbers of the catalog.
        slices: annotations, columns `image`, `patient`, `label`; None where there are none.
        params: protocol, fold and share of validation.
        seed: decides which groups make a fold.

    Returns:
        `SPLIT_COLUMNS`, a row an image in the order of the catalog.

    Raises:
        UserError: a protocol that this data set cannot serve, or a split in which a class is empty.
    """
    split = catalog.assign(group=group_names(catalog["path"].tolist(), pairs), patient="", split="", reason="")
    if slices is not None:
        split["patient"] = split["path"].map(slices.set_index("image")["patient"]).fillna("")
    main = main_set(split).copy()
    doubt = _doubtful_labels(main, slices)
    PROTOCOLS[params.protocol](main, doubt, params, seed)
    main.loc[main["split"].eq("") & doubt.ne(""), ["split", "reason"]] = EXCLUDED
    excluded = main["split"].eq(EXCLUDED) & doubt.ne("")
    main.loc[excluded, "reason"] = doubt[excluded]
    _cut_validation(main, params, seed)
    _check(main, params)
    external = _external_images(split.drop(main.index), set(main["group"]), slices, params)
    return pd.concat([main, external]).loc[split.index, list(SPLIT_COLUMNS)]


def _external_images(
    images: pd.DataFrame, main_groups: set[str], slices: pd.DataFrame | None, params: SplitParams
) -> pd.DataFrame:
    """Hold back a share of each external set, by group and patient; the rest trains if it is asked to.

    Of the channels of a slice one trains: they show the same head, and would outweigh the main set.

    Which share a group belongs to depends on its name alone, so that it stays whatever the seed and the protocol are.
    """
    split = images.copy()
    duplicate = split["group"].isin(main_groups)
    lot = joined_by_patient(split).map(lambda name: hashlib.sha256(name.encode()).digest()[0]).astype(int)
    held_back = lot % split["folder"].map(HELD_BACK).fillna(2).astype(int) == 0
    split[["split", "reason"]] = [EXCLUDED, NOT_TRAINED_ON]
    trains = split["folder"].isin(params.additional)
    split.loc[trains, ["split", "reason"]] = [TRAIN, ""]
    split.loc[trains & _later_channels(split["path"], slices), ["split", "reason"]] = [EXCLUDED, OTHER_CHANNEL]
    split.loc[held_back, ["split", "reason"]] = [EXTERNAL, ""]
    split.loc[duplicate, ["split", "reason"]] = [EXCLUDED, DUPLICATE_OF_MAIN]
    return split


def _later_channels(paths: pd.Series, slices: pd.DataFrame | None) -> pd.Series:
    """Whether an image is another channel of a slice that has one already, in an order as if drawn."""
    shown = paths if slices is None else paths.map(slices.set_index("image")["slice"]).fillna(paths)
    return shown.iloc[digest_order(paths.tolist())].duplicated().reindex(paths.index)


def _published(split: pd.DataFrame, doubt: pd.Series, params: SplitParams, seed: int) -> None:  # noqa: ARG001
    _needs_published_folders(split, params)
    split.loc[split["folder"] == TESTING, "split"] = TEST
    split.loc[split["folder"].eq(TRAINING) & doubt.eq(""), "split"] = TRAIN
    own = split["folder"].eq(VALIDATING) & doubt.eq("")
    split.loc[own, "split"] = VALIDATION
    duplicate = split["split"].eq(TRAIN) & split["group"].isin(split.loc[own, "group"])
    split.loc[duplicate, ["split", "reason"]] = [EXCLUDED, DUPLICATE_OF_VALIDATION]


def _leak_free(split: pd.DataFrame, doubt: pd.Series, params: SplitParams, seed: int) -> None:
    _published(split, doubt, params, seed)
    duplicate = split["group"].isin(split.loc[split["split"] == TEST, "group"]) & split["folder"].ne(TESTING)
    split.loc[duplicate, ["split", "reason"]] = [EXCLUDED, DUPLICATE_OF_TEST]


def _grouped(split: pd.DataFrame, doubt: pd.Series, params: SplitParams, seed: int) -> None:
    _fold(split, doubt, split["group"], params, seed)


def _patient(split: pd.DataFrame, doubt: pd.Series, params: SplitParams, seed: int) -> None:
    if split["patient"].eq("").all():
        raise UserError(
            "split.protocol: patient needs to know patients: set download.annotations: true for the main set, and put "
            "patients.csv with the columns image and patient into a set of your own"
        )
    _fold(split, doubt, joined_by_patient(split), params, seed)


PROTOCOLS: Mapping[str, Callable[[pd.DataFrame, pd.Series, SplitParams, int], None]] = {
    "published": _published,
    "leak_free": _leak_free,
    "grouped": _grouped,
    "patient": _patient,
}


def _fold(split: pd.DataFrame, doubt: pd.Series, units: pd.Series, params: SplitParams, seed: int) -> None:
    sure = np.flatnonzero(doubt.eq(""))
    folds = _stratified(split.iloc[sure], units.iloc[sure], FOLDS, seed)
    split.loc[split.index[sure], "split"] = np.where(folds == params.fold, TEST, TRAIN)


def _cut_validation(split: pd.DataFrame, params: SplitParams, seed: int) -> None:
    """Move about `validation` of train to validation, by group, and by patient under `patient`, if there is none."""
    if split["split"].eq(VALIDATION).any():
        return
    train = np.flatnonzero(split["split"] == TRAIN)
    units = joined_by_patient(split) if params.protocol == "patient" else split["group"]
    slices = min(VALIDATION_SLICES, int(_units_by_class(split.iloc[train], units.iloc[train]).min()))
    numbers = _stratified(split.iloc[train], units.iloc[train], slices, seed)
    chosen = numbers < min(max(1, round(params.validation * slices)), slices - 1)
    split.loc[split.index[train[chosen]], "split"] = VALIDATION


def _stratified(images: pd.DataFrame, units: pd.Series, folds: int, seed: int) -> NDArray[np.int64]:
    """(images,), the number of the fold: units stay whole, classes and sizes are alike in all folds."""
    known = _units_by_class(images, units)
    if known.min() < max(folds, 2):
        few = f"{known.idxmin()} has {known.min()} groups of duplicates or patients"
        raise UserError(f"split: {few}, split.protocol needs {max(folds, 2)}: add images of other patients")
    numbers = np.empty(len(images), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (_, rows) in enumerate(splitter.split(images, images["class"], units)):
        numbers[rows] = number
    return numbers


def _units_by_class(images: pd.DataFrame, units: pd.Series) -> pd.Series:
    return units.groupby(images["class"]).nunique()


def _doubtful_labels(split: pd.DataFrame, slices: pd.DataFrame | None) -> pd.Series:
    """Why the label of each image is in doubt; empty where it is not."""
    doubt = pd.Series("", index=split.index)
    doubt[split.groupby("group")["class"].transform("nunique") > 1] = TWO_LABELS
    if slices is not None:
        known = split["path"].map(slices.set_index("image")["label"])
        doubt[known.notna() & known.ne(split["class"])] = WRONG_LABEL
    return doubt


def joined_by_patient(split: pd.DataFrame) -> pd.Series:
    """Groups of duplicates, joined where they show one patient: for each image the name of its independent group.

    Args:
        split: columns `group` and `patient`, empty where none is known.
    """
    unit, known = split["group"].copy(), split["patient"].ne("")
    while True:
        joined = unit.groupby(split["group"]).transform("min")
        joined[known] = joined[known].groupby(split.loc[known, "patient"]).transform("min")
        if joined.equals(unit):
            return unit
        unit = joined


def _needs_published_folders(split: pd.DataFrame, params: SplitParams) -> None:
    if not {TRAINING, TESTING} <= set(split["folder"]):
        raise UserError(
            f"split.protocol: {params.protocol} needs the folders {TRAINING} and {TESTING}, and this data set has only "
            "folders of classes: use grouped"
        )


def _check(split: pd.DataFrame, params: SplitParams) -> None:
    for name in SPLITS:
        for missing in sorted(set(CLASSES) - set(split.loc[split["split"] == name, "class"])):
            raise UserError(f"split.protocol: {params.protocol} leaves no {missing} in {name}: add images")
