"""Second look at duplicates: each candidate is compared as it stands, and then aligned by an affine map.

Alignment is what separates the two hard cases: a duplicate that is cropped by 5 % correlates by as little as 0.05
before it and by 0.99 after it.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels
from brain_tumor.duplicates.correlation import plain_correlation, unit
from brain_tumor.duplicates.detail import ENOUGH_ALIGNED, ENOUGH_AT_HALF, agreement, detail, on_scale
from brain_tumor.duplicates.views import (
    FLIPS,
    HALF,
    SIZE,
    VIEW,
    VIEW_BLUR,
    VIEWS,
    Floats,
    Rows,
    blocks,
    blurred,
    composed,
    flipped,
    frame_maps,
    halved,
    rescaled,
    seen_through,
    stored,
)

AS_IT_STANDS, DETAIL, ALIGNED = 0, 1, 2
"""What a pair is told by: the cheapest of the three that is enough."""

_LEAST_HALF = 0.8  # correlation at half the size of pairs that are compared in full as they stand
_LEAST_TANGENT = (0.9, 0.94)  # multiple correlation at the first and the second step of alignment
_LEAST_FIT = 0.94  # multiple correlation at the third step
_LEAST_COARSE = 0.93  # correlation at half the size after the third step
_COARSE_BLUR = 0.75  # standard deviation in pixels of `HALF`
_ALIGNED_BLUR = 1.5  # standard deviation in pixels of `SIZE`: hides what resampling, noise and sharpening do
_LARGEST_STEP = 1.5  # pixels
_VIEW_MARGIN, _HALF_MARGIN = 1, 3  # pixels of border that alignment leaves out: a crop shows there what was not cut off
_LARGEST_CHANGE = 0.25  # of any coefficient of the affine map; with a larger one another picture is made to fit
_LEAST_OVERLAP = 0.7
_STEPS = 12  # of the last alignment

_PAIRS = 256  # pairs that are worked on at a time: what they need nearly fits a processor's cache, and calls are few
_THREADS = os.cpu_count() or 1

_find_transform: Any = cv2.findTransformECC  # OpenCV's own types refuse the mask None, which it allows


def correlate(
    images: Pixels, candidates: pd.DataFrame, enough: float, framed: bool = True
) -> tuple[NDArray[np.float64], Rows]:
    """Second look: how well the two pictures of each candidate agree, see `agreement`.

    Args:
        images: (images, SIZE, SIZE).
        candidates: as `candidate_pairs` returns them.
        enough: agreement from which a pair is not looked at more closely.
        framed: whether the images show the frame of the head; then pairs that do not agree as they stand are aligned.

    Returns:
        (candidates,), 0 to 1: a lower bound, because a pair is not looked at again once a look is enough; and what each
        is told by.
    """
    plain, agree = np.zeros(len(candidates)), np.zeros(len(candidates))
    told = np.full(len(candidates), AS_IT_STANDS)
    with ThreadPoolExecutor(_THREADS) as pool:

        def each(look: Callable[[Rows], None], rows: Rows) -> None:
            list(pool.map(lambda block: look(rows[block]), blocks(len(rows), _PAIRS)))

        sharp = _made(images, candidates, HALF, lambda image: blurred(halved(image), _COARSE_BLUR), pool)

        def as_they_stand(rows: Rows) -> None:
            plain[rows] = plain_correlation(*_both(sharp, candidates.iloc[rows]))
            agree[rows] = on_scale(plain[rows], ENOUGH_AT_HALF[framed])
            near = rows[(agree[rows] < enough) & (plain[rows] >= _LEAST_HALF)]
            plain[near] = plain_correlation(*_both(images, candidates.iloc[near]))
            agree[near] = np.maximum(agree[near], agreement(plain[near], 0, framed))

        each(as_they_stand, np.arange(len(candidates)))
        unsettled = np.flatnonzero((agree < enough) & (plain >= _LEAST_HALF))
        fine = _made(images, candidates.iloc[unsettled], SIZE, detail, pool)

        def by_detail(rows: Rows) -> None:
            agree[rows] = agreement(plain[rows], plain_correlation(*_both(fine, candidates.iloc[rows])), framed)
            told[rows] = DETAIL

        each(by_detail, unsettled)
        if framed:
            unsettled = np.flatnonzero(agree < enough)
            soft = _made(
                images, candidates.iloc[unsettled], HALF, lambda image: blurred(halved(image), VIEW_BLUR), pool
            )

            def aligned(rows: Rows) -> None:
                alike, warps = _coarse_alignment(soft, candidates.iloc[rows])
                rows = rows[alike]
                close, warps = _finer_alignment(sharp, candidates.iloc[rows], warps)
                rows = rows[close]
                for row, image, other, warp in zip(rows, *_both(images, candidates.iloc[rows]), warps, strict=True):
                    after = aligned_agreement(image, other, warp)
                    if after > agree[row]:
                        agree[row], told[row] = after, ALIGNED

            each(aligned, unsettled)
    return agree, told


def aligned_agreement(image: Pixels, other: Pixels, start: Floats) -> float:
    """How well two pictures agree after one is aligned to the other.

    Args:
        image: (SIZE, SIZE).
        other: (SIZE, SIZE).
        start: (2, 3), affine map from pixels of `other` to pixels of `image`, some two pixels off.

    Returns:
        0 to 1, over the pixels that both show, blurred, on the scale of the threshold; 0 where no small affine map
        aligns them.

    Source: Evangelidis and Psarakis, Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization,
    2008 (OpenCV's findTransformECC).
    """
    if np.linalg.det(start[:, :2]) > 1:  # `other` shows more: align it, so that what is aligned fills the frame
        image, other, start = other, image, cv2.invertAffineTransform(start).astype(np.float32)
    ends = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _STEPS, 1e-5)  # iterations, change of the correlation
    try:
        _, warp = _find_transform(other, image, start.copy(), cv2.MOTION_AFFINE, ends, None, 3)
    except cv2.error:  # it did not converge
        return 0.0
    if np.abs(warp[:, :2] - np.eye(2)).max() > _LARGEST_CHANGE:
        return 0.0
    nearest = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    shown = cv2.warpAffine(np.ones((SIZE, SIZE), np.uint8), warp, (SIZE, SIZE), flags=nearest)
    shown = cv2.erode(shown, np.ones((9, 9), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    seen = shown > 0
    if seen.mean() < _LEAST_OVERLAP:
        return 0.0
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(image, warp, (SIZE, SIZE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    soft, plain, fine = (
        plain_correlation(look(moved)[seen][None], look(other)[seen][None])
        for look in (lambda picture: blurred(picture, _ALIGNED_BLUR), lambda picture: picture, detail)
    )
    return float(np.maximum(on_scale(soft, ENOUGH_ALIGNED), agreement(plain, fine, framed=True))[0])


def _made(
    images: Pixels, candidates: pd.DataFrame, side: int, make: Callable[[Pixels], Pixels], pool: ThreadPoolExecutor
) -> Pixels:
    """(images, side, side), in a temporary file: what is made of those that are among the candidates."""
    result = stored((len(images), side, side))
    rows = np.unique(candidates[["image", "other"]].to_numpy())

    def fill(block: slice) -> None:
        for row in rows[block]:
            result[row] = make(images[row])

    list(pool.map(fill, blocks(len(rows), _PAIRS)))
    return result


def _both(pictures: Pixels, candidates: pd.DataFrame) -> tuple[Pixels, Pixels]:
    """The two pictures of each candidate, the first flipped as it must be."""
    image, flips = pictures[candidates["image"]], candidates["flip"].to_numpy()
    for flip in range(1, len(FLIPS)):
        image[flips == flip] = flipped(image[flips == flip], flip)
    return image, pictures[candidates["other"]]


def _coarse_alignment(soft: Pixels, candidates: pd.DataFrame) -> tuple[Rows, Floats]:
    """Sort out pairs that look unlike, by two steps of alignment of soft pictures.

    Args:
        soft: (images, HALF, HALF).
        candidates: as `candidate_pairs` returns them.

    Returns:
        (alike,), rows of the candidates that may be duplicates, and (alike, 2, 3), their maps from pixels of `other` to
        pixels of `image`, both of `HALF`.
    """
    maps = frame_maps(VIEWS)  # (views, 2, 3), from pixels of `VIEW` to pixels of `HALF`
    image, other = _both(soft, candidates)
    target = seen_through(other, np.broadcast_to(maps[:1], (len(candidates), 2, 3)), VIEW)
    warps = maps[candidates["view"]]
    alike = np.arange(len(candidates))
    for least in _LEAST_TANGENT:
        like, steps = _tangent_fit(seen_through(image[alike], warps, VIEW), target[alike], _VIEW_MARGIN)
        alike, warps = alike[like >= least], composed(warps, steps)[like >= least]
    return alike, rescaled(warps, 1, HALF / VIEW)


def _finer_alignment(sharp: Pixels, candidates: pd.DataFrame, warps: Floats) -> tuple[Rows, Floats]:
    """Sort out more of them, by one step of alignment of sharper pictures.

    Args:
        sharp: (images, HALF, HALF).
        candidates: as `candidate_pairs` returns them.
        warps: (candidates, 2, 3), maps from pixels of `other` to pixels of `image`, both of `HALF`.

    Returns:
        (close,), rows of the candidates that are close to duplicates, and (close, 2, 3), their maps at `SIZE`.
    """
    image, other = _both(sharp, candidates)
    fit, steps = _tangent_fit(seen_through(image, warps, HALF), other, _HALF_MARGIN)
    alike = np.flatnonzero(fit >= _LEAST_FIT)
    image, other, warps = image[alike], other[alike], composed(warps, steps)[alike]
    within = slice(_HALF_MARGIN, -_HALF_MARGIN)
    agree = plain_correlation(seen_through(image, warps, HALF)[:, within, within], other[:, within, within])
    close = agree >= _LEAST_COARSE
    return alike[close], rescaled(warps[close], SIZE / HALF, SIZE / HALF)


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
    within = slice(margin, side - margin)
    grey = views.astype(np.float32)
    grey -= grey.mean((1, 2), keepdims=True)
    slopes: Any = np.gradient(grey, axis=(1, 2))
    down, right = (slope[:, within, within] for slope in slopes)
    grey = grey[:, within, within]
    y, x = np.meshgrid(*[np.linspace(-1, 1, side, dtype=np.float32)[within]] * 2, indexing="ij")
    tangents = np.stack([grey, grey**2, right, x * right, y * right, down, x * down, y * down], 1)
    tangents = tangents.reshape(len(views), 8, (side - 2 * margin) ** 2)  # (pairs, tangents, pixels)
    sums = tangents.sum(2, keepdims=True)
    products = tangents @ tangents.transpose(0, 2, 1) - sums @ sums.transpose(0, 2, 1) / tangents.shape[2]
    lengths = np.maximum(np.sqrt(np.maximum(products.diagonal(axis1=1, axis2=2), 0)), 1e-3)[
        :, :, None
    ]  # (pairs, tangents, 1)
    products = products / (lengths @ lengths.transpose(0, 2, 1)) + 1e-3 * np.eye(8, dtype=np.float32)
    towards = tangents @ unit(targets[:, within, within])[:, :, None] / lengths  # (pairs, tangents, 1)
    weights = np.linalg.solve(products, towards)
    correlation = np.sqrt(np.clip((towards * weights).sum((1, 2)), 0, 1))
    weights = (weights / lengths)[:, :, 0]
    contrast = np.where(np.abs(weights[:, :1]) < 1e-9, 1e-9, weights[:, :1])
    steps = np.clip(weights[:, 2:] / contrast, -_LARGEST_STEP, _LARGEST_STEP).reshape(-1, 2, 3)
    to_border = (side - 1) / 2
    maps = np.empty_like(steps)
    maps[:, :, :2] = np.eye(2, dtype=np.float32) + steps[:, :, 1:] / to_border
    maps[:, :, 2] = steps[:, :, 0] - steps[:, :, 1:].sum(2)
    return correlation.astype(np.float32), maps
