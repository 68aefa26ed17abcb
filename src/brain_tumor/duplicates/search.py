"""The duplicates among images: equal files, and pairs that a search names and a closer look confirms."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels, decode
from brain_tumor.duplicates.alignment import correlate
from brain_tumor.duplicates.candidates import candidate_pairs
from brain_tumor.duplicates.correlation import plain_correlation
from brain_tumor.duplicates.views import LOOKS, SIZE, VIEWS, blocks, looks_at, stored

EQUAL, NEAR, MIRRORED, FLIPPED, INDIRECT = KINDS = ("equal", "near", "mirrored", "flipped", "indirect")
"""The kinds of duplicate, the plainest first: the same bytes; the same picture; with left and right swapped; upside
down, mirrored or not; linked by duplicates of duplicates alone, which no search names."""

KIND_OF_FLIP = np.array([NEAR, MIRRORED, FLIPPED, FLIPPED])  # in the order of `FLIPS`

WHOLE = ("as it stands", "detail", "")
IN_FRAME = ("frame", "detail in the frame", "aligned in the frame")
"""What a pair is told by, the cheapest first: grey values of the whole pictures, their local detail; both in the frame
of the head, and there once one is aligned to the other. Equal files are told by `FILE`."""

FILE = "file"

_SAME = 0.98  # correlation from which two looks at a picture are one


def find_duplicates(root: Path, catalog: pd.DataFrame, threshold: float, progress: Any = iter) -> pd.DataFrame:
    """Read the images of a catalog and find the duplicates among them.

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
    looks = stored((len(files), LOOKS, SIZE, SIZE))
    with ThreadPoolExecutor() as pool:
        for block in progress(blocks(len(files))):
            looks[block] = list(pool.map(lambda file: looks_at(decode(file)), files[block]))
    return match_duplicates(looks, catalog["digest"].tolist(), threshold)


def match_duplicates(images: Pixels, digests: Sequence[str], threshold: float) -> pd.DataFrame:
    """Find the duplicates among pictures.

    Found are equal files, other sizes and compressions, mirrored or upside down or both, cut to the head and squeezed,
    cropped or moved by up to 5 % of the side, turned by up to 5 degrees, changed in brightness, contrast, gamma or
    sharpness; not a quarter turn, nor a strongly sharpened picture that was also cropped, moved or turned.

    Args:
        images: (images, LOOKS, SIZE, SIZE), grey values 0 to 255, all looks at each, see `looks_at`; or (images, SIZE,
            SIZE), whole pictures.
        digests: of the files; equal digests are equal files.
        threshold: agreement from which two pictures are duplicates, see `agreement`: asked of them as they stand, then
            in the frame of the head, and there of the pixels that both show once one is aligned to the other by an
            affine map. 0.99 parts duplicates from neighbouring slices of one patient.

    Returns:
        A row a pair, sorted: `first` < `second`, row numbers; `correlation`; `kind`, of `KINDS`; `look`:
        `FILE`, or of `WHOLE` or `IN_FRAME`.
        The correlation is a lower bound on the scale of the threshold: a pair that reaches it is not looked at again.
        Equal files are each paired with the first of them only, and only that one with other pictures. Of more than 20
        duplicates of one picture not every pair is named.
    """
    first_of = pd.Series(np.arange(len(images))).groupby(np.asarray(digests, object)).transform("min").to_numpy()
    again = np.flatnonzero(first_of != np.arange(len(images)))
    equal = {"first": first_of[again], "second": again, "correlation": 1.0, "kind": EQUAL, "look": FILE}
    if images.ndim == 3:
        looks = stored((len(images), LOOKS, SIZE, SIZE))
        for row, image in enumerate(images):
            looks[row] = looks_at(image)
        images = looks
    pictures = images.reshape(-1, SIZE, SIZE)  # of image n whole at 3 n, the frame of the head, and the content
    whole = LOOKS * np.setdiff1d(np.arange(len(images)), again)
    pairs = _matched(pictures, candidate_pairs(pictures, whole, VIEWS[:1]), threshold, framed=False)
    # Where a cut into the head has moved its frame, the content is what the frame of another shows.
    content = whole[_unlike_their_frames(images[whole // LOOKS])] + 2
    candidates = candidate_pairs(pictures, np.union1d(content, whole + 1), VIEWS, whole + 1)
    in_frame = _matched(pictures, _without(candidates, pairs, len(images)), threshold, framed=True)
    pairs = pd.concat([pd.DataFrame(equal), pairs, in_frame])
    return pairs.sort_values(["first", "second"], ignore_index=True)


def _unlike_their_frames(images: Pixels) -> NDArray[np.bool_]:
    """(images,): whether what the frame of the head shows is another picture than the content."""
    looks = (images[block] for block in blocks(len(images)))
    return np.concatenate([np.empty(0), *(plain_correlation(block[:, 1], block[:, 2]) for block in looks)]) < _SAME


def _without(candidates: pd.DataFrame, found: pd.DataFrame, images: int) -> pd.DataFrame:
    """The candidates that are neither found nor an image and itself."""
    first, second = _ends(candidates)
    settled = np.isin(first * images + second, found["first"] * images + found["second"])
    unsettled: pd.DataFrame = candidates[~settled & (first != second)]
    return unsettled


def _matched(pictures: Pixels, candidates: pd.DataFrame, threshold: float, framed: bool) -> pd.DataFrame:
    """The candidates that are duplicates, each pair as it agrees best."""
    correlation, told = correlate(pictures, candidates, threshold, framed)
    first, second = _ends(candidates)
    kind, look = KIND_OF_FLIP[candidates["flip"]], np.array((WHOLE, IN_FRAME)[framed], object)[told]
    names = {"first": first, "second": second, "correlation": correlation, "kind": kind, "look": look}
    found: pd.DataFrame = pd.DataFrame(names)[correlation >= threshold]
    return found.sort_values("correlation", ascending=False, kind="stable").drop_duplicates(["first", "second"])


def _ends(candidates: pd.DataFrame) -> Any:
    """(2, candidates): the images of each, the smaller first."""
    return np.sort(candidates[["image", "other"]].to_numpy() // LOOKS, axis=1).T
