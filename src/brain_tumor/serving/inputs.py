"""What is read as one: a file, or the DICOM files of a series, which are one volume."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from brain_tumor.data.catalog import IMAGE_SUFFIXES
from brain_tumor.data.formats.decoding import pictures, read_bytes, slice_of
from brain_tumor.data.formats.dicom import Slice
from brain_tumor.data.formats.pixels import Picture

SUFFIXES = IMAGE_SUFFIXES | {".nii", ".nii.gz"}
"""What files that are read are mostly called; they are told by content."""

SAME_DIRECTION = 0.01
"""Largest difference between the directions of slices of one volume."""


@dataclass(frozen=True)
class Source:
    """What is read as one: a file, or the files of a DICOM series in order.

    Attributes:
        name: the file, or the folder of the series and its description.
        paths: at least one.
        spacing: mean distance of the slices of a series, in millimetres; None where unknown.
    """

    name: str
    paths: tuple[Path, ...]
    spacing: float | None = None

    def pictures(self) -> Iterator[Picture]:
        """The pictures of all files; those of a series are numbered in its order.

        Raises:
            UserError: as `read_bytes` and `pictures`, for the first file that cannot be read.
        """
        for number, path in enumerate(self.paths):
            for picture in pictures(str(path), read_bytes(path)):
                yield picture if len(self.paths) == 1 else replace(picture, frame=number, spacing=self.spacing)


def sources(paths: Iterable[Path]) -> list[Source]:
    """Group the files of a folder: the slices of a DICOM series are one source, every other file is one.

    A series is what has one SeriesInstanceUID, modality and direction of slices; localizers are left out of it. Its
    slices are ordered along their normal, or by number where a header does not tell their place. A file that cannot be
    read is a source, so that reading it tells so.

    Args:
        paths: of files.

    Returns:
        Sources in the order of their first files.
    """
    groups: list[list[tuple[Slice | None, Path]]] = []
    volumes: defaultdict[tuple[str, str], list[list[tuple[Slice | None, Path]]]] = defaultdict(list)
    for path in paths:
        found = slice_of(path)
        alike = volumes[found.series, found.modality] if found else []
        group = next((group for group in alike if _same_direction(group[0][0], found)), None)
        if group is None:
            group = []
            groups.append(group)
            alike.append(group)
        group.append((found, path))
    return _named(groups)


def _same_direction(one: Slice | None, other: Slice | None) -> bool:
    first, second = (slice_.axes if slice_ else () for slice_ in (one, other))
    return len(first) == len(second) and bool(np.allclose(first, second, rtol=0, atol=SAME_DIRECTION))


def _named(groups: Sequence[Sequence[tuple[Slice | None, Path]]]) -> list[Source]:
    named: list[Source] = []
    taken: Counter[str] = Counter()
    for group in groups:
        slice_, path = group[0]
        if slice_ is None or len(group) == 1:
            named.append(Source(str(path), (path,)))
            continue
        name = str(path.parent / slice_.description.replace("/", "_"))
        taken[name] += 1
        named.append(Source(name if taken[name] == 1 else f"{name} ({taken[name]})", _ordered(group), _spacing(group)))
    return named


def _spacing(group: Sequence[tuple[Slice | None, Path]]) -> float | None:
    places = [slice_.place for slice_, _ in group if slice_ and slice_.place is not None]
    return (max(places) - min(places)) / (len(group) - 1) or None if len(places) == len(group) else None


def _ordered(group: Sequence[tuple[Slice | None, Path]]) -> tuple[Path, ...]:
    known = [(slice_, path) for slice_, path in group if slice_]
    placed = all(slice_.place is not None for slice_, _ in known)
    return tuple(
        path for _, path in sorted(known, key=lambda row: ((row[0].place or 0) * placed, row[0].number, row[1]))
    )
