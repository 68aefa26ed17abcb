import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brain_tumor.augment.policy import (
    DrawnHistogram,
    GreyCurve,
    augment,
    augmented_per_image,
    policy,
    sample_of_augmented,
)
from brain_tumor.data.catalog import CLASSES, HEALTHY, TUMOUR
from brain_tumor.data.cells import UNKNOWN, WHOLE, coverage
from brain_tumor.figures.sheets import augmentation_sheet

STILL = dict.fromkeys(("rotation", "shift", "scale", "flip", "contrast", "curve", "degradation", "noise"), 0.0)


@pytest.fixture
def index():
    classes = ["glioma"] * 5 + ["meningioma"] * 3 + ["notumor"] * 2 + ["pituitary"] * 5
    paths = [f"Training/{name}/{number}.jpg" for number, name in enumerate(classes)]
    return pd.DataFrame({"path": paths, "class": classes, "group": paths})


@pytest.fixture
def images(rng, index):
    return rng.integers(0, 256, (len(index), 48, 48), dtype=np.uint8)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=4, max_size=4), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_balanced_classes_are_equal_and_images_of_a_class_differ_by_at_most_one(sizes, per_image, seed):
    classes = pd.Series(np.repeat(CLASSES, sizes))

    counts = augmented_per_image(classes, per_image, balance=True, rng=np.random.default_rng(seed))

    per_class = pd.Series(counts + 1).groupby(classes.to_numpy())
    assert per_class.sum().eq(max(sizes) * (1 + per_image)).all()
    assert (per_class.max() - per_class.min()).le(1).all()


def test_without_balance_every_image_has_as_many_augmented_images(index, rng):
    assert augmented_per_image(index["class"], 3, balance=False, rng=rng).tolist() == [3] * len(index)


def test_tumours_of_unknown_type_take_no_part_in_the_balance(rng):
    classes = pd.Series(["glioma"] * 4 + ["notumor"] * 2 + [TUMOUR] * 9)

    assert augmented_per_image(classes, 1, balance=True, rng=rng).tolist() == [1] * 4 + [3] * 2 + [1] * 9


def originals_of(images, index, table):
    """For each row of `table` the image that it is made of."""
    return images[[index["path"].tolist().index(path) for path in table["path"]]]


def test_originals_stay_as_they_are_and_augmented_images_differ(images, index, params):
    before = images.copy()

    result, table, _ = augment(images, index, {}, params.augment, seed=3)

    assert np.array_equal(images, before)
    changed = (result != originals_of(images, index, table)).reshape(len(table), -1).any(axis=1)
    assert np.array_equal(changed, table["augmented"] > 0)
    assert table.loc[table["augmented"] == 0, "path"].tolist() == index["path"].tolist()
    assert table.loc[table["class"] != TUMOUR, "class"].value_counts().nunique() == 1


def test_the_seed_decides_and_the_other_images_do_not(images, index, params):
    alone = params.augment.model_copy(update={"balance": False, "per_image": 2})

    first, table, _ = augment(images, index, {}, alone, seed=3)
    again, _, _ = augment(images, index, {}, alone, seed=3)
    other, _, _ = augment(images, index, {}, alone, seed=4)
    half, half_table, _ = augment(images[4:9], index.iloc[4:9].reset_index(drop=True), {}, alone, seed=3)

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(first[table["path"].isin(half_table["path"]).to_numpy()], half)


def largest_difference(first, second):
    return np.abs(first.astype(int) - second).max()


def test_policy_without_changes_gives_the_image_back_and_a_sure_flip_mirrors(images, params):
    for flip, expected in ((0.0, images[0]), (1.0, images[0][:, ::-1])):
        still = policy(params.augment.model_copy(update=STILL | {"flip": flip}))

        assert largest_difference(still(image=images[0])["image"], expected) <= 1  # gamma 1 cuts off decimals


def test_sample_shows_one_image_a_class_with_all_its_augmented_images(images, index, params):
    result, table, _ = augment(images, index, {}, params.augment, seed=3)

    originals, augmented, classes = sample_of_augmented(result, table)

    assert classes == sorted([*CLASSES, TUMOUR])
    most = table.groupby("class")["augmented"].max()
    assert [len(several) for several in augmented[:-1]] == [most[name] for name in CLASSES]
    assert len(augmented[-1]) == params.augment.synthetic_tumours
    first = table.index[(table["class"] == "meningioma") & (table["augmented"] == most["meningioma"])][0]
    assert np.array_equal(originals[1], originals_of(images, index, table.loc[[first]])[0])
    assert np.array_equal(augmented[1][-1], result[first])


def test_without_augmented_images_the_sheet_shows_the_originals(images, index, params):
    alone = params.augment.model_copy(update={"per_image": 0, "balance": False, "synthetic_tumours": 0})

    originals, augmented, classes = sample_of_augmented(*augment(images, index, {}, alone, seed=3)[:2])

    assert len(originals) == len(CLASSES)
    assert augmented == [[]] * len(CLASSES)
    assert len(augmentation_sheet(originals, augmented, classes).axes) == len(CLASSES)


