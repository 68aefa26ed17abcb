"""Whether an image is out of distribution: how far its features, pooled over its places, lie from those of training.

Source: Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples, 2018, section 2.1, with one
Gaussian for all classes and shrinkage of its covariance (Ledoit and Wolf 2004). Features are scaled to length 1 first,
because their length follows the contrast of a picture rather than what is on it (Sun et al. 2022).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

SHARE = 0.99
"""Of the validation images, so many lie within the threshold."""


@dataclass(frozen=True)
class OodDetector:
    """A Gaussian of the training images' features, and how far from it an image may lie.

    Attributes:
        mean: (features,), of the features scaled to length 1.
        precision_root: (features, features), a matrix R with R Rᵀ the inverse of the covariance.
        threshold: an image that is further away is out of distribution.
    """

    mean: NDArray[np.float32]
    precision_root: NDArray[np.float32]
    threshold: float

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


def fit(
    features_train: NDArray[np.floating], features_validation: NDArray[np.floating], share: float = SHARE
) -> OodDetector:
    """Fit the Gaussian to training images, and its threshold to validation images.

    Args:
        features_train: (images, features), a statistic over the places of each channel of one layer of a network.
        features_validation: likewise, of images without a duplicate among the training images.
        share: of the validation images that are accepted, 0 to 1.

    Raises:
        ValueError: fewer than two images, other shapes, or a share outside 0 to 1.
    """
    if features_train.ndim != 2 or features_train.shape[1:] != features_validation.shape[1:]:
        raise ValueError(
            f"features {features_train.shape} and {features_validation.shape}: expected (images, features)"
        )
    if len(features_train) < 2 or not len(features_validation):
        raise ValueError("at least two training images and one validation image are needed")
    estimate = LedoitWolf().fit(_unit(features_train))
    values, vectors = np.linalg.eigh(estimate.covariance_)
    # A feature that is the same in every training image has no variance; the floor keeps its weight finite.
    root = (vectors / np.sqrt(np.maximum(values, values.max() * 1e-6))).astype(np.float32)
    detector = OodDetector(estimate.location_.astype(np.float32), root, 0.0)
    return replace(detector, threshold=threshold(detector.distances(features_validation), share))


def threshold(distances: NDArray[np.floating], share: float = SHARE) -> float:
    """The smallest of the distances that at least the share of them does not exceed.

    Args:
        distances: (images,), of validation images.
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
