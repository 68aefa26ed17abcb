"""How well two pictures agree, by their grey values and by their finest detail.

The next slice of a patient agrees in all that is coarse and less the finer one looks; a duplicate that was sharpened,
softened, or changed in contrast differs in grey values and keeps its edges where they are. So what is asked of the
detail is the more, the better the grey values agree. `docs/duplicates.md` says how the constants were chosen.
"""

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels
from brain_tumor.duplicates.views import Floats

ENOUGH_AT_HALF = (0.9987, 0.9965)
"""Correlation of blurred grey values at half the size that is enough, whole and in the frame of the head; neighbouring
slices of a patient reach 0.9985 and 0.9951."""

ENOUGH_ALIGNED = 0.997
"""Correlation of blurred pictures after alignment that is enough; neighbouring slices of a patient reach 0.996."""

_ENOUGH = 0.995  # correlation of grey values; neighbouring slices of a patient reach 0.994
_FINE, _COARSE = 0.5, 1.0  # standard deviations in pixels of `SIZE`: what lies between them is detail
_NEIGHBOURHOOD = 2.0  # standard deviation in pixels of `SIZE`
_LEAST_CONTRAST = 4.0  # grey values: what varies less is noise and tells nothing
_UNIT = 40  # a standard deviation of the neighbourhood in steps of what is stored
_LEAST, _MOST = 0.85, 0.94  # what is asked of the detail at least and at most
_SHARE, _HEAD_START = 0.6, (0.08, 0.28)  # of the grey values' z, plus whole and in the frame, is asked of the detail's
_SCALE = 0.99  # what a pair has that is just a duplicate


def detail(image: Any) -> Pixels:
    """Local detail of a picture.

    Args:
        image: (side, side), grey values 0 to 255.

    Returns:
        (side, side): 128 where a pixel is as bright as its neighbourhood, `_UNIT` more where it is brighter by the
        standard deviation there.

    Source: local contrast normalisation, Jarrett et al., What is the Best Multi-Stage Architecture for Object
    Recognition?, 2009.
    """
    grey = image.astype(np.float32)
    fine = _blurred(grey, _FINE) - _blurred(grey, _COARSE)
    contrast = np.sqrt(np.maximum(_blurred(fine * fine, _NEIGHBOURHOOD), 0))
    return cast(Pixels, np.clip(np.rint(128 + _UNIT * fine / (contrast + _LEAST_CONTRAST)), 0, 255).astype(np.uint8))


def agreement(plain: Any, fine: Any, framed: bool) -> NDArray[np.float64]:
    """How well pictures agree, on the scale of the threshold: 0.99 parts duplicates from neighbouring slices.

    Args:
        plain: (pairs,), correlation of grey values.
        fine: (pairs,), correlation of `detail`.
        framed: whether the pictures are seen in the frame of the head, without the black around it.

    Returns:
        (pairs,), 0 to 1.
    """
    asked = np.clip(np.tanh(_HEAD_START[framed] + _SHARE * _z(plain)), _LEAST, _MOST)
    result: NDArray[np.float64] = np.maximum(on_scale(plain, _ENOUGH), on_scale(fine, asked))
    return result


def on_scale(correlation: Any, enough: Any) -> NDArray[np.float64]:
    """0 for none, 0.99 for what is `enough`, 1 for 1: proportional in Fisher's z."""
    scaled: NDArray[np.float64] = np.tanh(_z(_SCALE) * _z(correlation) / _z(enough))
    return scaled


def _z(correlation: Any) -> Any:
    """Fisher's z; infinite from one millionth below 1."""
    with np.errstate(divide="ignore"):
        return np.arctanh(np.where(np.asarray(correlation) > 1 - 1e-6, 1, np.maximum(correlation, 0)))


def _blurred(grey: Floats, sigma: float) -> Floats:
    return cast(Floats, cv2.GaussianBlur(grey, (0, 0), sigma))
