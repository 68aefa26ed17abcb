import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from scipy.stats import chi2
from sklearn.covariance import LedoitWolf

from brain_tumor.evaluation.ood import fit, threshold


def features(rng, images, width=8):
    """Positive and correlated, as pooled activations are."""
    mixing = np.random.default_rng(5).normal(size=(width, width))
    return np.exp(0.2 * rng.normal(size=(images, width)) @ mixing)


def unit(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_distances_are_scipys_with_scikit_learns_covariance(rng):
    train, other = features(rng, 300), features(rng, 20)

    detector = fit(train)

    estimate = LedoitWolf().fit(unit(train))
    expected = [mahalanobis(row, estimate.location_, estimate.precision_) / np.sqrt(8) for row in unit(other)]
    np.testing.assert_allclose(detector.distances(other), expected, rtol=1e-3)
    assert np.ptp(expected) > 0.2


def test_of_gaussian_images_the_squares_follow_chi_square(rng):
    train = 100 + rng.normal(size=(20_000, 6))  # so far from zero that the sphere is flat
    squares = 6 * fit(train).distances(100 + rng.normal(size=(5_000, 6))) ** 2
    # One direction is lost, because all lie on a sphere.
    for share in (0.25, 0.5, 0.9):
        assert np.quantile(squares, share) == pytest.approx(chi2(5).ppf(share), rel=0.1)


def test_new_images_of_the_same_kind_are_accepted_and_others_are_not(rng):
    detector = fit(features(rng, 2000))
    furthest = threshold(detector.distances(features(rng, 2000)), share=0.99)

    assert (detector.distances(features(rng, 4000)) <= furthest).mean() == pytest.approx(0.99, abs=0.006)
    other = np.abs(rng.normal(size=(500, 8))) + np.eye(8)[0] * 4
    assert (detector.distances(other) > furthest).mean() > 0.95


def test_brightness_of_all_features_does_not_matter_and_zeros_are_far(rng):
    detector = fit(features(rng, 500))
    some = features(rng, 5)

    np.testing.assert_allclose(detector.distances(some * 7), detector.distances(some), rtol=1e-5)
    assert detector.distances(np.zeros((1, 8)))[0] > threshold(detector.distances(features(rng, 200)))


def test_a_feature_that_never_varies_keeps_distances_finite(rng):
    train = features(rng, 200)
    train[:, 3] = 0

    assert np.all(np.isfinite(fit(train).distances(features(rng, 50))))


@pytest.mark.parametrize(("share", "expected"), [(0.99, 99), (1.0, 100), (0.5, 50), (0.001, 1)])
def test_threshold_accepts_the_share_and_no_fewer(rng, share, expected):
    assert threshold(rng.permutation(np.arange(1.0, 101)), share) == expected


def test_what_cannot_be_fitted_is_refused(rng):
    some = features(rng, 10)
    for train in (some[:1], some[:0], some[0]):
        with pytest.raises(ValueError, match="expected"):
            fit(train)
    for distances, share in ((some[:, 0], 0), (some[:, 0], 1.5), (some[:0, 0], 0.9)):
        with pytest.raises(ValueError, match="expected"):
            threshold(distances, share)
