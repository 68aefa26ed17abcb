"""First look at duplicates: a vector index names the pairs that may be some, so that not all pairs are compared.

A few coarse frequencies describe every picture; the nearest neighbours of the picture as it is, mirrored, upside down
and turned by half a turn, and of crops of these, are its candidates.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import faiss
import numpy as np
import pandas as pd

from brain_tumor.data.images import Pixels
from brain_tumor.duplicates.correlation import centred, flat, normalised, unit
from brain_tumor.duplicates.views import FLIPS, VIEW, VIEWS, Floats, Rows, blocks, flipped, framed

_DIMENSIONS = 64
_COMPONENTS_FROM = 1_000  # images
_SAMPLE = 10_000  # images that the components are taken from
_NEIGHBOURS = 20
_LEAST_SIMILARITY = 0.84, 0.78  # of features, without crops and with: 99 % of pictures cut to the head have more
_EXACT_UP_TO = 2_000  # images; up to here the exact search is as fast
_LIST = 100  # images of a list, on average
_LISTS_READ = 8


def candidate_pairs(
    images: Pixels, rows: Rows, views: Sequence[tuple[float, ...]] = VIEWS, sought: Rows | None = None
) -> pd.DataFrame:
    """First look: the pairs among `rows` of `images` that may be duplicates. Most of them are not.

    Args:
        images: (images, SIZE, SIZE).
        rows: those that are compared.
        views: crops that are sought; the first is the whole.
        sought: those of `rows` whose crops are sought among all of them; by default all.

    Returns:
        A row an unordered pair and flip: `image` and `other`, rows of `images`; `view`: the index in `views` of the
        crop of `image` that looks like the whole of `other`; `flip`: the index in `FLIPS` of how `image` must be read
        for that.
    """
    sought = rows if sought is None else sought
    found = [pd.DataFrame({name: np.empty(0, np.int64) for name in ("image", "other", "view", "flip", "similarity")})]
    if not len(rows):
        return found[0]
    coarse = np.empty((len(rows), VIEW, VIEW), np.uint8)
    for block in blocks(len(rows)):
        coarse[block] = framed(images[rows[block]], views[:1])[:, 0]
    sample = np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(np.int64)
    centre, basis = projection(coarse[sample])
    features = np.empty((len(rows), _DIMENSIONS), np.float32)
    for block in blocks(len(rows)):
        features[block] = describe(coarse[block], centre, basis)[0]
    index = build_index(features)
    for block in blocks(len(sought)):
        seen = framed(images[sought[block]], views).reshape(-1, VIEW, VIEW)
        for flip, queries in enumerate(describe(seen, centre, basis, range(len(FLIPS)))):
            similarity, neighbours = index.search(queries, min(_NEIGHBOURS + 1, len(rows)))
            query, place = np.nonzero(similarity >= _LEAST_SIMILARITY[len(views) > 1])
            image, view = np.divmod(query, len(views))
            near = {"image": sought[block][image], "other": rows[neighbours[query, place]], "view": view}
            found.append(_best(pd.DataFrame({**near, "flip": flip, "similarity": similarity[query, place]})))
    return _best(pd.concat(found[1:]))


def build_index(features: Floats) -> Any:
    """A faiss index for inner products: exact for few, inverted lists for many.

    Lists are of one length however many the images are, and a graph (HNSW) over their centres names the few that are
    read, so that a search takes nearly as long among a million as among a few thousand. The graph is built by one
    thread, because by several it differs from run to run.

    Args:
        features: (images, dimensions), rows of length 1 or 0.
    """
    images, dimensions = features.shape
    if images <= _EXACT_UP_TO:
        index: Any = faiss.IndexFlatIP(dimensions)
    else:
        lists = images // _LIST
        index = faiss.index_factory(dimensions, f"IVF{lists}_HNSW32,Flat", faiss.METRIC_INNER_PRODUCT)
        index.nprobe, index.cp.niter, index.cp.min_points_per_centroid = _LISTS_READ, 4, 1
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        index.train(features[:: max(1, images // (16 * lists))])
        faiss.omp_set_num_threads(threads)
    for block in blocks(images):
        index.add(features[block])
    return index


def describe(coarse: Pixels, centre: Floats, basis: Floats, flips: Sequence[int] = (0,)) -> Floats:
    """(flips, pictures, _DIMENSIONS), length 1: what tells each picture, read by each of `flips`, from the others.

    Zeros for pictures of one grey.
    """
    values = centred(coarse)
    lengths = np.sqrt(np.einsum("ij,ij->i", values, values))[:, None]
    textured = lengths > 1e-3
    result = np.empty((len(flips), len(coarse), basis.shape[1]), np.float32)
    for place, flip in enumerate(flips):  # to flip the few waves is the same as to flip the many pictures
        waves = flipped(basis.T.reshape(-1, *coarse.shape[1:]), flip)
        features = values @ flat(waves).T / np.where(textured, lengths, 1) - centre @ basis
        result[place] = normalised(np.where(textured, features, 0))
    return result


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
    near = near[near["image"] != near["other"]]
    ends = near[["image", "other"]].to_numpy()
    order = np.lexsort([near["view"], near["image"], -near["similarity"], near["flip"], ends.max(1), ends.min(1)])
    keys = np.stack([ends.min(1), ends.max(1), near["flip"]])[:, order]
    first = np.append(True, (keys[:, 1:] != keys[:, :-1]).any(0))[: len(order)]
    best: pd.DataFrame = near.iloc[order[first]]
    return best
