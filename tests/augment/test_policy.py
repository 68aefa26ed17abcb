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
def test_balanced_classes_are_equal_and_images_of_a_class_differ_by_at_most_one(sizes, copies, seed):
    classes = pd.Series(np.repeat(CLASSES, sizes))

    counts = augmented_per_image(classes, copies, balance=True, rng=np.random.default_rng(seed))

    rows = counts + 1
    per_class = pd.Series(rows).groupby(classes.to_numpy())
    assert per_class.sum().eq(max(sizes) * (1 + copies)).all()
    assert (per_class.max() - per_class.min()).le(1).all()


def test_without_balance_every_image_has_as_many_copies(index, rng):
    assert augmented_per_image(index["class"], 3, balance=False, rng=rng).tolist() == [3] * len(index)


def test_originals_stay_as_they_are_and_copies_differ(images, index, params):
    before = images.copy()

    result, table = augment(images, index, params.augment, seed=3)

    originals = (table["augmented"] == 0).to_numpy()
    assert np.array_equal(images, before)
    assert np.array_equal(result[originals], images)
    rows = table["path"].map({path: row for row, path in enumerate(index["path"])}).to_numpy()
    changed = (result != images[rows]).reshape(len(rows), -1).any(axis=1)
    assert changed[~originals].all()
    assert table.loc[table["class"] != TUMOUR, "class"].value_counts().nunique() == 1


def test_same_seed_same_copies_and_another_seed_others(images, index, params):
    first, _ = augment(images, index, params.augment, seed=3)
    again, _ = augment(images, index, params.augment, seed=3)
    other, _ = augment(images, index, params.augment, seed=4)

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_copy_does_not_depend_on_the_other_images(images, index, params):
    alone = params.augment.model_copy(update={"balance": False, "per_image": 2})

    everything, table = augment(images, index, alone, seed=3)
    half, half_table = augment(images[4:9], index.iloc[4:9].reset_index(drop=True), alone, seed=3)

    chosen = table["path"].isin(half_table["path"]).to_numpy()
    assert np.array_equal(everything[chosen], half)


def largest_difference(first, second):
    return np.abs(first.astype(int) - second).max()


def test_policy_without_changes_gives_the_image_back(images, params):
    still = params.augment.model_copy(update=STILL)

    assert largest_difference(policy(still)(image=images[0])["image"], images[0]) <= 1  # gamma 1 cuts off decimals


def test_a_sure_flip_mirrors(images, params):
    mirrored = params.augment.model_copy(update=STILL | {"flip": 1.0})

    assert largest_difference(policy(mirrored)(image=images[0])["image"], images[0][:, ::-1]) <= 1


def test_sample_shows_one_image_a_class_with_all_its_copies(images, index, params):
    result, table = augment(images, index, params.augment, seed=3)

    originals, copies, classes = sample_of_augmented(result, table)

    assert classes == sorted([*CLASSES, TUMOUR])
    most = table.groupby("class")["augmented"].max()
    assert [len(several) for several in copies[:-1]] == [most[name] for name in CLASSES]
    assert len(copies[-1]) == params.augment.synthetic_tumours
    first = table.index[(table["class"] == "meningioma") & (table["augmented"] == most["meningioma"])][0]
    assert np.array_equal(originals[1], images[index["path"].tolist().index(table["path"].iat[first])])
    assert np.array_equal(copies[1][-1], result[first])


def test_sample_without_copies_shows_the_originals(images, index, params):
    alone = params.augment.model_copy(update={"per_image": 0, "balance": False, "synthetic_tumours": 0})

    originals, copies, _ = sample_of_augmented(*augment(images, index, alone, seed=3))

    assert len(originals) == len(CLASSES)
    assert copies == [[]] * len(CLASSES)


def test_healthy_heads_get_copies_with_a_tumour_of_unknown_type(images, index, params):
    drawing = params.augment.model_copy(update=STILL | {"per_image": 0, "balance": False, "synthetic_tumours": 3})

    result, table = augment(images, index, drawing, seed=3)

    drawn = table["class"] == TUMOUR
    assert set(index.loc[index["path"].isin(table.loc[drawn, "path"]), "class"]) == {HEALTHY}
    assert drawn.sum() == 3 * (index["class"] == HEALTHY).sum()
    originals = images[[index["path"].tolist().index(path) for path in table["path"]]]
    differ = (np.abs(result.astype(int) - originals) > 1).reshape(len(table), -1).any(axis=1)
    assert np.array_equal(differ, drawn)


def test_tumours_of_unknown_type_take_no_part_in_the_balance(rng):
    classes = pd.Series(["glioma"] * 4 + ["notumor"] * 2 + [TUMOUR] * 9)

    assert augmented_per_image(classes, 1, balance=True, rng=rng).tolist() == [1] * 4 + [3] * 2 + [1] * 9


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


def test_a_black_picture_stays_black_under_a_drawn_histogram():
    assert all((result == 0).all() for result in drawn_histograms(np.zeros((32, 32), np.uint8), seeds=3))
