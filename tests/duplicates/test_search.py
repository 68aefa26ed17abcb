import cv2
import faiss
import numpy as np
import pandas as pd
import pytest

from brain_tumor.data.annotations import read_slices
from brain_tumor.data.catalog import read_catalog
from brain_tumor.download.phantom.write import write_phantom
from brain_tumor.duplicates.correlation import plain_correlation
from brain_tumor.duplicates.groups import group_names
from brain_tumor.duplicates.search import EQUAL, FLIPPED, IN_FRAME, MIRRORED, NEAR, find_duplicates, match_duplicates
from brain_tumor.duplicates.views import SIZE, flipped, looks_at

THRESHOLD = 0.99


def pictures(rng, number):
    """Smooth random pictures, unlike one another, with a dark border as a head has."""
    coarse = rng.normal(0, 1, (number, 12, 12))
    fine = np.stack([cv2.resize(picture, (4 * SIZE, 4 * SIZE), interpolation=cv2.INTER_CUBIC) for picture in coarse])
    y, x = np.mgrid[-1 : 1 : 4j * SIZE, -1 : 1 : 4j * SIZE]
    inside = 1 / (1 + np.exp((np.hypot(x, y * 0.9) - 0.75) * 30))
    return np.clip((120 + 45 * fine) * inside, 0, 255).astype(np.uint8)


def at_size(picture):
    return cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def jpeg(picture, quality=30):
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def cropped(picture, share):
    margin = round(share * len(picture))
    return picture[margin:-margin, margin:-margin]


def turned(picture, degrees):
    centre = (len(picture) / 2, len(picture) / 2)
    return cv2.warpAffine(picture, cv2.getRotationMatrix2D(centre, degrees, 1), picture.shape)


