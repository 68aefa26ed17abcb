"""The phantom against the truth that it states."""

import hashlib
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold, cross_val_predict

from brain_tumor.data.annotations import outline_mask, read_outlines, read_slices
from brain_tumor.data.catalog import CLASSES, TESTING, TRAINING, read_catalog
from brain_tumor.data.images import read_image, read_images
from brain_tumor.download.phantom.plan import DUPLICATE_KINDS, MIN_PATIENTS, ORIGINAL, plan_phantom
from brain_tumor.download.phantom.write import write_phantom

SEED = 5


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(folder, SEED, MIN_PATIENTS)
    return folder


@pytest.fixture(scope="module")
def files():
    return plan_phantom(SEED, MIN_PATIENTS)


@pytest.fixture(scope="module")
def outlines(raw):
    return read_outlines(raw)


@pytest.fixture(scope="module")
def correlations(raw, files):
    """(files, files): of all pairs at 96 pixels, plain or mirrored, whichever is higher."""
    images = read_images([raw / file.path for file in files], 96).astype(float)
    images -= images.mean(axis=(1, 2), keepdims=True)
    images /= np.linalg.norm(images, axis=(1, 2), keepdims=True)
    plain, mirrored = (view.reshape(len(images), -1) for view in (images, images[:, :, ::-1]))
    return np.maximum(plain @ plain.T, plain @ mirrored.T)


@pytest.fixture(scope="module")
def same_slice(files):
    slices = np.array([file.slice for file in files])
    return slices[:, None] == slices[None]


def tree_digest(folder):
    contents = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in contents}


# --- What is written --------------------------------------------------------------------------------------------------


def test_same_seed_same_bytes(raw, tmp_path):
    write_phantom(tmp_path, SEED, MIN_PATIENTS)

    assert tree_digest(tmp_path) == tree_digest(raw)


@pytest.mark.slow
def test_other_seed_other_pictures(raw, tmp_path):
    write_phantom(tmp_path, SEED + 1, MIN_PATIENTS)

    assert not set(tree_digest(tmp_path).values()) & set(tree_digest(raw).values())


def test_files_and_annotations_are_as_planned(raw, files, outlines):
    catalog = read_catalog(raw)
    slices = read_slices(raw).set_index("image")

    assert set(catalog["path"]) == {file.path for file in files} == set(slices.index)
    assert len(slices) == len(files)
    for file in files:
        row = slices.loc[file.path]
        assert (row["slice"], row["patient"], row["label"]) == (file.slice, file.patient, file.label)
        with Image.open(raw / file.path) as image:
            assert image.mode == file.mode
            assert 150 <= max(image.size) <= 640
    assert set(outlines) == {file.path for file in files if file.label != "notumor"}


# --- The plan ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("patients", "seed"), [(16, 0), (16, 17), (23, 3), (60, 17), (60, 99)])
def test_plan_has_what_makes_the_real_set_hard(patients, seed):
    files = plan_phantom(seed, patients)
    test = [file for file in files if file.folder == TESTING]
    in_training = {file.slice for file in files if file.folder == TRAINING}
    leaked = [file for file in test if file.slice in in_training]

    assert all(count >= 6 for count in Counter(file.class_folder for file in test).values())
    assert 0.15 <= len(test) / len(files) <= 0.25
    assert 0.25 <= len(leaked) / len(test) <= 0.42
    assert {file.label for file in leaked} == set(CLASSES)
    tested = {file.slice for file in test}
    assert {file.kind for file in files if file.folder == TRAINING and file.slice in tested} == set(DUPLICATE_KINDS)
    assert {file.mode for file in files} == {"L", "RGB", "RGBA", "P"}
    assert len({file.patient for file in files}) == len({(file.patient, file.label) for file in files}) == patients
    patients_of = {name: {file.patient for file in files if file.folder == name} for name in (TRAINING, TESTING)}
    assert len(patients_of[TESTING] - patients_of[TRAINING]) == 0
    assert sorted(int(Path(file.path).stem) for file in files) == list(range(len(files)))  # which tell nothing
    assert all(len(Path(file.path).stem) == 4 for file in files)


