"""What an audit found: images, their groups, and the pairs that are duplicates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.catalog import SPLITS, TRAIN
from brain_tumor.duplicates.search import EQUAL, FILE, INDIRECT, KINDS
from brain_tumor.errors import printable
from brain_tumor.files import atomic_file, write_json, write_text

PAIR_COLUMNS = (
    *("folder", "class", "path", "duplicate_folder", "duplicate_class", "duplicate_path"),
    *("kind", "look", "correlation", "two_labels"),
)


@dataclass(frozen=True)
class AuditedFolder:
    """The images of a split.

    Attributes:
        name: train, validation or test.
        place: relative to the audited set.
        images: how many were read.
        unreadable: why images were left out, a line each.
        others: files that are no images by their suffix.
    """

    name: str
    place: str
    images: int
    unreadable: tuple[str, ...]
    others: int


@dataclass(frozen=True)
class AuditResult:
    """What an audit found.

    Attributes:
        root: holds the folders.
        threshold: correlation from which two pictures are duplicates.
        folders: those that are there, in the order train, validation, test.
        images: a row an image that was read: `path`, relative to `root`; `folder`, its name; `class`, the first folder
            below that, empty for none; `digest`; `group`, the name of its group of duplicates.
        pairs: `PAIR_COLUMNS`, a row a pair of duplicates. Across folders, `path` is in the one held out and
            `duplicate_path` in the one that is used before it. `look` says what the pair is told by, see
            `match_duplicates`; it is empty and `correlation` NaN where the kind is indirect. Every image that has a
            duplicate in another folder is named with one; of equal files not each is named with each.
    """

    root: Path
    threshold: float
    folders: tuple[AuditedFolder, ...]
    images: pd.DataFrame
    pairs: pd.DataFrame

    def leaked(self) -> pd.DataFrame:
        """The test and validation images with a duplicate in train: `folder`, `class`, `path`, plainest `kind`."""
        leaks = self.pairs[(self.pairs["duplicate_folder"] == TRAIN) & (self.pairs["folder"] != TRAIN)]
        order = leaks["kind"].map(KINDS.index).sort_values(kind="stable").index
        return leaks.loc[order, ["folder", "class", "path", "kind"]].drop_duplicates("path").sort_values("path")

    def independent(self) -> pd.DataFrame:
        """The test images without a duplicate in another folder: rows of `images`.

        Validation images without one in train where there is no test folder.
        """
        held_out = self.images["folder"] == self.folders[-1].name
        return self.images[held_out & ~self.images["group"].isin(self.images.loc[~held_out, "group"])]


def write_pairs(path: Path, result: AuditResult) -> None:
    """Write all pairs as CSV, `PAIR_COLUMNS`; bytes of a name that are no UTF-8 are written as escapes."""
    with atomic_file(path) as temporary:
        result.pairs.to_csv(temporary, index=False, float_format="%.4f", errors="backslashreplace")


def write_independent(path: Path, result: AuditResult) -> None:
    """Write the paths of the independent test images, a line each; what would break a line is written as escapes."""
    write_text(path, "".join(f"{printable(name)}\n" for name in result.independent()["path"]))


def write_summary(path: Path, result: AuditResult) -> None:
    """Write the counts and the independent test images as JSON.

    Keys: `threshold`; `folders`, by name `folder`, `images`, `unreadable` and `other_files`; `with_duplicate_in_train`,
    by folder its `images`, all and by `class`, and by `kind`; `pairs_with_two_labels`; `independent`: the `folder`, its
    `images`, how many are `distinct` when duplicates among them count once, by `class`, and their `paths`.
    """
    leaked, left = result.leaked(), result.independent()
    leaks = {folder.name: leaked[leaked["folder"] == folder.name] for folder in result.folders if folder.name != TRAIN}
    summary = {
        "threshold": result.threshold,
        "folders": {
            folder.name: {
                "folder": printable(folder.place),
                "images": folder.images,
                "unreadable": len(folder.unreadable),
                "other_files": folder.others,
            }
            for folder in result.folders
        },
        "with_duplicate_in_train": {
            name: {"images": len(rows), "class": _counts(rows["class"]), "kind": _counts(rows["kind"])}
            for name, rows in leaks.items()
        },
        "pairs_with_two_labels": int(result.pairs["two_labels"].sum()),
        "independent": {
            "folder": result.folders[-1].name,
            "images": len(left),
            "distinct": int(left["group"].nunique()),
            "class": _counts(left["class"]),
            "paths": [printable(name) for name in left["path"]],
        },
    }
    write_json(path, summary)


def _counts(values: pd.Series) -> dict[str, int]:
    return {printable(str(name)): int(count) for name, count in values.value_counts().sort_index().items()}


def named_pairs(images: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Name the images of each pair of folders that are duplicates, `PAIR_COLUMNS`.

    Args:
        images: as in `AuditResult`.
        found: as `match_duplicates` returns it, where of equal files only the first is paired with other pictures.
    """
    numbers = pd.Series(images.index, index=images.index)
    first_of = numbers.groupby(images["digest"]).transform("min")
    unlike = found[found["kind"] != EQUAL].rename(columns={"first": "file", "second": "duplicate_file"})
    same = pd.DataFrame(
        {
            "file": first_of.unique(),
            "duplicate_file": first_of.unique(),
            "correlation": 1.0,
            "kind": EQUAL,
            "look": FILE,
        }
    )
    swapped = unlike.rename(columns={"file": "duplicate_file", "duplicate_file": "file"})
    names = [name for name in reversed(SPLITS) if (images["folder"] == name).any()]
    files = {name: first_of[images["folder"] == name] for name in names}
    blocks = []
    for name, other in couples(names):
        if name == other:
            links = pd.concat([same, unlike])
            block = _spread(links, files[name], files[name])
            block[["row", "duplicate_row"]] = np.sort(block[["row", "duplicate_row"]], axis=1)
            block = block[block["row"] != block["duplicate_row"]].drop_duplicates(["row", "duplicate_row"])
        else:
            direct = _spread(pd.concat([same, unlike, swapped]), files[name], files[other])
            block = pd.concat([direct, _indirect(images["group"], direct, files[name].index, files[other].index)])
        blocks.append(block.sort_values(["row", "duplicate_row"]))
    pairs = pd.concat(blocks, ignore_index=True)
    columns = ["folder", "class", "path"]
    named = images.loc[pairs["row"], columns].reset_index(drop=True)
    duplicates = images.loc[pairs["duplicate_row"], columns].reset_index(drop=True).add_prefix("duplicate_")
    result = pd.concat([named, duplicates, pairs[["kind", "look", "correlation"]]], axis=1)
    known = (result["class"] != "") & (result["duplicate_class"] != "")
    result["two_labels"] = known & (result["class"] != result["duplicate_class"])
    return result[list(PAIR_COLUMNS)]


