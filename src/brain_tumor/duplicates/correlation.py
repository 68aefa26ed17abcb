"""How well grey values agree, for many pairs of pictures at once."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels
from brain_tumor.duplicates.views import Floats


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


def plain_correlation(first: Pixels, second: Pixels) -> NDArray[np.float64]:
    """(pairs,): -1 to 1; 0 where one picture is of one grey."""
    one, other = _centred(first), _centred(second)
    products, *squares = (np.einsum("ij,ij->i", *both) for both in ((one, other), (one, one), (other, other)))
    lengths = np.sqrt(squares[0].astype(np.float64) * squares[1])
    return np.where(lengths > 1e-6, products / np.maximum(lengths, 1e-6), 0).astype(np.float64)


def unit(images: Pixels | Floats) -> Floats:
    """(images, pixels): mean 0 and length 1, so that inner products are correlations; zeros for one grey."""
    return normalised(_centred(images))


def normalised(values: Floats) -> Floats:
    length = np.sqrt(np.einsum("ij,ij->i", values, values))[:, None]
    result: Floats = values * np.where(length > 1e-6, 1 / np.maximum(length, 1e-6), 0)
    return result


def inner(images: Any, margin: int) -> Any:
    """(images, pixels): those that are not within `margin` pixels of the border."""
    return flat(images[:, margin:-margin, margin:-margin])


def flat(images: Any) -> Any:
    """(images, pixels)."""
    return images.reshape(len(images), math.prod(images.shape[1:]))


def _centred(images: Pixels | Floats) -> Floats:
    """(images, pixels): mean 0."""
    values: Floats = flat(images).astype(np.float32)
    values -= values.mean(1, keepdims=True)
    return values
