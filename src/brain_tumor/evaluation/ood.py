"""Whether an image is out of distribution: how far its features, pooled over its places, lie from those of training.

Source: Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples, 2018, section 2.1, with one
Gaussian for all classes and shrinkage of its covariance (Ledoit and Wolf 2004). Features are scaled to length 1 first,
because their length follows the contrast of a picture rather than what is on it (Sun et al. 2022).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

SHARE = 0.99
"""So many of the validation images are in distribution."""


@dataclass(frozen=True)
class OodDetector:
    """A Gaussian of the training images' features.

    Attributes:
        mean: (features,), of the features scaled to length 1.
        precision_root: (features, features), a matrix R with R Rᵀ the inverse of the covariance.
    """

    mean: NDArray[np.float32]
    precision_root: NDArray[np.float32]

    def distances(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Mahalanobis distances, root mean square over the features: about 1 for training images.

        Args:
            features: (images, features), as `fit` takes them.

        Returns:
            (images,), at least 0.
        """
        centred = _unit(features) - self.mean
        distances: NDArray[np.float64] = np.sqrt(np.mean((centred @ self.precision_root) ** 2, axis=1))
        return distances


def fit(features: NDArray[np.floating]) -> OodDetector:
    """Fit the Gaussian to training images.

    Args:
        features: (images, features), a statistic over the places of each channel of one layer of a network.

    Raises:
        ValueError: fewer than two images, or another shape.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features {features.shape}: expected (images, features) of at least two images")
    estimate = LedoitWolf().fit(_unit(features))
    values, vectors = np.linalg.eigh(estimate.covariance_)
    # A feature that is the same in every training image has no variance; the floor keeps its weight finite.
    root = (vectors / np.sqrt(np.maximum(values, values.max() * 1e-6))).astype(np.float32)
    return OodDetector(estimate.location_.astype(np.float32), root)


def threshold(distances: NDArray[np.floating], share: float = SHARE) -> float:
    """The distance beyond which an image is out of distribution: the smallest that at least the share does not exceed.

    Args:
        distances: (images,), of validation images, which have no duplicate among the training images.
        share: 0 to 1.

    Raises:
        ValueError: no images, or a share outside 0 to 1.
    """
    if not len(distances) or not 0 < share <= 1:
        raise ValueError(f"{len(distances)} distances, share {share}: expected some, and a share in (0, 1]")
    return float(np.sort(distances)[int(np.ceil(share * len(distances))) - 1])


def _unit(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows scaled to length 1; a row of zeros stays zero."""
    values = np.asarray(features, np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)
    return unit
