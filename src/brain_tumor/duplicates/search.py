"""The copies among images: equal files, and pairs that a search names and a closer look confirms."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brain_tumor.data.images import Pixels, read_images
from brain_tumor.duplicates.alignment import correlate
from brain_tumor.duplicates.candidates import candidate_pairs
from brain_tumor.duplicates.views import SIZE, blocks, stored

EQUAL, NEAR, MIRRORED, FLIPPED, INDIRECT = KINDS = ("equal", "near", "mirrored", "flipped", "indirect")
"""The kinds of copy, the plainest first: the same bytes; the same picture; with left and right swapped; upside down,
mirrored or not; linked by copies of copies alone, which no search names."""

_KIND_OF_FLIP = np.array([NEAR, MIRRORED, FLIPPED, FLIPPED])  # in the order of `FLIPS`


def find_duplicates(root: Path, catalog: pd.DataFrame, threshold: float, progress: Any = iter) -> pd.DataFrame:
    """Read the images of a catalog and find the copies among them.

    The pictures lie in a temporary file while they are compared, so that a million of them need no memory of their own.

    Args:
        root: folder that the paths are relative to.
        catalog: columns `path` and `digest`, a row an image.
        threshold: see `match_duplicates`.
        progress: wraps the blocks of files as they are read, for example a `tqdm` bar.

    Returns:
        As `match_duplicates`; `first` and `second` are row numbers of the catalog.

    Raises:
        UserError: a file cannot be read.
    """
    files = [root / path for path in catalog["path"]]
    images = stored((len(files), SIZE, SIZE))
    for block in progress(blocks(len(files))):
        images[block] = read_images(files[block], SIZE)
    return match_duplicates(images, catalog["digest"].tolist(), threshold)


def match_duplicates(images: Pixels, digests: Sequence[str], threshold: float) -> pd.DataFrame:
    """Find the copies among pictures.

    Found are equal files, other sizes and compressions, mirrored or upside down or both, cropped or moved by up to 5 %
    of the side, turned by up to 5 degrees, changed in brightness, contrast, gamma or sharpness; not a quarter turn, nor
    a strongly sharpened picture that was also cropped, moved or turned.

    Args:
        images: (images, SIZE, SIZE), grey values 0 to 255.
        digests: of the files; equal digests are equal files.
        threshold: correlation from which two pictures are copies, after a tone curve. Where that is not reached as they
            stand, it is asked of their local detail, see `detail_correlation`, and then of the pixels that both show
            once one is aligned to the other by an affine map, see `aligned_correlation`. 0.99 tells copies from
            neighbouring slices of one patient.

    Returns:
        A row a pair, sorted: `first` < `second`, row numbers; `correlation`; `kind`, of `KINDS`. The
        correlation is a lower bound: a pair that reaches the threshold is not aligned any further.
        Equal files are each paired with the first of them only, and only that one with other pictures. Of more than 20
        copies of one picture not every pair is named.
    """
    first_of = pd.Series(np.arange(len(images))).groupby(np.asarray(digests, object)).transform("min").to_numpy()
    again = np.flatnonzero(first_of != np.arange(len(images)))
    equal = pd.DataFrame({"first": first_of[again], "second": again, "correlation": 1.0, "kind": EQUAL})
    candidates = candidate_pairs(images, np.setdiff1d(np.arange(len(images)), again))
    correlation = correlate(images, candidates, threshold)
    near = pd.DataFrame(
        {
            "first": np.minimum(candidates["image"], candidates["other"]),
            "second": np.maximum(candidates["image"], candidates["other"]),
            "correlation": correlation,
            "kind": _KIND_OF_FLIP[candidates["flip"]],
        }
    )
    near = near[correlation >= threshold].sort_values("correlation", ascending=False, kind="stable")
    pairs = pd.concat([equal, near.drop_duplicates(["first", "second"])])
    return pairs.sort_values(["first", "second"], ignore_index=True)
