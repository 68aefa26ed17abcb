"""LGG: slices of whole volumes of gliomas with masks, and so tumour and no tumour in the same heads.

Kaggle `mateuszbuda/lgg-mri-segmentation`: TCGA-LGG with masks by Buda et al., Association of genomic subtypes of
lower-grade gliomas with shape features automatically extracted by a deep learning algorithm, 2019. A folder a patient,
a TIFF a slice with T1 before contrast, FLAIR and T1 after contrast as its channels, and a mask beside it.
"""

import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brain_tumor.data.annotations import Outline, outline_of
from brain_tumor.data.catalog import HEALTHY, digest_order
from brain_tumor.data.images import Pixels, head_mask
from brain_tumor.download.archives import Tree
from brain_tumor.errors import UserError

CHANNELS = ("t1", "flair", "t1c")
FLAIR = CHANNELS.index("flair")

GLIOMA = "glioma"

_SLICE = re.compile(r"(?P<volume>(?P<patient>TCGA_\w\w_\w{4})_\d{8})_(?P<number>\d+)(?P<mask>_mask)?\.tif")
_LEAST_TUMOUR = 300  # pixels of the mask from which a slice shows a glioma
_FAR = 3  # slices between a healthy one and the nearest with a mask
_LEAST_HEAD = 0.15  # share of a healthy picture that its head fills
_TENTHS = 10  # of the way up a head
_COPIED = 2.0  # mean difference in grey values below which a channel is FLAIR put in place of one that is missing


@dataclass(frozen=True)
class Picture:
    """A channel of a slice.

    Attributes:
        name: without folder and suffix.
        slice: of which it is a channel.
        patient: whose it is.
        label: `glioma`, or `notumor`.
        pixels: (height, width).
        outline: of the tumour; None where there is none.
    """

    name: str
    slice: str
    patient: str
    label: str
    pixels: Pixels
    outline: Outline | None


def read_lgg(tree: Tree) -> Iterator[Picture]:
    """The pictures of the set, or of some of it, volume by volume.

    Left out are channels that repeat FLAIR, slices with little of a tumour or near one, and those with little head. Of
    each tenth of the way up the head there are at most as many healthy slices as slices with a tumour, so that level
    says nothing.

    Raises:
        UserError: a slice without its mask, or a file that cannot be read.
    """
    volumes = _volumes_of(tree)
    masks = {
        key: {number: _pixels(tree, mask, "L") > 0 for number, (_, mask) in volumes[key].items()} for key in volumes
    }
    chosen = _chosen({key: _labels(marked) for key, marked in masks.items()})
    for (volume, patient), slices in volumes.items():
        pixels = {number: _pixels(tree, file, "RGB") for number, (file, _) in slices.items()}
        channels = _own_channels(list(pixels.values()))
        for number, label in chosen[volume, patient].items():
            mask = masks[volume, patient][number]
            if mask.shape != pixels[number].shape[:2]:
                raise UserError(f"{tree.path}: {slices[number][0]} and its mask differ in size")
            for channel in channels:
                picture = np.ascontiguousarray(pixels[number][..., channel])
                if label == GLIOMA or head_mask(picture).mean() > _LEAST_HEAD:
                    shown = f"{volume}_{number:02d}"
                    name = f"{shown}_{CHANNELS[channel]}"
                    yield Picture(name, shown, patient, label, picture, outline_of(mask) if label == GLIOMA else None)


Volume = tuple[str, str]
"""Name of a volume, and its patient."""


def _volumes_of(tree: Tree) -> dict[Volume, dict[int, tuple[str, str]]]:
    """For each volume the names of picture and mask of each slice, both sorted."""
    found: dict[Volume, dict[int, dict[bool, str]]] = defaultdict(lambda: defaultdict(dict))
    for name in tree.names:
        match = _SLICE.fullmatch(PurePosixPath(name).name)
        if match:
            found[match["volume"], match["patient"]][int(match["number"])][bool(match["mask"])] = name
    for files in (files for slices in found.values() for files in slices.values()):
        if len(files) < 2:
            alone = next(iter(files.values()))
            raise UserError(f"{tree.path}: {alone} stands alone, expected a slice and its mask")
    return {
        volume: {number: (files[False], files[True]) for number, files in sorted(slices.items())}
        for volume, slices in sorted(found.items())
    }


def _pixels(tree: Tree, name: str, mode: str) -> Pixels:
    try:
        with tree.open(name) as opened, Image.open(io.BytesIO(opened.read())) as image:
            return np.asarray(image.convert(mode))
    except (OSError, ValueError) as error:
        raise UserError(f"{tree.path}: {name} cannot be read as an image ({error}): get it anew") from None


def _own_channels(slices: Sequence[Pixels]) -> list[int]:
    """FLAIR, and the channels that differ from it."""
    volume = np.stack(slices).astype(np.float32)
    gaps = np.abs(volume - volume[..., FLAIR, None]).mean(axis=(0, 1, 2))
    return [channel for channel, gap in enumerate(gaps) if channel == FLAIR or gap > _COPIED]


def _labels(masks: Mapping[int, NDArray[np.bool_]]) -> dict[int, tuple[str, int]]:
    """Class and tenth of the way up of the slices of a volume that have a class."""
    marked = np.array([number for number, mask in masks.items() if mask.any()])
    labels = {}
    for place, (number, mask) in enumerate(masks.items()):
        if mask.sum() >= _LEAST_TUMOUR:
            labels[number] = GLIOMA, _TENTHS * place // len(masks)
        elif not len(marked) or np.abs(marked - number).min() >= _FAR:
            labels[number] = HEALTHY, _TENTHS * place // len(masks)
    return labels


def _chosen(labels: Mapping[Volume, Mapping[int, tuple[str, int]]]) -> dict[Volume, dict[int, str]]:
    """The slices that are taken of each volume, with their class."""
    tumours = Counter(tenth for slices in labels.values() for label, tenth in slices.values() if label == GLIOMA)
    names = {f"{volume[0]}_{number}": (volume, number) for volume, slices in labels.items() for number in slices}
    chosen: dict[Volume, dict[int, str]] = {volume: {} for volume in labels}
    for name in np.array(list(names))[digest_order(list(names))]:  # by digest, so that some of the set chooses alike
        volume, number = names[name]
        label, tenth = labels[volume][number]
        if label == GLIOMA or tumours[tenth] > 0:
            tumours[tenth] -= label == HEALTHY
            chosen[volume][number] = label
    return {volume: dict(sorted(slices.items())) for volume, slices in chosen.items()}