def test_default_size():
    assert 440 <= len(plan_phantom(17)) <= 520


@pytest.mark.parametrize("seed", range(5))
def test_two_files_have_a_wrong_label(seed):
    files = plan_phantom(seed, MIN_PATIENTS)
    wrong = [file for file in files if file.class_folder != file.label]
    places = {(file.slice, file.class_folder) for file in files}
    groups_with_two_labels = {name for name, count in Counter(name for name, _ in places).items() if count > 1}

    assert len(wrong) == 2
    assert all(file.folder == TRAINING for file in wrong)
    assert len(groups_with_two_labels & {file.slice for file in wrong}) == len(groups_with_two_labels) == 1


def test_too_few_patients_are_refused():
    with pytest.raises(ValueError, match="at least 16"):
        plan_phantom(0, MIN_PATIENTS - 1)


# --- Duplicates -------------------------------------------------------------------------------------------------------


def test_duplicates_are_what_their_kind_says(raw, files, correlations):
    originals = {file.slice: index for index, file in enumerate(files) if file.kind == ORIGINAL}
    lowest = dict.fromkeys(DUPLICATE_KINDS, 0.999) | {"adjusted": 0.95}
    for index, file in enumerate(files):
        if file.kind == ORIGINAL:
            continue
        path, original = raw / file.path, raw / files[originals[file.slice]].path
        assert (path.read_bytes() == original.read_bytes()) == (file.kind == "equal")
        assert correlations[index, originals[file.slice]] > lowest[file.kind]
        with Image.open(path) as image, Image.open(original) as first:
            (width, height), (before, before_height) = image.size, first.size
        if file.kind == "resized":
            assert width != before
            assert width / height == pytest.approx(before / before_height, rel=0.02)
        elif file.kind != "adjusted":
            assert (width, height) == (before, before_height)
        if file.kind == "mirrored":
            picture, plain = (read_image(place, 96).astype(float) for place in (path, original))
            as_it_is, turned = (np.corrcoef(picture.ravel(), view.ravel())[0, 1] for view in (plain, plain[:, ::-1]))
            assert turned > 0.999
            assert turned > as_it_is

    assert {file.kind for file in files} == {ORIGINAL, *DUPLICATE_KINDS}


def test_neighbouring_slices_are_alike_but_no_duplicates(files, correlations, same_slice):
    views = np.array([f"{file.patient} {file.plane}" for file in files])
    neighbours = (views[:, None] == views[None]) & ~same_slice

    assert correlations[~same_slice].max() < 0.96
    assert np.median(correlations[neighbours]) > 0.8
    assert np.median(correlations[neighbours]) > np.quantile(correlations[~same_slice], 0.95)


# --- Tumours ----------------------------------------------------------------------------------------------------------


def test_tumours_are_brighter_than_what_is_around_them(raw, files, outlines):
    for file in files:
        if file.path in outlines:
            picture = read_image(raw / file.path, 256).astype(float)
            tumour = outline_mask(outlines[file.path], 256, 256)
            around = cv2.dilate(tumour.astype(np.uint8), np.ones((25, 25), np.uint8)).astype(bool) & ~tumour
            assert picture[tumour].mean() > 1.3 * picture[around].mean(), file


def test_tumours_are_4_to_22_percent_of_the_width(outlines):
    widths = np.array([np.ptp(points[:, 0]) for points in outlines.values()])

    assert widths.min() > 0.04
    assert widths.max() < 0.22


