import numpy as np
import pytest
from evaluation.toy import perfect, split_arrays
from made import dicom
from PIL import Image
from sklearn.metrics import roc_auc_score

from brain_tumor.data.arrays import Arrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.images import Reader
from brain_tumor.evaluation.shortcuts import (
    GREYS,
    OTHER_SOURCES,
    file_features,
    guess_tumour,
    histogram,
    shortcut_table,
    surroundings,
)


def pictures(rng, images, background=0, head=150):
    """Ellipses of noise on an even background."""
    y, x = np.mgrid[:64, :64]
    inside = ((y - 31.5) / 26) ** 2 + ((x - 31.5) / 20) ** 2 < 1
    greys = rng.normal(head, 30, (images, 64, 64))
    return np.where(inside, greys, background + rng.normal(0, 2, greys.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("features", [surroundings, histogram])
def test_another_background_is_found_and_the_same_is_not(rng, features):
    tumour = np.repeat([False, True], 60)
    alike = features(pictures(rng, 240))
    different = features(np.concatenate([pictures(rng, 60), pictures(rng, 60, background=25)] * 2))
    for values, low, high in ((alike, 0.3, 0.7), (different, 0.99, 1)):
        guesses = guess_tumour(values[:120], tumour, values[120:], seed=1)
        np.testing.assert_allclose(guesses.sum(axis=1), 1)
        assert low <= roc_auc_score(tumour, guesses[:, 1]) <= high


def test_surroundings_do_not_see_the_brain(rng):
    plain = pictures(rng, 4)
    changed = plain.copy()
    changed[:, 20:44, 22:42] = 255 - changed[:, 20:44, 22:42] // 2
    np.testing.assert_array_equal(surroundings(plain), surroundings(changed))
    assert (histogram(plain) != histogram(changed)).any()


def test_surroundings_of_a_known_picture():
    image = np.zeros((1, 100, 100), np.uint8)
    image[0, 20:60, 30:90] = 200
    image[0, :8, :8] = 50  # the upper left corner
    mean, _, low, median, high, *corners, dark, black, wide, middle_x, tall, middle_y = surroundings(image)[0]
    border = 100 * 100 - 92 * 92
    assert mean == pytest.approx(50 * (64 - 16) / border)
    assert (low, median, high) == (0, 0, 0)
    assert corners == [50, 0, 0, 0]
    assert (dark, black) == (0, pytest.approx(1 - (2400 + 64) / 10_000))
    assert (wide, middle_x) == (pytest.approx(0.89), pytest.approx(0.445))
    assert (tall, middle_y) == (pytest.approx(0.59), pytest.approx(0.295))


def test_histogram_does_not_see_places(rng):
    images = pictures(rng, 3)
    shuffled = rng.permuted(images.reshape(3, -1), axis=1).reshape(images.shape)
    np.testing.assert_array_equal(histogram(images), histogram(shuffled))
    expected = [np.histogram(image, bins=GREYS, range=(0, 256))[0] / image.size for image in images]
    np.testing.assert_allclose(histogram(images), expected)


def test_an_even_picture_has_features():
    for grey in (0, 255):
        assert np.isfinite(surroundings(np.full((1, 32, 32), grey, np.uint8))).all()


def test_file_features_are_those_of_the_headers(tmp_path):
    Image.new("RGB", (40, 20)).save(tmp_path / "a.png")
    Image.new("L", (30, 30)).save(tmp_path / "b.jpg")
    (tmp_path / "c.dcm").write_bytes(dicom(np.zeros((10, 30), np.uint16)))
    paths = sorted(tmp_path.iterdir())
    assert file_features(paths).tolist() == [[40, 20, 2, 1], [30, 30, 1, 0], [30, 10, 3, 0]]


def test_same_seed_same_guesses(rng):
    values, tumour = rng.random((100, 5)), np.repeat([False, True], 50)
    first = guess_tumour(values, tumour, values, seed=1)
    np.testing.assert_array_equal(first, guess_tumour(values, tumour, values, seed=1))


@pytest.fixture
def two_sources(rng, tmp_path):
    """Meningiomas look like healthy heads, the other tumours do not: only these two are there in another source."""
    greys = {"glioma": 200, "meningioma": 60, "notumor": 60, "pituitary": 200}

    def twelve_images_a_class(name):
        classes = np.repeat(CLASSES, 12)
        images = np.array([rng.normal(greys[label], 8, (32, 32)).clip(0, 255) for label in classes]).astype(np.uint8)
        paths = [f"{name}-{row}.png" for row in range(len(classes))]
        for path, image in zip(paths, images, strict=True):
            Image.fromarray(image).save(tmp_path / path)
        return split_arrays(images, paths, classes)

    train, test = map(twelve_images_a_class, ("train", "test"))
    return Arrays(train, test, test, None, Reader(size=32), "0")


def test_the_source_gives_tumours_away_until_it_is_left_out(two_sources, tmp_path):
    """Grey values tell most tumours from healthy heads, but not where both come from other sources."""
    index, predictions = two_sources.test.index, perfect(two_sources.test)
    annotated = set(index.loc[index["class"].isin(["glioma", "pituitary"]), "path"])

    table = shortcut_table(tmp_path, two_sources, predictions, annotated).set_index("features")

    name = "histogram, whole picture"
    assert table.loc[name, "images"] == 48
    assert table.loc[name, "auroc"] > 0.75
    assert table.loc[f"{name} ({OTHER_SOURCES})", "images"] == 24
    assert table.loc[f"{name} ({OTHER_SOURCES})", "auroc"] < 0.75
    assert table.loc[f"the network ({OTHER_SOURCES})", "auroc"] == 1
    without = shortcut_table(tmp_path, two_sources, predictions, set())
    assert without["features"].tolist() == table.index[:6].tolist()
    assert (without["images"] == 48).all()
