"""Second look at copies: each candidate is aligned by an affine map and correlated at `SIZE` pixels a side.

Alignment is what separates the two hard cases: a copy that is cropped by 5 % correlates by as little as 0.05 before it
and by 0.99 after it, while neighbouring slices of one patient stay below 0.986.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels
from brain_tumor.duplicates.correlation import flat, inner, plain_correlation, tone_correlation, unit
from brain_tumor.duplicates.detail import detail_correlation, details
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

_LESS = SIZE * 3 // 4  # neighbouring slices of a patient reach 0.987 there, sharpened copies start at 0.990
_LEAST_TANGENT = (0.95, 0.96)  # multiple correlation at the first and the second step of alignment
_LEAST_FIT = 0.95  # multiple correlation at the third step; copies have 0.955
_LEAST_COARSE = 0.988  # after the third step; copies cropped by 5 % have 0.990, 95 % of the unlike pairs have less
_LEAST_FINE = 0.96  # at `SIZE`, on the scale of the threshold, before the last alignment; 99.7 % of copies have 0.973
_FINE_BLUR = 0.7  # standard deviation in pixels of `SIZE`: hides what resampling does to fine texture
_STRICTNESS = 2.5
_COARSE_BLUR = 0.75  # standard deviation in pixels of `HALF`
_TONE = 0.03  # by so much a tone curve can raise a correlation
_HALF_SLACK = 0.02  # by so much a correlation at `HALF` may be below that at `SIZE`
_LARGEST_STEP = 1.5  # pixels
_VIEW_MARGIN, _HALF_MARGIN = 1, 3  # pixels of border that alignment leaves out: a crop shows there what was not cut off
_LARGEST_CHANGE = 0.2  # of any coefficient of the affine map; with a larger one another picture is made to fit
_LEAST_OVERLAP = 0.7

_PAIRS = 256  # pairs that are worked on at a time: what they need nearly fits a processor's cache, and calls are few
_THREADS = os.cpu_count() or 1

_find_transform: Any = cv2.findTransformECC  # OpenCV's own types refuse the mask None, which it allows


def correlate(images: Pixels, candidates: pd.DataFrame, enough: float) -> NDArray[np.float64]:
    """Second look: how well the two pictures of each candidate agree.

    Args:
        images: (images, SIZE, SIZE).
        candidates: as `candidate_pairs` returns them.
        enough: correlation from which a pair is not looked at more closely: as it stands, then with a tone curve, then
            by its local detail, then aligned.

    Returns:
        (candidates,), 0 to 1. What reaches `enough` is a lower bound, because a pair is not looked at again once a look
        is enough. Pairs that look unlike at half the size are not looked at in full: theirs is that of the halves.
    """
    correlation = np.zeros(len(candidates))
    soft, sharp = _blurred_halves(images)
    fine = details(images)

    def look(block: slice) -> None:
        part = candidates.iloc[block]
        agree = _unaligned_correlation(images, sharp, part, enough)
        unsettled = np.flatnonzero(agree < enough)
        agree[unsettled] = np.maximum(agree[unsettled], detail_correlation(*_both(fine, part.iloc[unsettled])))
        unsettled = unsettled[agree[unsettled] < enough]
        alike, warps = _coarse_alignment(soft, part.iloc[unsettled])
        unsettled = unsettled[alike]
        close, warps = _finer_alignment(sharp, part.iloc[unsettled], warps)
        unsettled = unsettled[close]
        for i, image, other, warp in zip(unsettled, *_both(images, part.iloc[unsettled]), warps, strict=True):
            if _nearly_aligned(image, other, warp):
                agree[i] = max(agree[i], aligned_correlation(image, other, warp))
        correlation[block] = agree

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(look, blocks(len(candidates), _PAIRS)))
    return np.clip(correlation, 0.0, 1.0)


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


def _unaligned_correlation(
    images: Pixels, sharp: Pixels, candidates: pd.DataFrame, enough: float
) -> NDArray[np.float64]:
    """(candidates,): correlation of the two pictures as they stand.

    Where that might make it enough, with a tone curve, and without the finest detail.

    Args:
        images: (images, SIZE, SIZE).
        sharp: (images, HALF, HALF), the same pictures. They tell most of the pairs that are far from enough.
        candidates: as `candidate_pairs` returns them.
        enough: as `correlate` takes it.
    """
    agree = plain_correlation(*_both(sharp, candidates))
    near = np.flatnonzero(agree > enough - _TONE - _HALF_SLACK)
    image, other = _both(images, candidates.iloc[near])
    agree[near] = plain_correlation(image, other)
    for look in (flat, _without_detail):
        unsettled = (agree[near] < enough) & (agree[near] > enough - _TONE)
        curved = tone_correlation(look(image[unsettled]), look(other[unsettled]))
        agree[near[unsettled]] = np.maximum(agree[near[unsettled]], curved)
    return agree


def _without_detail(images: Pixels) -> Pixels:
    """(images, pixels): without the finest detail, which sharpening, softening and noise change most."""
    scaled = np.empty((len(images), _LESS, _LESS), np.uint8)
    for row, image in enumerate(images):
        scaled[row] = cv2.resize(image, (_LESS, _LESS), interpolation=cv2.INTER_AREA)
    return cast(Pixels, flat(scaled))


def _both(pictures: Pixels, candidates: pd.DataFrame) -> tuple[Pixels, Pixels]:
    """The two pictures of each candidate, the first flipped as it must be."""
    image, flips = pictures[candidates["image"]], candidates["flip"].to_numpy()
    for flip in range(1, len(FLIPS)):
        image[flips == flip] = flipped(image[flips == flip], flip)
    return image, pictures[candidates["other"]]


def _blurred_halves(images: Pixels) -> tuple[Pixels, Pixels]:
    """Twice (images, HALF, HALF): blurred for the steps at `VIEW` and at `HALF`; in temporary files."""
    soft, sharp = (stored((len(images), HALF, HALF)) for _ in range(2))
    for row, image in enumerate(images):
        small = halved(image)
        soft[row], sharp[row] = blurred(small, VIEW_BLUR), blurred(small, _COARSE_BLUR)
    return soft, sharp


def _coarse_alignment(soft: Pixels, candidates: pd.DataFrame) -> tuple[Rows, Floats]:
    """Sort out pairs that look unlike, by two steps of alignment of soft pictures.

    Args:
        soft: (images, HALF, HALF).
        candidates: as `candidate_pairs` returns them.

    Returns:
        (alike,), rows of the candidates that may be copies, and (alike, 2, 3), their maps from pixels of `other` to
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
        (close,), rows of the candidates that are close to copies, and (close, 2, 3), their maps at `SIZE`.
    """
    image, other = _both(sharp, candidates)
    fit, steps = _tangent_fit(seen_through(image, warps, HALF), other, _HALF_MARGIN)
    alike = np.flatnonzero(fit >= _LEAST_FIT)
    image, other, warps = image[alike], other[alike], composed(warps, steps)[alike]
    agree = tone_correlation(inner(seen_through(image, warps, HALF), _HALF_MARGIN), inner(other, _HALF_MARGIN))
    close = agree >= _LEAST_COARSE
    return alike[close], rescaled(warps[close], SIZE / HALF, SIZE / HALF)


def _nearly_aligned(image: Pixels, other: Pixels, warp: Floats) -> bool:
    """Whether two pictures agree well enough at full size that a last alignment may make copies of them.

    As they stand counts too: where the tone differs much, the alignment so far may have led away from a fit.

    Args:
        image: (SIZE, SIZE).
        other: (SIZE, SIZE).
        warp: (2, 3), map from pixels of `other` to pixels of `image`.
    """
    flags, margin = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, _HALF_MARGIN * SIZE // HALF
    fine, target = _fine(image), inner(_fine(other)[None], margin)
    moved = cv2.warpAffine(fine, warp, (SIZE, SIZE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    looks = (_strict(tone_correlation(inner(look[None], margin), target))[0] for look in (moved, fine))
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
    lengths = np.maximum(np.sqrt(products.diagonal(axis1=1, axis2=2)), 1e-3)[:, :, None]  # (pairs, tangents, 1)
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


def _fine(image: Pixels) -> Floats:
    return cast(Floats, cv2.GaussianBlur(image.astype(np.float32), (0, 0), _FINE_BLUR))


def _strict(correlation: Floats) -> Floats:
    """That of blurred and aligned pictures on the scale of pictures as they stand, see `aligned_correlation`."""
    return cast(Floats, np.maximum(0, 1 - _STRICTNESS * (1 - correlation)))
