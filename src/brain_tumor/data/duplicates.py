"""Groups of images that are copies of one another.

Two looks. The first is a search: every picture is described by a few coarse frequencies, and the nearest neighbours of
the picture, of its mirror image and of crops of both come from a vector index, so that not all pairs are compared. The
second look aligns each candidate by an affine map and correlates at `SIZE` pixels a side. Alignment is what separates
the two hard cases: a copy that is cropped by 5 % correlates by as little as 0.05 before it and by 0.99 after it, while
neighbouring slices of one patient stay below 0.986.
"""

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import cv2
import faiss
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels, read_images

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

SIZE = 96
"""Pixels a side at which two pictures are compared."""

EQUAL, NEAR, MIRRORED = "equal", "near", "mirrored"
"""The kinds of copy: the same bytes; the same picture; the same picture with left and right swapped."""

PAIR_COLUMNS = ("first", "second", "correlation", "kind")

_VIEW = 24  # pixels a side of the coarse picture that the search rests on
_VIEW_BLUR = 1.5  # standard deviation in pixels of `_HALF`: as far as a crop of 3 % moves the border
_HALF = SIZE // 2
_LESS = SIZE * 3 // 4  # neighbouring slices of a patient reach 0.987 there, sharpened copies start at 0.990
_VIEWS = (
    (0.0, 0.0, 0.0),
    (0.04, 0.0, 0.0),
    *((0.02, x, y) for x in (-0.025, 0.025) for y in (-0.025, 0.025)),
    *((0.025, 0.025 * x, 0.025 * y) for x, y in ((-1, 0), (1, 0), (0, -1), (0, 1))),
)
"""Margin cut off each side, and how far the frame is then moved, in shares of the side."""

_DIMENSIONS = 64
_COMPONENTS_FROM = 1_000  # images
_SAMPLE = 10_000  # images that the components are taken from
_NEIGHBOURS = 20
_LEAST_SIMILARITY = 0.84  # of features; some 99 % of copies cropped by 5 %, turned by 5 degrees, or both have more
_EXACT_UP_TO = 2_000  # images; up to here the exact search is as fast

_LEAST_TANGENT = (0.95, 0.96)  # multiple correlation at the first and the second step of alignment
_LEAST_FIT = 0.95  # multiple correlation at the third step; copies have 0.955
_LEAST_COARSE = 0.988  # after the third step; copies cropped by 5 % have 0.990, 95 % of the unlike pairs have less
_LEAST_FINE = 0.96  # at `SIZE`, on the scale of the threshold, before the last alignment; 99.7 % of copies have 0.973
_FINE_BLUR = 0.7  # standard deviation in pixels of `SIZE`: hides what resampling does to fine texture
_STRICTNESS = 2.5
_COARSE_BLUR = 0.75  # standard deviation in pixels of `_HALF`
_TONE = 0.03  # by so much a tone curve can raise a correlation
_HALF_SLACK = 0.02  # by so much a correlation at `_HALF` may be below that at `SIZE`
_LARGEST_STEP = 1.5  # pixels
_VIEW_MARGIN, _HALF_MARGIN = 1, 3  # pixels of border that alignment leaves out: a crop shows there what was not cut off
_LARGEST_CHANGE = 0.2  # of any coefficient of the affine map; with a larger one another picture is made to fit
_LEAST_OVERLAP = 0.7

_BLOCK = 1024  # images that are worked on at a time, for the sake of memory
_PAIRS = 256  # pairs that are worked on at a time: what they need nearly fits a processor's cache, and calls are few
_THREADS = os.cpu_count() or 1

_find_transform: Any = cv2.findTransformECC  # OpenCV's own types refuse the mask None, which it allows


def find_copies(root: Path, catalog: pd.DataFrame, threshold: float, progress: Any = iter) -> pd.DataFrame:
    """Read the images of a catalog and find the copies among them.

    The pictures lie in a temporary file while they are compared, so that a million of them need no memory of their own.

    Args:
        root: folder that the paths are relative to.
        catalog: columns `path` and `digest`, a row an image.
        threshold: see `match_copies`.
        progress: wraps the blocks of files as they are read, for example a `tqdm` bar.

    Returns:
        As `match_copies`; `first` and `second` are row numbers of the catalog.

    Raises:
        UserError: a file cannot be read.
    """
    files = [root / path for path in catalog["path"]]
    images = _stored((len(files), SIZE, SIZE))
    for block in progress(_blocks(len(files))):
        images[block] = read_images(files[block], SIZE)
    return match_copies(images, catalog["digest"].tolist(), threshold)