CHANGES = {
    "recompressed": (jpeg, NEAR),
    "smaller": (lambda picture: cv2.resize(picture, (150, 150), interpolation=cv2.INTER_AREA), NEAR),
    "mirrored": (lambda picture: picture[:, ::-1], MIRRORED),
    "upside down": (lambda picture: picture[::-1], FLIPPED),
    "half a turn": (lambda picture: picture[::-1, ::-1], FLIPPED),
    "upside down and cropped": (lambda picture: cropped(picture, 0.02)[::-1], FLIPPED),
    "brighter": (lambda picture: np.clip(picture * 1.15 + 12, 0, 255).astype(np.uint8), NEAR),
    "cropped by 2 %": (lambda picture: cropped(picture, 0.02), NEAR),
    "mirrored and cropped": (lambda picture: cropped(picture, 0.02)[:, ::-1], MIRRORED),
    "turned by 3 degrees": (lambda picture: turned(picture, 3), NEAR),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_pictures_are_found_and_no_others(rng, change):
    alter, kind = CHANGES[change]
    originals = pictures(rng, 40)
    images = np.stack([at_size(picture) for picture in (*originals, *(alter(picture) for picture in originals))])

    pairs = match_duplicates(images, [str(row) for row in range(80)], THRESHOLD)

    assert list(zip(pairs["first"], pairs["second"], strict=True)) == [(row, row + 40) for row in range(40)]
    assert set(pairs["kind"]) == {kind}
    assert pairs["correlation"].between(THRESHOLD, 1).all()


def test_sharpened_and_grainy_pictures_are_found(rng):
    """Texture changes so much that the pictures correlate by less than the threshold, aligned or not."""
    texture = [cv2.GaussianBlur(rng.normal(0, 300, (4 * SIZE, 4 * SIZE)), (0, 0), 4) for _ in range(20)]
    originals = np.clip(pictures(rng, 20) + np.stack(texture), 0, 255)
    soft = [cv2.GaussianBlur(picture, (0, 0), 4) for picture in originals]
    sharpened = np.clip(3 * originals - 2 * np.stack(soft) + rng.normal(0, 20, originals.shape), 0, 255)
    images = np.stack([at_size(picture.astype(np.uint8)) for picture in (*originals, *sharpened)])

    pairs = match_duplicates(images, [str(row) for row in range(40)], THRESHOLD)

    assert plain_correlation(images[:20], images[20:]).max() < THRESHOLD
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == [(row, row + 20) for row in range(20)]


@pytest.mark.parametrize(
    ("kind", "down", "right"), [(NEAR, 1, 1), (MIRRORED, 1, -1), (FLIPPED, -1, 1), (FLIPPED, -1, -1)]
)
def test_strongly_sharpened_pictures_are_found_by_their_detail(rng, kind, down, right):
    texture = [cv2.GaussianBlur(rng.normal(0, 300, (4 * SIZE, 4 * SIZE)), (0, 0), 4) for _ in range(20)]
    originals = np.clip(pictures(rng, 20) + np.stack(texture), 0, 255)
    soft = np.stack([cv2.GaussianBlur(picture, (0, 0), 12) for picture in originals])
    sharpened = np.clip(originals + 4 * (originals - soft), 0, 255)[:, ::down, ::right]
    images = np.stack([at_size(picture.astype(np.uint8)) for picture in (*originals, *sharpened)])
    straight = images[20:, ::down, ::right]

    pairs = match_duplicates(images, [str(row) for row in range(40)], THRESHOLD)

    assert plain_correlation(images[:20], straight).max() < 0.97, "grey values tell them already"
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == [(row, row + 20) for row in range(20)]
    assert set(pairs["kind"]) == {kind}


def test_equal_files_are_paired_with_the_first_of_them(rng):
    images = np.stack([at_size(picture) for picture in pictures(rng, 3)])[[0, 1, 0, 2, 0]]

    pairs = match_duplicates(images, ["a", "b", "a", "c", "a"], THRESHOLD)

    assert pairs[["first", "second", "kind"]].values.tolist() == [[0, 2, EQUAL], [0, 4, EQUAL]]


def test_the_order_of_the_images_does_not_matter(rng):
    originals = pictures(rng, 20)
    images = np.stack([at_size(picture) for picture in (*originals, *(jpeg(picture) for picture in originals[:7]))])
    order = rng.permutation(len(images))

    plain = match_duplicates(images, [str(row) for row in range(27)], THRESHOLD)
    shuffled = match_duplicates(images[order], [str(row) for row in order], THRESHOLD)

    back = {frozenset(pair) for pair in order[shuffled[["first", "second"]].to_numpy()]}
    assert back == {frozenset(pair) for pair in plain[["first", "second"]].to_numpy()}
    assert len(back) == 7


def cut_to_the_head(picture, margin, quality, flip):
    """As preprocessing scripts do it: the rows and columns of what is bright, squeezed to a square."""
    bright = cv2.GaussianBlur(picture, (5, 5), 0) > 45
    top, bottom = np.flatnonzero(bright.any(1))[[0, -1]]
    left, right = np.flatnonzero(bright.any(0))[[0, -1]]
    down, across = round(margin * (bottom - top)), round(margin * (right - left))
    cut = picture[max(0, top - down) : bottom + down, max(0, left - across) : right + across]
    return flipped(jpeg(cv2.resize(cut, (224, 224), interpolation=cv2.INTER_AREA), quality), flip)


@pytest.mark.parametrize(("margin", "quality", "flip"), [(-0.03, 60, 0), (-0.03, 95, 1), (0, 60, 1), (0.08, 75, 0)])
def test_pictures_that_were_cut_to_the_head_and_squeezed_are_found_in_its_frame(rng, margin, quality, flip):
    originals = [np.pad(picture[:, 60:-60], ((30, 90), (20, 50))) for picture in pictures(rng, 30)]
    cut = [cut_to_the_head(picture, margin, quality, flip) for picture in originals]
    images = np.stack([looks_at(picture) for picture in (*originals, *cut)])

    pairs = match_duplicates(images, [str(row) for row in range(60)], THRESHOLD)

    assert list(zip(pairs["first"], pairs["second"], strict=True)) == [(row, row + 30) for row in range(30)]
    assert set(pairs["look"]) <= set(IN_FRAME)
    assert set(pairs["kind"]) == {MIRRORED if flip else NEAR}


def test_any_number_of_threads_finds_the_same(rng, monkeypatch):
    """Above 2,000 pictures, where the index is not exact."""
    images = np.stack([at_size(picture) for picture in rng.integers(0, 256, (1200, 12, 12), np.uint8)])
    images = np.concatenate([images, [cv2.blur(image, (3, 3)) for image in images[:1000]]])
    found = []
    for threads in (1, 3):
        monkeypatch.setattr("brain_tumor.duplicates.alignment._THREADS", threads)
        faiss.omp_set_num_threads(threads)
        found.append(match_duplicates(images, [str(row) for row in range(2200)], THRESHOLD))

    assert len(found[0]) >= 500
    pd.testing.assert_frame_equal(*found)


@pytest.mark.parametrize("value", [0, 128])
def test_pictures_without_content_are_no_duplicates_of_pictures_with_it(rng, value):
    images = np.stack([at_size(pictures(rng, 1)[0]), np.full((SIZE, SIZE), value, np.uint8)])

    assert match_duplicates(images, ["a", "b"], THRESHOLD).empty


def test_one_image_or_none_has_no_duplicates():
    assert match_duplicates(np.zeros((0, SIZE, SIZE), np.uint8), [], THRESHOLD).empty
    assert match_duplicates(np.zeros((1, SIZE, SIZE), np.uint8), ["a"], THRESHOLD).empty


def truth(slices, paths):
    shown = slices.set_index("image")["slice"]
    return shown.reindex(paths).to_numpy()


@pytest.mark.slow
def test_on_the_phantom_the_duplicates_are_those_that_were_drawn(tmp_path):
    write_phantom(tmp_path, seed=17, patients=24)
    catalog = read_catalog(tmp_path)
    shown = truth(read_slices(tmp_path), catalog["path"])

    groups = np.array(group_names(catalog["path"].tolist(), find_duplicates(tmp_path, catalog, THRESHOLD)))

    found = groups[:, None] == groups[None]
    same = shown[:, None] == shown[None]
    assert same.sum() > len(shown), "no duplicates in this set"
    assert (found & ~same).sum() == 0
    assert (found & same).sum() == same.sum()
