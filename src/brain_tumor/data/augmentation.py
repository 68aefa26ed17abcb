"""Changed copies of the training images, and the balance of classes."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise the import asks the network for a newer release

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels
from brain_tumor.params import AugmentParams


def policy(params: AugmentParams) -> A.Compose:
    """Rotation, mirror image and Gaussian noise, in this order, each drawn anew for every copy."""
    return A.Compose(
        [
            A.Rotate(limit=(-params.rotation, params.rotation), border_mode=cv2.BORDER_CONSTANT, fill=0, p=1),
            A.HorizontalFlip(p=params.flip),
            A.GaussNoise(std_range=(0, params.noise), p=1),
        ]
    )


def copies_per_image(classes: pd.Series, copies: int, balance: bool, rng: np.random.Generator) -> NDArray[np.int64]:
    """How many changed copies each training image gets.

    Args:
        classes: class of each image.
        copies: how many each image of the largest class gets.
        balance: whether smaller classes get more, until originals and copies together are as many in every class. They
            are spread evenly; which images get one more than others of their class is drawn.
        rng: decides about that one.

    Returns:
        (images,), numbers of copies.
    """
    counts = np.full(len(classes), copies)
    if not balance:
        return counts
    target = classes.value_counts().max() * (1 + copies)
    for name in sorted(classes.unique()):
        rows = np.flatnonzero(classes == name)
        each, rest = divmod(target - len(rows), len(rows))
        counts[rows] = each
        counts[rng.permutation(rows)[:rest]] += 1
    return counts


def augment(images: Pixels, index: pd.DataFrame, params: AugmentParams, seed: int) -> tuple[Pixels, pd.DataFrame]:
    """Originals followed by their changed copies.

    What copy 2 of an image looks like depends on the seed, the image's path and the number 2 alone, not on the other
    images: another split has the same copies, and what was computed from them is found again.

    Args:
        images: (images, size, size), grey values.
        index: a row an image with the columns `path`, `class` and `group`.
        params: which changes are made, and how many.
        seed: of everything random here.

    Returns:
        The images and their index, sorted by path and number of the copy; the column `copy` is 0 for originals.
    """
    counts = copies_per_image(index["class"], params.copies, params.balance, np.random.default_rng(seed))
    rows = np.repeat(np.arange(len(index)), counts + 1)
    numbers = np.concatenate([np.arange(count + 1) for count in counts])
    result = images[rows]

    def change(chunk: NDArray[np.int64]) -> None:
        transform = policy(params)
        for position in chunk:
            if numbers[position]:
                transform.set_random_seed(_seed(seed, index["path"].iat[rows[position]], numbers[position]))
                result[position] = transform(image=result[position])["image"]

    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(change, np.array_split(np.arange(len(rows)), threads)):
            pass
    copied = index.iloc[rows].reset_index(drop=True)
    return result, copied.assign(copy=numbers)


def _seed(*parts: Any) -> int:
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:4])


def sample_of_copies(images: Pixels, index: pd.DataFrame) -> tuple[list[Pixels], list[list[Pixels]], list[str]]:
    """For one image of each class, the first of those with most copies: the image, its copies, and its class.

    Args:
        images: (images, size, size), as `augment` returns them.
        index: likewise.
    """
    classes = sorted(index["class"].unique())
    originals, copies = [], []
    for name in classes:
        most = int(index["copy"].where(index["class"] == name).argmax())
        number = int(index["copy"].iloc[most])
        originals.append(images[most - number])
        copies.append([images[row] for row in range(most - number + 1, most + 1)])
    return originals, copies, classes
