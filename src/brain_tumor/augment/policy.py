"""Augmented images: what changes, how many of each image, and the balance of classes."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise the import asks the network for a newer release

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from brain_tumor.augment.synthetic_tumours import draw_synthetic_tumour
from brain_tumor.data.catalog import HEALTHY, TUMOUR
from brain_tumor.data.cells import Coverage, coverage_of
from brain_tumor.data.images import Pixels, head_mask
from brain_tumor.params import AugmentParams


class _LookUp(A.ImageOnlyTransform):  # type: ignore[misc]  # albumentations has no types
    """Replaces every grey value by that of a curve, (256,), drawn anew for each picture."""

    def apply(self, img: Pixels, curve: Pixels, **_: Any) -> Pixels:
        """Look every grey value up."""
        return np.asarray(curve[img], np.uint8)


class GreyCurve(_LookUp):
    """A random smooth curve from grey to grey; three in ten may rise and fall, so that what was dark gets bright.

    Black stays nearly black. The kind of picture (T1, T2, FLAIR, the scanner's settings) says less after it. Source:
    Zhou et al., Models Genesis, 2021 (non-linear transformation), with straight pieces smoothed in place of Bézier
    curves.
    """

    def get_params(self) -> dict[str, Any]:
        """Draw a curve."""
        rng = self.random_generator
        inputs = np.concatenate([[0], np.sort(rng.random(4)), [1]])
        outputs = np.concatenate([[rng.uniform(0, 0.1)], rng.random(4), [rng.uniform(0.75, 1)]])
        if rng.random() < 0.7:
            outputs.sort()
        curve = np.interp(np.linspace(0, 1, 256), inputs, outputs)
        smooth = cv2.GaussianBlur(curve[None], (0, 0), 12, borderType=cv2.BORDER_REPLICATE)[0]
        smooth[0] = min(smooth[0], 0.05)
        return {"curve": (np.clip(smooth, 0, 1) * 255).round().astype(np.uint8)}


class DrawnHistogram(_LookUp):
    """Gives the grey values within the head a histogram drawn by lot, in place of the picture's own.

    Each value is replaced by its rank among those of the head, and the rank looked up in a random rising curve. The
    order of the values, and so what stands out, stays; how they are spread, which goes with the collection that a
    picture comes from, does not. Black stays black.
    """

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Draw the curve for this picture."""
        rng = self.random_generator
        knots, levels = (np.concatenate([[0], rng.dirichlet(np.full(_PIECES, 2.0)).cumsum()]) for _ in range(2))
        curve = PchipInterpolator(knots, levels)(_ranks_within_head(data["image"]))
        curve *= np.minimum(1, np.arange(256) / _NEARLY_BLACK)
        return {"curve": (np.clip(curve, 0, 1) * 255).round().astype(np.uint8)}


_PIECES = 4  # of the random curve
_NEARLY_BLACK = 10  # grey value; darker ones fade to black, so that the air around the head does not light up


def _ranks_within_head(image: Pixels) -> NDArray[np.float64]:
    """(256,), for each grey value the share of the head's pixels that are darker, equal ones counting half."""
    inside = cv2.resize(head_mask(image), image.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    counts = np.bincount(image[inside], minlength=256)
    return np.asarray((counts.cumsum() - counts / 2) / counts.sum())


def policy(params: AugmentParams) -> A.Compose:
    """What changes an image, in this order, each drawn anew: place and size, contrast, resolution, noise."""
    black = {"border_mode": cv2.BORDER_CONSTANT, "fill": 0}
    return A.Compose(
        [
            A.Affine(
                rotate=(-params.rotation, params.rotation),
                translate_percent=(-params.shift, params.shift),
                scale=(1 - params.scale, 1 + params.scale),
                p=1,
                **black,
            ),
            A.HorizontalFlip(p=params.flip),
            A.OneOf([DrawnHistogram(p=0.6), GreyCurve(p=0.4)], p=params.curve),
            A.RandomBrightnessContrast(0.7 * params.contrast, params.contrast, p=0.7),
            A.RandomGamma((100 / (1 + params.contrast), 100 * (1 + params.contrast)), p=0.6),
            A.OneOf(
                [
                    A.GaussianBlur(sigma_limit=(0.5, 2), blur_limit=0),
                    A.Downscale(scale_range=(0.4, 0.8)),
                    A.ImageCompression(quality_range=(15, 60)),
                ],
                p=params.degradation,
            ),
            A.GaussNoise(std_range=(0, params.noise), p=1),
        ]
    )


def augmented_per_image(
    classes: pd.Series, per_image: int, balance: bool, rng: np.random.Generator
) -> NDArray[np.int64]:
    """How many augmented images each training image gets.

    Args:
        classes: class of each image.
        per_image: how many each image of the largest class gets.
        balance: whether smaller classes get more, until originals and augmented images together are as many in every
            class but that of tumours of unknown type. They are spread evenly; which images get one more than others
            of their class is drawn.
        rng: decides about that one.

    Returns:
        (images,), numbers of augmented images.
    """
    counts = np.full(len(classes), per_image)
    if not balance:
        return counts
    target = classes[classes != TUMOUR].value_counts().max() * (1 + per_image)
    for name in sorted(set(classes) - {TUMOUR}):
        rows = np.flatnonzero(classes == name)
        each, rest = divmod(target - len(rows), len(rows))
        counts[rows] = each
        counts[rng.permutation(rows)[:rest]] += 1
    return counts


def augment(
    images: Pixels, index: pd.DataFrame, masks: Mapping[int, Pixels], params: AugmentParams, seed: int
) -> tuple[Pixels, pd.DataFrame, Coverage]:
    """Originals, each followed by its augmented images, and those of healthy heads by some with a synthetic tumour.

    What the second augmented image of an original looks like depends on the seed, the original's path and the number 2
    alone: another split has the same ones, and what was computed from them is found again. Outlines move along.

    Args:
        images: (images, size, size), grey values.
        index: a row an image with the columns `path`, `class` and `group`.
        masks: of the rows whose outline is known, (size, size), 255 within the tumour and 0 elsewhere.
        params: how images change, and how many are made.
        seed: of everything random here.

    Returns:
        The images, their index, and the coverage of their cells. In the index the column `augmented` is 0 for
        originals, and the class of images with a synthetic tumour is `TUMOUR`.
    """
    plan = _plan(index, params, seed)
    result = images[plan["row"]]
    moved = {place: masks[row] for place, row in enumerate(plan["row"]) if row in masks}

    def change(rows: pd.DataFrame) -> None:
        transform = policy(params)
        for place, *what in rows[["path", "augmented", "synthetic"]].itertuples():
            own_seed = _seed(seed, *what)
            changed = {"image": result[place]} | ({"mask": moved[place]} if place in moved else {})
            if what[-1]:
                rng = np.random.default_rng(own_seed)
                changed["image"], changed["mask"] = draw_synthetic_tumour(result[place], rng)
            transform.set_random_seed(own_seed)
            changed = transform(**changed)
            result[place] = changed["image"]
            if "mask" in changed:
                moved[place] = changed["mask"]

    made, threads = plan[plan["augmented"] > 0], os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(change, [made[start::threads] for start in range(threads)]))
    cells = coverage_of(moved, plan["class"].eq(HEALTHY).to_numpy(), images.shape[1])
    return result, plan.drop(columns=["row", "synthetic"]), cells


def _plan(index: pd.DataFrame, params: AugmentParams, seed: int) -> pd.DataFrame:
    """A row for each original and augmented image: the index, `row` in it, `augmented`, `synthetic` (with a tumour)."""
    counts = augmented_per_image(index["class"], params.per_image, params.balance, np.random.default_rng(seed))
    tumours = np.where(index["class"] == HEALTHY, params.synthetic_tumours, 0)
    rows = np.repeat(np.arange(len(index)), 1 + counts + tumours)
    plan = index.iloc[rows].reset_index(drop=True).assign(row=rows)
    plan["augmented"] = plan.groupby("row").cumcount()
    plan["synthetic"] = plan["augmented"] > counts[rows]
    return plan.assign(**{"class": plan["class"].where(~plan["synthetic"], TUMOUR)})


def _seed(*parts: Any) -> int:
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:4])


def sample_of_augmented(images: Pixels, index: pd.DataFrame) -> tuple[list[Pixels], list[list[Pixels]], list[str]]:
    """For each class an original, the first of those with most augmented images; these; and the classes.

    Args:
        images: (images, size, size), as `augment` returns them.
        index: likewise.
    """
    classes = sorted(index["class"].unique())
    originals, augmented = [], []
    for name in classes:
        last = int(index["augmented"].where(index["class"] == name).argmax())
        original = last - int(index["augmented"].iloc[last])
        originals.append(images[original])
        rows = range(original + 1, last + 1)
        augmented.append([images[row] for row in rows if index["class"].iat[row] == name])
    return originals, augmented, classes
