"""What an audit found: images, their groups, and the pairs that are copies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.catalog import SPLITS, TRAIN
from brain_tumor.duplicates.search import EQUAL, INDIRECT, KINDS
from brain_tumor.files import atomic_file

PAIR_COLUMNS = ("part", "class", "path", "copy_part", "copy_class", "copy_path", "kind", "correlation", "two_labels")


@dataclass(frozen=True)
class SplitArrays:
    """A folder of images.

    Attributes:
        name: train, validation or test.
        folder: relative to the audited folder.
        images: how many were read.
        unreadable: why images were left out, a line each.
        others: files that are no images by their suffix.
    """

    name: str
    folder: str
    images: int
    unreadable: tuple[str, ...]
    others: int


@dataclass(frozen=True)
class AuditResult:
    """What an audit found.

    Attributes:
        folder: the audited folder.
        threshold: correlation from which two pictures are copies.
        parts: those that are there, in the order train, validation, test.
        images: a row an image that was read: `path`, relative to `folder`; `part`; `class`, the first folder below the
            part's, empty for none; `digest`; `group`, the name of its group of copies.
        pairs: `PAIR_COLUMNS`, a row a pair of copies. Across parts, `path` is in the part held out and `copy_path` in
            the one that is used before it. `correlation` is NaN where the kind is indirect. Every image that has a copy
            in another part is named with one; of equal files not each is named with each.
    """

    folder: Path
    threshold: float
    parts: tuple[SplitArrays, ...]
    images: pd.DataFrame
    pairs: pd.DataFrame

    def leaked(self) -> pd.DataFrame:
        """The test and validation images with a copy in train: `part`, `class`, `path`, and `kind`, the plainest."""
        leaks = self.pairs[(self.pairs["copy_part"] == TRAIN) & (self.pairs["part"] != TRAIN)]
        order = leaks["kind"].map(KINDS.index).sort_values(kind="stable").index
        return leaks.loc[order, ["part", "class", "path", "kind"]].drop_duplicates("path").sort_values("path")


def write_pairs(path: Path, result: AuditResult) -> None:
    """Write all pairs as CSV, `PAIR_COLUMNS`; bytes of a name that are no UTF-8 are written as escapes."""
    with atomic_file(path) as temporary:
        result.pairs.to_csv(temporary, index=False, float_format="%.4f", errors="backslashreplace")


def named_pairs(images: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Name the images of each pair of parts that are copies, `PAIR_COLUMNS`.

    Args:
        images: as in `AuditResult`.
        found: as `match_duplicates` returns it, where of equal files only the first is paired with other pictures.
    """
    numbers = pd.Series(images.index, index=images.index)
    first_of = numbers.groupby(images["digest"]).transform("min")
    unlike = found[found["kind"] != EQUAL].rename(columns={"first": "file", "second": "copy_file"})
    same = pd.DataFrame({"file": first_of.unique(), "copy_file": first_of.unique(), "correlation": 1.0, "kind": EQUAL})
    swapped = unlike.rename(columns={"file": "copy_file", "copy_file": "file"})
    names = [name for name in reversed(SPLITS) if (images["part"] == name).any()]
    files = {name: first_of[images["part"] == name] for name in names}
    blocks = []
    for name, other in couples(names):
        if name == other:
            links = pd.concat([same, unlike])
            block = _spread(links, files[name], files[name])
            block[["row", "copy_row"]] = np.sort(block[["row", "copy_row"]], axis=1)
            block = block[block["row"] != block["copy_row"]].drop_duplicates(["row", "copy_row"])
        else:
            direct = _spread(pd.concat([same, unlike, swapped]), files[name], files[other])
            block = pd.concat([direct, _indirect(images["group"], direct, files[name].index, files[other].index)])
        blocks.append(block.sort_values(["row", "copy_row"]))
    pairs = pd.concat(blocks, ignore_index=True)
    columns = ["part", "class", "path"]
    named = images.loc[pairs["row"], columns].reset_index(drop=True)
    copies = images.loc[pairs["copy_row"], columns].reset_index(drop=True).add_prefix("copy_")
    result = pd.concat([named, copies, pairs[["kind", "correlation"]]], axis=1)
    known = (result["class"] != "") & (result["copy_class"] != "")
    result["two_labels"] = known & (result["class"] != result["copy_class"])
    return result[list(PAIR_COLUMNS)]


def couples(names: Sequence[str]) -> list[tuple[str, str]]:
    """Test with train, validation with train, test with validation, then each with itself.

    Args:
        names: of the parts, those used last first.
    """
    across = [(name, other) for place, name in enumerate(names) for other in names[place + 1 :]]
    return sorted(across, key=lambda couple: couple[1] != TRAIN) + [(name, name) for name in names]


def _spread(links: pd.DataFrame, files: pd.Series, copies: pd.Series) -> pd.DataFrame:
    """Pairs of images out of pairs of files: each image of either side with the first of the other.

    All with all would be a million rows where a thousand empty pictures are the same file.

    Args:
        links: `file`, `copy_file`, `correlation`, `kind`.
        files: number of the file, by row of the image.
        copies: likewise of the other side.

    Returns:
        `row`, `copy_row`, `correlation`, `kind`.
    """
    left = pd.DataFrame({"file": files, "row": files.index, "again": files.duplicated()})
    right = pd.DataFrame({"copy_file": copies, "copy_row": copies.index, "again": copies.duplicated()})
    every = links.merge(left, on="file").merge(right[~right["again"]], on="copy_file")
    others = links.merge(left[~left["again"]], on="file").merge(right[right["again"]], on="copy_file")
    return pd.concat([every, others])[["row", "copy_row", "correlation", "kind"]]


def _indirect(group: pd.Series, direct: pd.DataFrame, rows: pd.Index, copies: pd.Index) -> pd.DataFrame:
    """Pairs, as `_spread` names them, of images that have copies on the other side by way of others only."""
    forward = _partners(group, rows[~rows.isin(direct["row"])], copies)
    backward = _partners(group, copies[~copies.isin(direct["copy_row"])], rows)
    ends = ["row", "copy_row"]
    pairs = pd.DataFrame(np.concatenate([forward, backward[:, ::-1]]), columns=ends).drop_duplicates()
    return pairs.assign(correlation=np.nan, kind=INDIRECT)


def _partners(group: pd.Series, rows: pd.Index, others: pd.Index) -> NDArray[np.int64]:
    """(pairs, 2): each of the rows whose group has a member among the others, and the first such member."""
    first = pd.Series(others, index=group[others]).groupby(level=0).min()
    partner = group[rows].map(first).dropna()
    return np.stack([partner.index.to_numpy(np.int64), partner.to_numpy(np.int64)], 1)
