"""What the phantom holds: which patients, slices, duplicates, wrong labels, colour modes and names, before any drawing.

As in the published set, several slices of a patient look alike, a third of the test images has a duplicate in Training,
every patient may be in both folders, two files lie in the wrong folder, and the files have all colour modes.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.random import Generator

from brain_tumor.data.catalog import CLASSES, TESTING, TRAINING

PLANES = ("axial", "coronal", "sagittal")
SLICES_PER_PLANE = 2
MIN_PATIENTS = 16

ORIGINAL = "original"
DUPLICATE_KINDS = ("equal", "recompressed", "resized", "mirrored", "adjusted")
"""Byte for byte; JPEG of a lower quality; other size; mirror image; a little cropped, other brightness and contrast."""

MODES = ("L", "RGB", "L", "RGB", "RGBA", "P")
"""Colour modes of the files, by their share. L and RGB are JPEG, RGBA and P are PNG."""

_TEST_SHARE = 0.22  # of the slices, before duplicates are added
_LEAK_SHARE = 0.36  # of the slices in Testing, that get a duplicate in Training
_TRAIN_SHARE, _IN_TEST_SHARE = 0.28, 0.08  # of the slices in either folder, that get a duplicate beside them


class Stream(IntEnum):
    """Each place that needs chance has a stream of its own, so that no choice of one shows in another."""

    PLAN = 0
    FRAME = 1
    PATIENT = 2
    VIEW = 3
    SLICE = 4
    FILE = 5


@dataclass(frozen=True)
class PhantomFile:
    """One file of the set, and the truth about it.

    Attributes:
        path: relative to the set's folder.
        label: the true class; the folder's, but for the two files with a wrong label.
        patient: name of the patient.
        plane: one of `PLANES`.
        number: which of the patient's slices in this plane, from 0.
        kind: `ORIGINAL`, or how the duplicate is made of the original, one of `DUPLICATE_KINDS`.
        mode: colour mode of the file, as Pillow names it.
    """

    path: str
    label: str
    patient: str
    plane: str
    number: int
    kind: str
    mode: str

    @property
    def slice(self) -> str:
        """Identifier that the file shares with its duplicates, and with nothing else."""
        return f"{self.patient}-{self.plane}-{self.number}"

    @property
    def folder(self) -> str:
        """Published folder, `TRAINING` or `TESTING`."""
        return self.path.split("/")[0]

    @property
    def class_folder(self) -> str:
        """Class by the folder."""
        return self.path.split("/")[1]

    @property
    def place(self) -> tuple[int, int, int]:
        """Patient, plane and slice as whole numbers, the place of a slice in the random streams."""
        return int(self.patient[1:]), PLANES.index(self.plane), self.number


def plan_phantom(seed: int, patients: int = 60, clean: bool = False) -> list[PhantomFile]:
    """Decide which files there are, without drawing them; of a clean set no duplicates and no wrong labels.

    Returns:
        The files of a slice one after the other, the original first.

    Raises:
        ValueError: fewer than `MIN_PATIENTS` patients.
    """
    if patients < MIN_PATIENTS:
        raise ValueError(f"{patients} patients, at least {MIN_PATIENTS} are needed for all classes in both folders")
    rng = np.random.default_rng([seed, Stream.PLAN])
    files = [file for label in CLASSES for file in _class_files(label, patients, rng)]
    files = _with_kinds_and_modes(files, rng)
    files = _with_names(files, rng)
    return [file for file in files if file.kind == ORIGINAL] if clean else _with_wrong_labels(files)


def suffix(mode: str) -> str:
    """Ending of the names of files with a colour mode, with the dot."""
    return ".jpg" if mode in ("L", "RGB") else ".png"


def _class_files(label: str, patients: int, rng: Generator) -> list[PhantomFile]:
    """Originals and duplicates of one class; `path` holds only the published folder, duplicates have an empty kind."""
    members = range(CLASSES.index(label), patients, len(CLASSES))
    slices = [
        PhantomFile("", label, f"P{patient:03d}", plane, number, ORIGINAL, "")
        for patient in members
        for plane in PLANES
        for number in range(SLICES_PER_PLANE)
    ]
    order = rng.permutation(len(slices))
    tests = int(np.ceil(_TEST_SHARE * len(slices)))
    test = [replace(slices[index], path=TESTING) for index in order[:tests]]
    train = [replace(slices[index], path=TRAINING) for index in order[tests:]]
    leaks = round(_LEAK_SHARE * tests)
    in_test = max(1, round(_IN_TEST_SHARE * tests))
    in_train = round(_TRAIN_SHARE * len(train))
    duplicates = [replace(file, path=TRAINING, kind="") for file in [*test[:leaks], *train[:in_train]]]
    duplicates += [replace(file, path=TESTING, kind="") for file in test[-in_test:]]
    return test + train + duplicates


def _with_kinds_and_modes(files: list[PhantomFile], rng: Generator) -> list[PhantomFile]:
    """Deal kinds of duplicates and colour modes evenly over the set, without a look at the class."""
    files = [files[index] for index in rng.permutation(len(files))]
    modes = iter(rng.permutation(np.resize(MODES, len(files))).tolist())
    originals = {file.slice: replace(file, mode=next(modes)) for file in files if file.kind == ORIGINAL}
    others = [file for file in files if file.kind != ORIGINAL]
    others.sort(key=lambda file: (file.folder == originals[file.slice].folder, file.folder))  # leaks first
    duplicates: dict[str, list[PhantomFile]] = {}
    for index, file in enumerate(others):
        kind, mode = DUPLICATE_KINDS[index % len(DUPLICATE_KINDS)], next(modes)
        if kind == "equal":
            mode = originals[file.slice].mode
        if kind == "recompressed" and mode not in ("L", "RGB"):
            mode = ("L", "RGB")[index % 2]
        duplicates.setdefault(file.slice, []).append(replace(file, kind=kind, mode=mode))
    return [file for name in sorted(originals) for file in (originals[name], *duplicates.get(name, []))]


def _with_names(files: list[PhantomFile], rng: Generator) -> list[PhantomFile]:
    """Numbers in random order, so that a name tells neither slice nor class."""
    numbers = rng.permutation(len(files))
    return [
        replace(file, path=f"{file.path}/{file.label}/{number:04d}{suffix(file.mode)}")
        for file, number in zip(files, numbers, strict=True)
    ]


def _with_wrong_labels(files: list[PhantomFile]) -> list[PhantomFile]:
    """Put two meningiomas of Training among the pituitary tumours, as in the published set.

    One has a duplicate in the correct folder, by which a search for duplicates can find it; only the annotations tell
    the other.
    """
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(file.slice, []).append(file.folder)
    candidates = [file for file in files if file.label == "meningioma" and file.folder == TRAINING]
    with_duplicate = next(file for file in candidates if folders[file.slice] == [TRAINING, TRAINING])
    without = next(file for file in candidates if folders[file.slice] == [TRAINING])
    return [
        replace(file, path=file.path.replace("meningioma", "pituitary")) if file in (with_duplicate, without) else file
        for file in files
    ]