def couples(names: Sequence[str]) -> list[tuple[str, str]]:
    """Test with train, validation with train, test with validation, then each with itself.

    Args:
        names: of the folders, those used last first.
    """
    across = [(name, other) for place, name in enumerate(names) for other in names[place + 1 :]]
    return sorted(across, key=lambda couple: couple[1] != TRAIN) + [(name, name) for name in names]


def _spread(links: pd.DataFrame, files: pd.Series, duplicates: pd.Series) -> pd.DataFrame:
    """Pairs of images out of pairs of files: each image of either side with the first of the other.

    All with all would be a million rows where a thousand empty pictures are the same file.

    Args:
        links: `file`, `duplicate_file`, and `correlation`, `kind` and `look` of the pair.
        files: number of the file, by row of the image.
        duplicates: likewise of the other side.

    Returns:
        `row`, `duplicate_row`, and the same.
    """
    left = pd.DataFrame({"file": files, "row": files.index, "again": files.duplicated()})
    right = pd.DataFrame(
        {"duplicate_file": duplicates, "duplicate_row": duplicates.index, "again": duplicates.duplicated()}
    )
    every = links.merge(left, on="file").merge(right[~right["again"]], on="duplicate_file")
    others = links.merge(left[~left["again"]], on="file").merge(right[right["again"]], on="duplicate_file")
    return pd.concat([every, others])[["row", "duplicate_row", "correlation", "kind", "look"]]


def _indirect(group: pd.Series, direct: pd.DataFrame, rows: pd.Index, duplicates: pd.Index) -> pd.DataFrame:
    """Pairs, as `_spread` names them, of images that have duplicates on the other side by way of others only."""
    forward = _partners(group, rows[~rows.isin(direct["row"])], duplicates)
    backward = _partners(group, duplicates[~duplicates.isin(direct["duplicate_row"])], rows)
    ends = ["row", "duplicate_row"]
    pairs = pd.DataFrame(np.concatenate([forward, backward[:, ::-1]]), columns=ends).drop_duplicates()
    return pairs.assign(correlation=np.nan, kind=INDIRECT, look="")


def _partners(group: pd.Series, rows: pd.Index, others: pd.Index) -> NDArray[np.int64]:
    """(pairs, 2): each of the rows whose group has a member among the others, and the first such member."""
    first = pd.Series(others, index=group[others]).groupby(level=0).min()
    partner = group[rows].map(first).dropna()
    return np.stack([partner.index.to_numpy(np.int64), partner.to_numpy(np.int64)], 1)