def match_copies(images: Pixels, digests: Sequence[str], threshold: float) -> pd.DataFrame:
    """Find the copies among pictures.

    Found are equal files, other sizes and compressions, mirrored left to right, cropped or moved by up to 5 % of the
    side, turned by up to 5 degrees, changed in brightness, contrast, gamma or sharpness; not upside down, nor a quarter
    turn.

    Args:
        images: (images, SIZE, SIZE), grey values 0 to 255.
        digests: of the files; equal digests are equal files.
        threshold: correlation from which two pictures are copies, after a tone curve. Where that is not reached as they
            stand, it is asked of the pixels that both show once one is aligned to the other by an affine map, see
            `aligned_correlation`. 0.99 tells copies from neighbouring slices of one patient.

    Returns:
        A row a pair, sorted: `first` < `second`, row numbers; `correlation`; `kind`, one of equal, near, mirrored. The
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
            "kind": np.where(candidates["mirrored"], MIRRORED, NEAR),
        }
    )
    near = near[correlation >= threshold].sort_values("correlation", ascending=False, kind="stable")
    pairs = pd.concat([equal, near.drop_duplicates(["first", "second"])])
    return pairs.sort_values(["first", "second"], ignore_index=True)


def group_names(paths: Sequence[str], pairs: pd.DataFrame) -> list[str]:
    """Name the group of copies of each image: the smallest path in it; copies of copies are copies.

    Args:
        paths: one an image, no two alike.
        pairs: columns `first` and `second`, row numbers of `paths`.
    """
    by_path = np.array(sorted(range(len(paths)), key=lambda image: paths[image]), np.int64)
    rank = np.empty(len(paths), np.int64)
    rank[by_path] = np.arange(len(paths))
    smallest = connected(len(paths), rank[pairs["first"].to_numpy()], rank[pairs["second"].to_numpy()])
    return [paths[image] for image in by_path[smallest[rank]]]


def connected(size: int, first: Rows, second: Rows) -> Rows:
    """(size,): the smallest number that each number 0 to `size` - 1 is linked to, directly or by way of others.

    Args:
        size: how many numbers.
        first: (links,).
        second: (links,).
    """
    smallest = list(range(size))  # each leads to a smaller one of its kind (union-find)

    def find(number: int) -> int:
        while smallest[number] != number:
            smallest[number] = smallest[smallest[number]]
            number = smallest[number]
        return number

    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        low, high = sorted((find(one), find(other)))
        smallest[high] = low
    return np.array([find(number) for number in range(size)], np.int64)


def candidate_pairs(images: Pixels, rows: Rows) -> pd.DataFrame:
    """First look: the pairs among `rows` of `images` that may be copies. Most of them are not.

    Returns:
        A row an unordered pair, once for plain and once for mirrored: `image` and `other`, rows of `images`; `view`:
        the index in `_VIEWS` of the crop of `image` that looks like the whole of `other`; `mirrored`: whether `image`
        must be mirrored for that.
    """
    if not len(rows):
        return pd.DataFrame({name: np.empty(0, np.int64) for name in ("image", "other", "view")}).assign(mirrored=False)
    coarse = np.empty((len(rows), _VIEW, _VIEW), np.uint8)
    for block in _blocks(len(rows)):
        coarse[block] = _views(images[rows[block]], _VIEWS[:1])[:, 0]
    sample = np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(np.int64)
    centre, basis = _projection(coarse[sample])
    features = np.empty((len(rows), _DIMENSIONS), np.float32)
    for block in _blocks(len(rows)):
        features[block] = _features(coarse[block], centre, basis)
    index = build_index(features)
    found = []
    for block in _blocks(len(rows)):
        plain = _views(images[rows[block]], _VIEWS)
        for mirrored, views in ((False, plain), (True, plain[:, :, :, ::-1])):
            flat = views.reshape(-1, _VIEW, _VIEW)
            similarity, neighbours = index.search(_features(flat, centre, basis), min(_NEIGHBOURS + 1, len(rows)))
            query, place = np.nonzero(similarity >= _LEAST_SIMILARITY)
            image, view = np.divmod(query, len(_VIEWS))
            near = {"image": image + block.start, "other": neighbours[query, place], "view": view}
            found.append(_best(pd.DataFrame({**near, "mirrored": mirrored, "similarity": similarity[query, place]})))
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
    for block in _blocks(images):
        index.add(features[block])
    return index


def aligned_correlation(image: Pixels, other: Pixels, start: Floats) -> float:
    """How well two pictures agree after one is aligned to the other.

    Both are blurred a little, because resampling changes fine texture. Blur and alignment also make unlike pictures
    more alike, so the difference left over, 1 - correlation, is multiplied by `_STRICTNESS` to be on the scale of
    pictures that are compared as they stand: neighbouring slices of a patient then reach 0.987, copies start at 0.991.

    Args:
        image: (SIZE, SIZE).
        other: (SIZE, SIZE).
        start: (2, 3), affine map from pixels of `other` to pixels of `image`, some two pixels off.

    Returns:
        At most 1, over the pixels that both show; 0 where no small affine map aligns them.

    Source: Evangelidis and Psarakis, Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization,
    2008 (OpenCV's findTransformECC).
    """
    if np.linalg.det(start[:, :2]) > 1:  # `other` shows more: align it, so that what is aligned fills the frame
        image, other, start = other, image, cv2.invertAffineTransform(start).astype(np.float32)
    ends = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 6, 1e-5)  # iterations, change of the correlation
    try:
        _, warp = _find_transform(other, image, start.copy(), cv2.MOTION_AFFINE, ends, None, 3)
    except cv2.error:  # it did not converge
        return 0.0
    if np.abs(warp[:, :2] - np.eye(2)).max() > _LARGEST_CHANGE:
        return 0.0
    nearest = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    shown = cv2.warpAffine(np.ones((SIZE, SIZE), np.uint8), warp, (SIZE, SIZE), flags=nearest)
    shown = cv2.erode(shown, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    seen = shown > 0
    if seen.mean() < _LEAST_OVERLAP:
        return 0.0
    moved = cv2.warpAffine(_fine(image), warp, (SIZE, SIZE), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    return float(_strict(tone_correlation(moved[seen][None], _fine(other)[seen][None]))[0])


def tone_correlation(first: Any, second: Any) -> Floats:
    """Correlation of grey values after the best tone curve (cubic) from one to the other, or from the other to the one.

    A curve takes care of gamma and of grey values cut off at black or white, which a correlation alone does not. The
    higher counts, because what was cut off cannot be brought back.

    Args:
        first: (pairs, pixels), grey values.
        second: (pairs, pixels), grey values.

    Returns:
        (pairs,), 0 to 1; 0 where one picture varies by less than a grey level.
    """
    grey = np.stack([first, second], 1).astype(np.float32)  # (pairs, 2, pixels)
    grey -= grey.mean(2, keepdims=True)
    deviation = np.sqrt(np.einsum("ijk,ijk->ij", grey, grey) / grey.shape[2])
    grey /= np.maximum(deviation, 1e-6)[:, :, None]
    square = grey * grey
    powers = np.concatenate([grey, square, square * grey], 1)  # first and second, once, squared, cubed
    sums = powers.sum(2, keepdims=True)
    products = powers @ powers.transpose(0, 2, 1) - sums @ sums.transpose(0, 2, 1) / grey.shape[2]
    products = products.astype(np.float64) / grey.shape[2]
    explained = []
    for one, other in ((0, 1), (1, 0)):
        towards = products[:, one::2, other, None]  # (pairs, powers, 1)
        curves = products[:, one::2, one::2] + 1e-6 * np.eye(3)
        explained.append((towards * np.linalg.solve(curves, towards)).sum((1, 2)))
    correlation = np.clip(np.maximum(*explained), 0, 1) ** 0.5
    return np.where(deviation.min(1) < 1, 0, correlation).astype(np.float32)


def correlate(images: Pixels, candidates: pd.DataFrame, enough: float) -> NDArray[np.float64]:
    """Second look: how well the two pictures of each candidate agree.

    Args:
        images: (images, SIZE, SIZE).
        candidates: as `candidate_pairs` returns them.
        enough: correlation from which a pair is not looked at more closely: as it stands, then with a tone curve, then
            aligned.

    Returns:
        (candidates,), 0 to 1. What reaches `enough` is a lower bound, because a pair is not looked at again once a look
        is enough. Pairs that look unlike at half the size are not looked at in full: theirs is that of the halves.
    """
    correlation = np.zeros(len(candidates))
    soft, sharp = _blurred_halves(images)

    def look(block: slice) -> None:
        part = candidates.iloc[block]
        agree = _unaligned_correlation(images, sharp, part, enough)
        unsettled = np.flatnonzero(agree < enough)
        alike, warps = _coarse_alignment(soft, part.iloc[unsettled])
        unsettled = unsettled[alike]
        close, warps = _finer_alignment(sharp, part.iloc[unsettled], warps)
        unsettled = unsettled[close]
        for i, image, other, warp in zip(unsettled, *_both(images, part.iloc[unsettled]), warps, strict=True):
            if _nearly_aligned(image, other, warp):
                agree[i] = max(agree[i], aligned_correlation(image, other, warp))
        correlation[block] = agree

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(look, _blocks(len(candidates), _PAIRS)))
    return np.clip(correlation, 0.0, 1.0)


def _unaligned_correlation(
    images: Pixels, sharp: Pixels, candidates: pd.DataFrame, enough: float
) -> NDArray[np.float64]:
    """(candidates,): correlation of the two pictures as they stand.

    Where that might make it enough, with a tone curve, and without the finest detail.

    Args:
        images: (images, SIZE, SIZE).
        sharp: (images, _HALF, _HALF), the same pictures. They tell most of the pairs that are far from enough.
        candidates: as `candidate_pairs` returns them.
        enough: as `correlate` takes it.
    """
    agree = _plain_correlation(*_both(sharp, candidates))
    near = np.flatnonzero(agree > enough - _TONE - _HALF_SLACK)
    image, other = _both(images, candidates.iloc[near])
    agree[near] = _plain_correlation(image, other)
    for look in (_flat, _without_detail):
        unsettled = (agree[near] < enough) & (agree[near] > enough - _TONE)
        curved = tone_correlation(look(image[unsettled]), look(other[unsettled]))
        agree[near[unsettled]] = np.maximum(agree[near[unsettled]], curved)
    return agree


def _without_detail(images: Pixels) -> Pixels:
    """(images, pixels): without the finest detail, which sharpening, softening and noise change most."""
    scaled = np.empty((len(images), _LESS, _LESS), np.uint8)
    for row, image in enumerate(images):
        scaled[row] = cv2.resize(image, (_LESS, _LESS), interpolation=cv2.INTER_AREA)
    return cast(Pixels, _flat(scaled))


def _both(pictures: Pixels, candidates: pd.DataFrame) -> tuple[Pixels, Pixels]:
    """The two pictures of each candidate, the first mirrored where it must be."""
    image, mirrored = pictures[candidates["image"]], candidates["mirrored"].to_numpy()
    image[mirrored] = image[mirrored][:, :, ::-1]
    return image, pictures[candidates["other"]]


def _best(near: pd.DataFrame) -> pd.DataFrame:
    """The view in which two pictures are most similar, for each unordered pair, plain and mirrored."""
    near = near[near["image"] != near["other"]].sort_values("similarity", ascending=False, kind="stable")
    low, high = np.minimum(near["image"], near["other"]), np.maximum(near["image"], near["other"])
    again = pd.DataFrame({"low": low, "high": high, "mirrored": near["mirrored"]}).duplicated()
    return near[~again].sort_values(["image", "other"], ignore_index=True)


def _blurred_halves(images: Pixels) -> tuple[Pixels, Pixels]:
    """Twice (images, _HALF, _HALF): blurred for the steps at `_VIEW` and at `_HALF`; in temporary files."""
    soft, sharp = (_stored((len(images), _HALF, _HALF)) for _ in range(2))
    for row, image in enumerate(images):
        half = _half(image)
        soft[row], sharp[row] = _blurred(half, _VIEW_BLUR), _blurred(half, _COARSE_BLUR)
    return soft, sharp


def _coarse_alignment(soft: Pixels, candidates: pd.DataFrame) -> tuple[Rows, Floats]:
    """Sort out pairs that look unlike, by two steps of alignment of soft pictures.

    Args:
        soft: (images, _HALF, _HALF).
        candidates: as `candidate_pairs` returns them.

    Returns:
        (alike,), rows of the candidates that may be copies, and (alike, 2, 3), their maps from pixels of `other` to
        pixels of `image`, both of `_HALF`.
    """
    maps = _view_maps(_VIEWS)  # (views, 2, 3), from pixels of `_VIEW` to pixels of `_HALF`
    image, other = _both(soft, candidates)
    target = _seen(other, np.broadcast_to(maps[:1], (len(candidates), 2, 3)), _VIEW)
    warps = maps[candidates["view"]]
    alike = np.arange(len(candidates))
    for least in _LEAST_TANGENT:
        like, steps = _tangent_fit(_seen(image[alike], warps, _VIEW), target[alike], _VIEW_MARGIN)
        alike, warps = alike[like >= least], _composed(warps, steps)[like >= least]
    return alike, _rescaled(warps, 1, _HALF / _VIEW)


def _finer_alignment(sharp: Pixels, candidates: pd.DataFrame, warps: Floats) -> tuple[Rows, Floats]:
    """Sort out more of them, by one step of alignment of sharper pictures.

    Args:
        sharp: (images, _HALF, _HALF).
        candidates: as `candidate_pairs` returns them.
        warps: (candidates, 2, 3), maps from pixels of `other` to pixels of `image`, both of `_HALF`.

    Returns:
        (close,), rows of the candidates that are close to copies, and (close, 2, 3), their maps at `SIZE`.
    """
    image, other = _both(sharp, candidates)
    fit, steps = _tangent_fit(_seen(image, warps, _HALF), other, _HALF_MARGIN)
    alike = np.flatnonzero(fit >= _LEAST_FIT)
    image, other, warps = image[alike], other[alike], _composed(warps, steps)[alike]
    agree = tone_correlation(_inner(_seen(image, warps, _HALF), _HALF_MARGIN), _inner(other, _HALF_MARGIN))
    close = agree >= _LEAST_COARSE
    return alike[close], _rescaled(warps[close], SIZE / _HALF, SIZE / _HALF)


def _nearly_aligned(image: Pixels, other: Pixels, warp: Floats) -> bool:
    """Whether two pictures agree well enough at full size that a last alignment may make copies of them.

    As they stand counts too: where the tone differs much, the alignment so far may have led away from a fit.

    Args:
        image: (SIZE, SIZE).
        other: (SIZE, SIZE).
        warp: (2, 3), map from pixels of `other` to pixels of `image`.
    """
    flags, margin = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, _HALF_MARGIN * SIZE // _HALF
    fine, target = _fine(image), _inner(_fine(other)[None], margin)
    moved = cv2.warpAffine(fine, warp, (SIZE, SIZE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    looks = (_strict(tone_correlation(_inner(look[None], margin), target))[0] for look in (moved, fine))
    return any(agree >= _LEAST_FINE for agree in looks)


def _tangent_fit(views: Pixels, targets: Pixels, margin: int) -> tuple[Floats, Floats]:
    """Fit `targets` by what small affine maps and tone curves make of `views`, to first order.

    Args:
        views: (pairs, side, side).
        targets: (pairs, side, side).
        margin: pixels of border that are left out.

    Returns:
        (pairs,), multiple correlation, 0 to 1; (pairs, 2, 3), affine maps from pixels of `targets` to those of `views`.

    Source: Simard, LeCun and Denker, Efficient Pattern Recognition Using a New Transformation Distance, 1993.
    """
    side = views.shape[1]
    inner = slice(margin, side - margin)
    grey = views.astype(np.float32)
    grey -= grey.mean((1, 2), keepdims=True)
    slopes: Any = np.gradient(grey, axis=(1, 2))
    down, right = (slope[:, inner, inner] for slope in slopes)
    grey = grey[:, inner, inner]
    y, x = np.meshgrid(*[np.linspace(-1, 1, side, dtype=np.float32)[inner]] * 2, indexing="ij")
    tangents = np.stack([grey, grey**2, right, x * right, y * right, down, x * down, y * down], 1)
    tangents = tangents.reshape(len(views), 8, (side - 2 * margin) ** 2)  # (pairs, tangents, pixels)
    sums = tangents.sum(2, keepdims=True)
    products = tangents @ tangents.transpose(0, 2, 1) - sums @ sums.transpose(0, 2, 1) / tangents.shape[2]
    lengths = np.maximum(np.sqrt(products.diagonal(axis1=1, axis2=2)), 1e-3)[:, :, None]  # (pairs, tangents, 1)
    products = products / (lengths @ lengths.transpose(0, 2, 1)) + 1e-3 * np.eye(8, dtype=np.float32)
    towards = tangents @ _unit(targets[:, inner, inner])[:, :, None] / lengths  # (pairs, tangents, 1)
    weights = np.linalg.solve(products, towards)
    correlation = np.sqrt(np.clip((towards * weights).sum((1, 2)), 0, 1))
    weights = (weights / lengths)[:, :, 0]
    contrast = np.where(np.abs(weights[:, :1]) < 1e-9, 1e-9, weights[:, :1])
    steps = np.clip(weights[:, 2:] / contrast, -_LARGEST_STEP, _LARGEST_STEP).reshape(-1, 2, 3)
    half = (side - 1) / 2
    maps = np.empty_like(steps)
    maps[:, :, :2] = np.eye(2, dtype=np.float32) + steps[:, :, 1:] / half
    maps[:, :, 2] = steps[:, :, 0] - steps[:, :, 1:].sum(2)
    return correlation.astype(np.float32), maps


def _features(coarse: Pixels, centre: Floats, basis: Floats) -> Floats:
    """(pictures, _DIMENSIONS), length 1: what tells a picture from the others; zeros for pictures of one grey."""
    textured = np.ptp(coarse, axis=(1, 2)) > 0
    return _normalised((_unit(coarse) - textured[:, None] * centre) @ basis)


def _projection(coarse: Pixels) -> tuple[Floats, Floats]:
    """What is taken off, and onto what the rest is projected, so that unlike pictures have unlike features.

    For many pictures their mean, and their principal components, half whitened: heads are much alike in the largest of
    them. Few pictures do not tell their own components, so low frequencies weighted alike stand in.

    Args:
        coarse: (pictures, side, side).

    Returns:
        (side * side,) and (side * side, _DIMENSIONS).
    """
    if len(coarse) < _COMPONENTS_FROM:
        return np.zeros(_VIEW**2, np.float32), _frequency_basis()
    values = _unit(coarse)
    centre = values.mean(0)
    values -= centre
    variances, components = np.linalg.eigh(values.T @ values)  # ascending
    strongest = slice(-1, -_DIMENSIONS - 1, -1)
    basis = components[:, strongest] / np.maximum(variances[strongest], 1e-6) ** 0.25
    return centre, basis.astype(np.float32)


def _frequency_basis() -> Floats:
    """(side * side, _DIMENSIONS): the waves of the cosine transform, the lowest first without the mean."""
    waves = cv2.dct(np.eye(_VIEW, dtype=np.float32), flags=cv2.DCT_ROWS)  # (pixels, frequencies)
    frequency = np.hypot(*np.meshgrid(np.arange(_VIEW), np.arange(_VIEW), indexing="ij")).ravel()
    lowest = np.argsort(frequency, kind="stable")[1 : _DIMENSIONS + 1]
    basis = [np.outer(waves[:, i // _VIEW], waves[:, i % _VIEW]).ravel() * frequency[i] ** 0.5 for i in lowest]
    return np.stack(basis, 1).astype(np.float32)


def _views(images: Pixels, views: Sequence[tuple[float, float, float]]) -> Pixels:
    """(images, views, _VIEW, _VIEW): each picture, blurred, seen through each frame."""
    maps = _view_maps(views)
    result = np.empty((len(images), len(views), _VIEW, _VIEW), np.uint8)
    for row, image in enumerate(images):
        blurred = _blurred(_half(image), _VIEW_BLUR)
        result[row] = _seen([blurred] * len(maps), maps, _VIEW)
    return result


def _view_maps(views: Sequence[tuple[float, float, float]]) -> Floats:
    """(views, 2, 3): affine maps from pixels of a view to pixels of a picture of `_HALF`."""
    margin, right, down = np.array(views, np.float32).T
    scale = (1 - 2 * margin) * _HALF / _VIEW
    maps = np.zeros((len(views), 2, 3), np.float32)
    maps[:, 0, 0] = maps[:, 1, 1] = scale
    maps[:, :, 2] = np.stack([margin + right, margin + down], 1) * _HALF + scale[:, None] / 2 - 0.5
    return maps


def _seen(images: Sequence[Pixels] | Pixels, maps: Floats, side: int) -> Pixels:
    """(images, side, side): each picture through its map; beyond the border the border goes on."""
    result = np.empty((len(maps), side, side), np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for row, frame in enumerate(maps):
        result[row] = cv2.warpAffine(images[row], frame, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return result


def _composed(outer: Floats, inner: Floats) -> Floats:
    """(maps, 2, 3): first `inner`, then `outer`."""
    result: Floats = outer[:, :, :2] @ inner
    result[:, :, 2] += outer[:, :, 2]
    return result


def _rescaled(maps: Floats, to: float, by: float) -> Floats:
    """The same maps into pictures of `to` times and from pictures of `by` times the side.

    Pixels are counted from their centres, so that the corner is at -1/2.
    """
    result = maps.copy()
    result[:, :, :2] *= to / by
    result[:, :, 2] = (maps[:, :, 2] - maps[:, :, :2].sum(2) / 2 + 0.5) * to + result[:, :, :2].sum(2) / 2 - 0.5
    return result


def _stored(shape: tuple[int, ...]) -> Pixels:
    """Pixels in a file without a name, which goes when they go: they need no memory of their own."""
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.uint8, "w+", shape=(max(shape[0], 1), *shape[1:]))[: shape[0]]


def _half(image: Pixels) -> Pixels:
    return cast(Pixels, cv2.resize(image, (_HALF, _HALF), interpolation=cv2.INTER_AREA))


def _blurred(image: Pixels, sigma: float) -> Pixels:
    return cast(Pixels, cv2.GaussianBlur(image, (0, 0), sigma))


def _fine(image: Pixels) -> Floats:
    return cast(Floats, cv2.GaussianBlur(image.astype(np.float32), (0, 0), _FINE_BLUR))


def _strict(correlation: Floats) -> Floats:
    """That of blurred and aligned pictures on the scale of pictures as they stand, see `aligned_correlation`."""
    return cast(Floats, np.maximum(0, 1 - _STRICTNESS * (1 - correlation)))


def _plain_correlation(first: Pixels, second: Pixels) -> NDArray[np.float64]:
    """(pairs,): -1 to 1; 0 where one picture is of one grey."""
    one, other = _centred(first), _centred(second)
    products, *squares = (np.einsum("ij,ij->i", *both) for both in ((one, other), (one, one), (other, other)))
    lengths = np.sqrt(squares[0].astype(np.float64) * squares[1])
    return np.where(lengths > 1e-6, products / np.maximum(lengths, 1e-6), 0).astype(np.float64)


def _unit(images: Pixels | Floats) -> Floats:
    """(images, pixels): mean 0 and length 1, so that inner products are correlations; zeros for one grey."""
    return _normalised(_centred(images))


def _centred(images: Pixels | Floats) -> Floats:
    """(images, pixels): mean 0."""
    values: Floats = _flat(images).astype(np.float32)
    values -= values.mean(1, keepdims=True)
    return values


def _inner(images: Any, margin: int) -> Any:
    """(images, pixels): those that are not within `margin` pixels of the border."""
    return _flat(images[:, margin:-margin, margin:-margin])


def _flat(images: Any) -> Any:
    """(images, pixels)."""
    return images.reshape(len(images), math.prod(images.shape[1:]))


def _normalised(values: Floats) -> Floats:
    length = np.sqrt(np.einsum("ij,ij->i", values, values))[:, None]
    result: Floats = values * np.where(length > 1e-6, 1 / np.maximum(length, 1e-6), 0)
    return result


def _blocks(length: int, size: int = _BLOCK) -> Iterator[slice]:
    return (slice(start, min(start + size, length)) for start in range(0, length, size))
