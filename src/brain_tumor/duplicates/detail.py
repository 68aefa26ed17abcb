"""Look at local detail: it tells sharpened, softened and grainy copies, whose grey values no tone curve explains.

Strong sharpening changes the grey values of a picture more than the next slice of the same patient does, but it leaves
the edges where they are. So the fine detail is compared, divided by how strong it is in its neighbourhood.
"""

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels
from brain_tumor.duplicates.correlation import plain_correlation
from brain_tumor.duplicates.views import stored

_BLUR = 0.5  # standard deviation in pixels of `SIZE`: hides noise and what resampling does
_NEIGHBOURHOOD = 2.0  # standard deviation in pixels of `SIZE`
_LEAST_CONTRAST = 4.0  # grey values: what varies less is noise and tells nothing
_UNIT = 40  # a standard deviation of the neighbourhood in steps of what is stored
_LENIENCE = 0.08
_LEAST = 0.8  # neighbouring slices of a patient reach 0.84, strongly sharpened copies start at 0.90


def details(images: Pixels) -> Pixels:
    """Local detail of each picture, in a temporary file.

    Args:
        images: (images, side, side), grey values 0 to 255.

    Returns:
        (images, side, side): 128 where a pixel is as bright as its neighbourhood, `_UNIT` more where it is brighter by
        the standard deviation there.

    Source: local contrast normalisation, Jarrett et al., What is the Best Multi-Stage Architecture for Object
    Recognition?, 2009.
    """
    result = stored(images.shape)
    for row, image in enumerate(images):
        fine = _blurred(image.astype(np.float32), _BLUR)
        fine -= _blurred(fine, _NEIGHBOURHOOD)
        contrast = np.sqrt(_blurred(fine * fine, _NEIGHBOURHOOD))
        result[row] = np.clip(np.rint(128 + _UNIT * fine / (contrast + _LEAST_CONTRAST)), 0, 255)
    return result


def detail_correlation(image: Pixels, other: Pixels) -> NDArray[np.float64]:
    """How well the detail of pictures agrees, on the scale of grey values compared as they stand.

    Neighbouring slices reach 0.987 on it, and strongly sharpened copies start at 0.992: the difference left over,
    1 - correlation, is multiplied by `_LENIENCE`.

    Args:
        image: (pairs, side, side), from `details`.
        other: likewise.

    Returns:
        (pairs,), 0 where the detail is unlike.
    """
    agree = plain_correlation(image, other)
    return np.where(agree >= _LEAST, 1 - _LENIENCE * (1 - agree), 0.0)


def _blurred(grey: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return cast(NDArray[np.float32], cv2.GaussianBlur(grey, (0, 0), sigma))
