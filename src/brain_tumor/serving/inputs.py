"""What is read as one: a file, or the DICOM files of a series, which are one volume."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.catalog import IMAGE_SUFFIXES
from brain_tumor.data.formats.decoding import holds_dicom, pictures, read_bytes, slice_in, slice_of
from brain_tumor.data.formats.dicom import Slice
from brain_tumor.data.formats.pixels import Picture
from brain_tumor.errors import UserError

SUFFIXES = IMAGE_SUFFIXES | {".nii", ".nii.gz"}
"""What files that are read are mostly called; they are told by content."""

SAME_DIRECTION = 0.01
"""Largest difference between the directions of slices of one volume."""

_SMALLEST = 1e-3  # millimetres between slices
_MOST_MISSING = 2  # numbers for each slice that is there; where more are missing the distances are not regular

Key = TypeVar("Key", Path, int)
"""What tells the files of a group apart: where they are, or their number among those that were sent together."""

Group = list[tuple[Slice | None, Key]]
"""Files that are read as one, and what they say of their series."""


@dataclass(frozen=True)
class Source:
    """What is read as one: a file, or the files of a DICOM series in order.

    Attributes:
        name: the file, or the folder of the series and its description.
        paths: at least one.
        numbers: of the slices of a series; one that is missing leaves its number out.
        spacing: distance of the slices of a series, in millimetres; None where unknown.
    """

    name: str
    paths: tuple[Path, ...]
    numbers: tuple[int, ...] = (0,)
    spacing: float | None = None

    def pictures(self) -> Iterator[Picture]:
        """The pictures of all files; those of a series are numbered in its order.

        Raises:
            UserError: as `read_bytes` and `pictures`, for the first file that cannot be read.
        """
        for number, path in zip(self.numbers, self.paths, strict=True):
            for picture in pictures(str(path), read_bytes(path)):
                yield picture if len(self.paths) == 1 else replace(picture, frame=number, spacing=self.spacing)


def sources(paths: Iterable[Path]) -> list[Source]:
    """Group the files of a folder: the slices of a DICOM series are one source, every other file is one.

    A series is what has one SeriesInstanceUID, modality and direction of slices; localizers are left out of it. Where
    it has several pictures at a place, such as echoes, the first of each are one source, the second another. Its slices
    are ordered along their normal, or by number where a header does not tell their place. A file that cannot be
    read is a source, so that reading it tells so.

    Args:
        paths: of files.

    Returns:
        Sources in the order of their first files.
    """
    return _named(_grouped((slice_of(path), path) for path in paths))


def sent_together(contents: Sequence[bytes], most: int) -> Iterator[Picture]:
    """The pictures of DICOM files that were sent together, grouped as `sources` does it.

    Where that makes several sources, each is a volume with a number, in the order of their first files.

    Args:
        contents: of the files, at least one.
        most: bytes that decoding a file may take.

    Raises:
        UserError: a file is no DICOM; or as `pictures`, for the first file that cannot be read.
    """
    names = [f"file {number} of {len(contents)}" for number in range(1, len(contents) + 1)]
    for name, content in zip(names, contents, strict=True):
        if not holds_dicom(content):
            raise UserError(f"{name} is no DICOM file, and only these are read together: send it by itself")
    groups = _grouped((slice_in(content), number) for number, content in enumerate(contents))
    for volume, group in enumerate(groups):
        frames, spacing = _numbers(group)
        for frame, number in zip(frames, _ordered(group), strict=True):
            for picture in pictures(names[number], contents[number], most):
                placed = picture if len(group) == 1 else replace(picture, frame=frame, spacing=spacing)
                yield placed if len(groups) == 1 else replace(placed, volume=volume)


def _grouped(files: Iterable[tuple[Slice | None, Key]]) -> list[Group[Key]]:
    groups: list[Group[Key]] = []
    volumes: defaultdict[tuple[str, str], list[Group[Key]]] = defaultdict(list)
    for found, key in files:
        alike = volumes[found.series, found.modality] if found else []
        group = next((group for group in alike if _same_direction(group[0][0], found)), None)
        if group is None:
            group = []
            groups.append(group)
            alike.append(group)
        group.append((found, key))
    return [part for group in groups for part in _repetitions(group)]


def _repetitions(group: Group[Key]) -> list[Group[Key]]:
    """The group; where it has several pictures at a place, such as echoes, the first of each, the second, and so on."""
    if any(slice_ is None or slice_.place is None for slice_, _ in group):
        return [group]
    parts: defaultdict[int, Group[Key]] = defaultdict(list)
    at: Counter[float] = Counter()
    for slice_, key in sorted(group, key=lambda row: row[0].number if row[0] else 0):
        place = round(slice_.place, 2) if slice_ and slice_.place is not None else 0.0
        parts[at[place]].append((slice_, key))
        at[place] += 1
    return [group] if len(parts) == 1 else list(parts.values())


def _same_direction(one: Slice | None, other: Slice | None) -> bool:
    first, second = (slice_.axes if slice_ else () for slice_ in (one, other))
    return len(first) == len(second) and bool(np.allclose(first, second, rtol=0, atol=SAME_DIRECTION))


def _named(groups: Sequence[Group[Path]]) -> list[Source]:
    named: list[Source] = []
    taken: Counter[str] = Counter()
    for group in groups:
        slice_, path = group[0]
        if slice_ is None or len(group) == 1:
            named.append(Source(str(path), (path,)))
            continue
        name = str(path.parent / slice_.description.replace("/", "_"))
        taken[name] += 1
        name = name if taken[name] == 1 else f"{name} ({taken[name]})"
        named.append(Source(name, _ordered(group), *_numbers(group)))
    return named


def _numbers(group: Group[Key]) -> tuple[tuple[int, ...], float | None]:
    """The numbers of the slices in their order, and their distance in millimetres.

    Where slices are missing from a series at regular distances, their numbers are.
    """
    counted = tuple(range(len(group)))
    places: NDArray[np.float64] = np.sort([slice_.place for slice_, _ in group if slice_ and slice_.place is not None])
    if len(group) == 1 or len(places) < len(group) or not np.isfinite(places).all() or places[0] == places[-1]:
        return counted, None
    steps, length = np.diff(places), float(places[-1] - places[0])
    usual = np.percentile(steps, 50, method="lower")
    ahead: NDArray[np.float64] = np.rint(steps / max(usual, _SMALLEST))
    numbers: NDArray[np.float64] = ahead.cumsum()
    if ahead.min() < 1 or numbers[-1] > _MOST_MISSING * len(group):
        return counted, length / (len(group) - 1)
    return (0, *numbers.astype(int).tolist()), length / float(numbers[-1])


def _ordered(group: Group[Key]) -> tuple[Key, ...]:
    if len(group) == 1:
        return (group[0][1],)
    known = [(slice_, key) for slice_, key in group if slice_]
    placed = all(slice_.place is not None for slice_, _ in known)
    return tuple(key for _, key in sorted(known, key=lambda row: ((row[0].place or 0) * placed, row[0].number, row[1])))