def test_glioma_has_a_dark_core_and_the_others_have_none(raw, files, outlines):
    for file in files:
        if file.path in outlines and file.kind == ORIGINAL:
            picture = read_image(raw / file.path, 400).astype(float)
            tumour = outline_mask(outlines[file.path], 400, 400)
            depth = cv2.distanceTransform(tumour.astype(np.uint8), cv2.DIST_L2, 5)
            core, rim = depth > 0.75 * depth.max(), (depth > 3) & (depth < 0.3 * depth.max())
            ratio = picture[core].mean() / picture[rim].mean()
            assert ratio < 0.75 if file.label == "glioma" else ratio > 0.85, file


def head_box(picture):
    """Left, right, top, bottom of the head in fractions of the side; the neck fades and is left out."""
    bright = cv2.GaussianBlur(picture, (0, 0), 3) > 40
    columns, rows = np.flatnonzero(bright.mean(axis=0) > 0.03), np.flatnonzero(bright.mean(axis=1) > 0.03)
    return tuple(float(value) / len(picture) for value in (columns[0], columns[-1], rows[0], rows[-1]))


def test_tumours_lie_where_their_class_grows(raw, files, outlines):
    """Pituitary tumours in the midline of axial and coronal slices, gliomas off it, meningiomas near the surface."""
    off_midline, to_surface = {}, {}
    for file in files:
        if file.path in outlines and file.plane == "axial":
            left, right, top, bottom = head_box(read_image(raw / file.path, 256))
            x, y = outlines[file.path].mean(axis=0)
            across, along = (2 * x - left - right) / (right - left), (2 * y - top - bottom) / (bottom - top)
            off_midline.setdefault(file.label, []).append(abs(across))
            nearest = np.hypot(
                (2 * outlines[file.path][:, 0] - left - right) / (right - left),
                (2 * outlines[file.path][:, 1] - top - bottom) / (bottom - top),
            ).max()
            to_surface.setdefault(file.label, []).append(nearest)
            if file.label == "pituitary":
                assert abs(across) < 0.15
                assert -0.4 < along < 0.1

    assert np.median(off_midline["glioma"]) > 0.25
    assert np.median(to_surface["meningioma"]) > 0.7 > np.median(to_surface["pituitary"])


def test_outlines_follow_their_duplicates(files, outlines):
    originals = {file.slice: outlines.get(file.path) for file in files if file.kind == ORIGINAL}
    compared = Counter()
    for file in files:
        if file.path in outlines and file.kind != ORIGINAL:
            expected = originals[file.slice]
            if file.kind == "mirrored":
                expected = np.array([1, 0]) + expected * (-1, 1)
            moved = np.abs(outlines[file.path] - expected).max()
            assert moved < (0.015 if file.kind == "adjusted" else 2e-4)
            compared[file.kind] += 1

    assert set(compared) == set(DUPLICATE_KINDS)


# --- What must not tell the class -------------------------------------------------------------------------------------


def outside_features(path):
    """All that can be known of a file without a look at the head: mode, format, size, and its border."""
    with Image.open(path) as image:
        modes = [image.mode == mode for mode in ("L", "RGB", "RGBA", "P")]
        width, height = image.size
    picture = read_image(path, 128).astype(float)
    edge = np.concatenate([picture[:4].ravel(), picture[:, :4].ravel(), picture[:, -4:].ravel()])
    return [*modes, width, height, width / height, path.stat().st_size, edge.mean(), edge.std(), *head_box(
        read_image(path, 128)
    )]  # fmt: skip


@pytest.mark.slow
def test_class_is_not_told_by_mode_format_size_or_border(tmp_path):
    write_phantom(tmp_path, SEED, 100)
    files = plan_phantom(SEED, 100)
    features = np.array([outside_features(tmp_path / file.path) for file in files])
    labels = np.array([file.label for file in files])
    patients = np.array([file.patient for file in files])

    forest = RandomForestClassifier(200, min_samples_leaf=3, random_state=0)
    predicted = cross_val_predict(forest, features, labels, groups=patients, cv=GroupKFold(5))

    by_patient = pd.Series(predicted == labels).groupby(patients).mean()
    error = by_patient.std() / np.sqrt(len(by_patient))
    assert by_patient.mean() < 0.25 + 3 * error
