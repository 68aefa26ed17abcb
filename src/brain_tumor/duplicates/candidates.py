"""First look at copies: a vector index names the pairs that may be some, so that not all pairs are compared.

Every picture is described by a few coarse frequencies; the nearest neighbours of the picture as it is, mirrored, upside
down and turned by half a turn, and of crops of these, are its candidates.
"""

from typing import Any

import cv2
import faiss
import numpy as np
import pandas as pd

from brain_tumor.data.images import Pixels
from brain_tumor.duplicates.correlation import normalised, unit
from brain_tumor.duplicates.views import FLIPS, VIEW, VIEWS, Floats, Rows, blocks, flipped, framed

_DIMENSIONS = 64
_COMPONENTS_FROM = 1_000  # images
_SAMPLE = 10_000  # images that the components are taken from
_NEIGHBOURS = 20
_LEAST_SIMILARITY = 0.84  # of features; some 99 % of copies cropped by 5 %, turned by 5 degrees, or both have more
_EXACT_UP_TO = 2_000  # images; up to here the exact search is as fast


def candidate_pairs(images: Pixels, rows: Rows) -> pd.DataFrame:
    """First look: the pairs among `rows` of `images` that may be copies. Most of them are not.

    Returns:
        A row an unordered pair and flip: `image` and `other`, rows of `images`; `view`: the index in `VIEWS` of the
        crop of `image` that looks like the whole of `other`; `flip`: the index in `FLIPS` of how `image` must be read
        for that.
    """
    if not len(rows):
        return pd.DataFrame({name: np.empty(0, np.int64) for name in ("image", "other", "view", "flip")})
    coarse = np.empty((len(rows), VIEW, VIEW), np.uint8)
    for block in blocks(len(rows)):
        coarse[block] = framed(images[rows[block]], VIEWS[:1])[:, 0]
    sample = np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(np.int64)
    centre, basis = projection(coarse[sample])
    features = np.empty((len(rows), _DIMENSIONS), np.float32)
    for block in blocks(len(rows)):
        features[block] = describe(coarse[block], centre, basis)
    index = build_index(features)
    found = []
    for block in blocks(len(rows)):
        views = framed(images[rows[block]], VIEWS)
        for flip in range(len(FLIPS)):
            flat = flipped(views, flip).reshape(-1, VIEW, VIEW)
            similarity, neighbours = index.search(describe(flat, centre, basis), min(_NEIGHBOURS + 1, len(rows)))
            query, place = np.nonzero(similarity >= _LEAST_SIMILARITY)
            image, view = np.divmod(query, len(VIEWS))
            near = {"image": image + block.start, "other": neighbours[query, place], "view": view}
            found.append(_best(pd.DataFrame({**near, "flip": flip, "similarity": similarity[query, place]})))
    candidates = _best(pd.concat(found))
    return candidates.assign(image=rows[candidates["image"]], other=rows[candidates["other"]])


def build_index(features: Floats) -> Any:
    """A faiss index for inner products: exact for few, inverted lists for many.

    With √n lists, of which 8 are read, the search of all grows as n^1.5. A graph (HNSW) would grow slower, but built by
    several threads it differs from run to run.

    Args:
        features: (images, dimensions), rows of length 1 or 0.
    """
    images, dimensions = features.shape
    if images <= _EXACT_UP_TO:
        index: Any = faiss.IndexFlatIP(dimensions)
    else:
        index = faiss.index_factory(dimensions, f"IVF{int(images**0.5)},Flat", faiss.METRIC_INNER_PRODUCT)
        index.nprobe = 8
        index.train(features[:: max(1, images // 200_000)])
    for block in blocks(images):
        index.add(features[block])
    return index


def describe(coarse: Pixels, centre: Floats, basis: Floats) -> Floats:
    """(pictures, _DIMENSIONS), length 1: what tells a picture from the others; zeros for pictures of one grey."""
    textured = np.ptp(coarse, axis=(1, 2)) > 0
    return normalised((unit(coarse) - textured[:, None] * centre) @ basis)


def projection(coarse: Pixels) -> tuple[Floats, Floats]:
    """What is taken off, and onto what the rest is projected, so that unlike pictures have unlike features.

    For many pictures their mean, and their principal components, half whitened: heads are much alike in the largest of
    them. Few pictures do not tell their own components, so low frequencies weighted alike stand in.

    Args:
        coarse: (pictures, side, side).

    Returns:
        (side * side,) and (side * side, _DIMENSIONS).
    """
    if len(coarse) < _COMPONENTS_FROM:
        return np.zeros(VIEW**2, np.float32), _frequency_basis()
    values = unit(coarse)
    centre = values.mean(0)
    values -= centre
    variances, components = np.linalg.eigh(values.T @ values)  # ascending
    strongest = slice(-1, -_DIMENSIONS - 1, -1)
    basis = components[:, strongest] / np.maximum(variances[strongest], 1e-6) ** 0.25
    return centre, basis.astype(np.float32)


def _frequency_basis() -> Floats:
    """(side * side, _DIMENSIONS): the waves of the cosine transform, the lowest first without the mean."""
    waves = cv2.dct(np.eye(VIEW, dtype=np.float32), flags=cv2.DCT_ROWS)  # (pixels, frequencies)
    frequency = np.hypot(*np.meshgrid(np.arange(VIEW), np.arange(VIEW), indexing="ij")).ravel()
    lowest = np.argsort(frequency, kind="stable")[1 : _DIMENSIONS + 1]
    basis = [np.outer(waves[:, i // VIEW], waves[:, i % VIEW]).ravel() * frequency[i] ** 0.5 for i in lowest]
    return np.stack(basis, 1).astype(np.float32)


def _best(near: pd.DataFrame) -> pd.DataFrame:
    """The view in which two pictures are most similar, for each unordered pair and flip."""
    near = near[near["image"] != near["other"]].sort_values("similarity", ascending=False, kind="stable")
    low, high = np.minimum(near["image"], near["other"]), np.maximum(near["image"], near["other"])
    again = pd.DataFrame({"low": low, "high": high, "flip": near["flip"]}).duplicated()
    return near[~again].sort_values(["image", "other"], ignore_index=True)