def test_healthy_heads_get_augmented_images_with_a_tumour_of_unknown_type(images, index, params):
    drawing = params.augment.model_copy(update=STILL | {"per_image": 0, "balance": False, "synthetic_tumours": 3})

    result, table, _ = augment(images, index, {}, drawing, seed=3)

    synthetic = table["class"] == TUMOUR
    assert set(index.loc[index["path"].isin(table.loc[synthetic, "path"]), "class"]) == {HEALTHY}
    assert synthetic.sum() == 3 * (index["class"] == HEALTHY).sum()
    changes = np.abs(result.astype(int) - originals_of(images, index, table)) > 1
    assert np.array_equal(changes.reshape(len(table), -1).any(axis=1), synthetic)


def test_a_grey_curve_maps_equal_greys_to_equal_greys_and_keeps_black_dark(rng):
    image = rng.integers(0, 256, (64, 64), dtype=np.uint8)
    curve = GreyCurve(p=1)

    results = []
    for seed in range(30):
        curve.set_random_seed(seed)
        results.append(curve(image=image)["image"])

    for result in results:
        assert all(np.unique(result[image == grey]).size == 1 for grey in np.unique(image))
        assert result[image == 0].max() <= 13
    falling = sum(
        (np.diff([result[image == grey][0].astype(int) for grey in range(256)]) < 0).any() for result in results
    )
    assert 3 <= falling <= 18


DECILES = range(10, 100, 10)


@pytest.fixture
def heads(rng):
    """The same textured oval on black as two collections would show it: dark with few bright values, and bright."""
    y, x = np.mgrid[:96, :96]
    inside = ((y - 48) / 45) ** 2 + ((x - 48) / 38) ** 2 < 1
    shares = np.where(inside, rng.beta(2, 2, (96, 96)), 0)
    dark, bright = 70 + 150 * shares**2, 70 + 180 * shares**0.5
    return [np.where(inside, values, 0).round().astype(np.uint8) for values in (dark, bright)], inside


def drawn_histograms(image, seeds=40):
    change = DrawnHistogram(p=1)
    for seed in range(seeds):
        change.set_random_seed(seed)
        yield change(image=image)["image"]


def test_a_drawn_histogram_is_the_same_whatever_the_picture_was_like(heads):
    (dark, bright), inside = heads

    for first, second in zip(drawn_histograms(dark), drawn_histograms(bright), strict=True):
        differences = np.percentile(first[inside], DECILES) - np.percentile(second[inside], DECILES)
        assert np.abs(differences).mean() <= 10
    assert np.abs(np.median(dark[inside]) - np.median(bright[inside])) > 40


def test_a_drawn_histogram_keeps_the_order_of_greys_and_black_black(heads):
    (image, _), inside = heads

    medians = []
    for result in drawn_histograms(image):
        by_grey = [np.unique(result[image == grey]) for grey in np.unique(image)]
        assert all(len(values) == 1 for values in by_grey)
        assert (np.diff(np.concatenate(by_grey).astype(int)) >= 0).all()
        assert (result[image == 0] == 0).all()
        medians.append(np.median(result[inside]))

    assert np.std(medians) > 25
    assert all((result == 0).all() for result in drawn_histograms(np.zeros((32, 32), np.uint8), seeds=3))


def test_outlines_move_with_their_pictures_and_leave_them_as_they_are(params, rng):
    """A white square is the tumour, so that the picture itself tells where it went."""
    size = 64
    still = {"contrast": 0.0, "curve": 0.0, "degradation": 0.0, "noise": 0.0, "synthetic_tumours": 0, "per_image": 4}
    parameters = params.augment.model_copy(update=still | {"balance": False, "image_size": size})
    images = np.zeros((3, size, size), np.uint8)
    masks = {}
    for row in range(2):
        top, left = rng.integers(12, 36, 2)
        images[row, top : top + 16, left : left + 16] = 255
        masks[row] = images[row].copy()
    index = pd.DataFrame({"path": list("abc"), "class": ["glioma", "pituitary", "meningioma"], "group": list("abc")})
    result, table, cells = augment(images, index, masks, parameters, seed=3)
    without, _, unknown = augment(images, index, {}, parameters, seed=3)
    np.testing.assert_array_equal(result, without)
    assert (unknown == UNKNOWN).all()
    known = (table["path"] != "c").to_numpy()
    assert (cells[~known] == UNKNOWN).all()
    seen = np.array([coverage(image) for image in result[known]]).astype(int)
    assert np.abs(cells[known].astype(int) - seen).max() < 0.15 * WHOLE  # of the square's blurred edge
    assert seen.max(axis=(1, 2)).min() > 0


def test_synthetic_tumours_bring_their_outline_and_healthy_heads_have_none(params, rng):
    images = np.stack([cv2.circle(np.zeros((64, 64), np.uint8), (32, 32), 28, 120, -1)] * 2)
    images = np.clip(images + rng.normal(0, 4, images.shape) * (images > 0), 0, 255).astype(np.uint8)
    index = pd.DataFrame({"path": list("ab"), "class": ["notumor", "glioma"], "group": list("ab")})
    parameters = params.augment.model_copy(update={"per_image": 1, "balance": False, "synthetic_tumours": 2})
    _, table, cells = augment(images, index, {}, parameters, seed=5)
    assert not cells[table["class"] == "notumor"].any()
    synthetic = cells[table["class"] == "tumor"]
    assert len(synthetic) == 2
    assert (synthetic.max(axis=(1, 2)) > 0).all()
    assert (synthetic != UNKNOWN).all()
    assert (cells[table["class"] == "glioma"] == UNKNOWN).all()
