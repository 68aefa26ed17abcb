"""How well grey values agree, for many pairs of pictures at once."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels
from brain_tumor.duplicates.views import Floats


def plain_correlation(first: Pixels | Floats, second: Pixels | Floats) -> NDArray[np.float64]:
    """(pairs,): -1 to 1; 0 where one picture is of one grey."""
    one, other = centred(first), centred(second)
    products, *squares = (np.einsum("ij,ij->i", *both) for both in ((one, other), (one, one), (other, other)))
    lengths = np.sqrt(squares[0].astype(np.float64) * squares[1])
    return np.where(lengths > 1e-6, products / np.maximum(lengths, 1e-6), 0).astype(np.float64)


def unit(images: Pixels | Floats) -> Floats:
    """(images, pixels): mean 0 and length 1, so that inner products are correlations; zeros for one grey."""
    return normalised(centred(images))


def normalised(values: Floats) -> Floats:
    length = np.sqrt(np.einsum("ij,ij->i", values, values))[:, None]
    result: Floats = values * np.where(length > 1e-6, 1 / np.maximum(length, 1e-6), 0)
    return result


def flat(images: Any) -> Any:
    """(images, pixels)."""
    return images.reshape(len(images), math.prod(images.shape[1:]))


def centred(images: Pixels | Floats) -> Floats:
    """(images, pixels): mean 0."""
    values: Floats = flat(images).astype(np.float32)
    values -= values.mean(1, keepdims=True)
    return values
