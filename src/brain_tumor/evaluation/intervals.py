"""Intervals of scores by a bootstrap over groups.

Images are not independent: duplicates, and slices of one patient, are correct or wrong together. Drawing whole groups
keeps that (Field and Welsh, Bootstrapping clustered data, 2007); drawing images, as the plain bootstrap
does, gives intervals that are too narrow.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

RESAMPLES = 1000

_ENDS = (0.025, 0.975)

_CHUNK = 100  # samples scored at a time, so that memory does not grow with their number


class Estimate(NamedTuple):
    """A score, or several, with the interval of each; all of the same shape, NaN where undefined."""

    value: Floats
    low: Floats
    high: Floats


def bootstrap(
    statistic: Callable[[Floats], Floats],
    groups: ArrayLike,
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """95 % percentile interval (Efron 1979) from samples of whole groups, as many as there are, with replacement.

    Args:
        statistic: from weights (samples, images) to scores (samples, …), as those of `metrics`; a weight says how
            often the image is in the sample.
        groups: (images,), images with equal values belong together.
        seed: of the draws; the same groups and seed give the same samples, so two scores can be compared.
        resamples: number of samples.

    Returns:
        The scores with every weight 1, and their intervals. Samples in which a score is undefined do not count for
        it; a score that is undefined itself has no interval.

    Raises:
        ValueError: no images.
    """
    _, group_of = np.unique(np.asarray(groups), return_inverse=True)
    if not len(group_of):
        raise ValueError("no images to draw from")
    rng = np.random.default_rng(seed)
    count = group_of.max() + 1
    samples = []
    for start in range(0, resamples, _CHUNK):
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=min(_CHUNK, resamples - start))
        samples.append(statistic(drawn[:, group_of].astype(np.float64)))
    value = statistic(np.ones((1, len(group_of))))[0]
    low, high = _quantiles(np.concatenate(samples))
    undefined = np.isnan(value)
    return Estimate(value, np.where(undefined, np.nan, low), np.where(undefined, np.nan, high))


def _quantiles(samples: Floats) -> tuple[Floats, Floats]:
    """Ends of the interval over the first axis without NaN; NaN where there is nothing else."""
    empty = np.isnan(samples).all(axis=0)
    filled = np.where(empty, 0, samples)
    low, high = np.nanquantile(filled, _ENDS, axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)
