"""Whether heads made of the half without a tumour teach a network to look for the tumour, for docs/sources.md.

The annotated collection has no healthy heads, so a network may call everything a tumour that comes from there. Where a
tumour lies on one side alone, the other half and its mirror image are such a head. Rows differ in what is added to the
training images: nothing; for each such picture the head without and, so that symmetry says nothing, the one made of
the half with the tumour; the same, bent and shaded at random, so that they are less like one another's mirror images.

    dvc repro split     # with download.annotations: true and download.additional: [br35h]
    python experiments/mirrored_hemispheres.py nothing halves "bent halves"

Run from the project's root. Rows that experiments/mirrored_hemispheres.csv has already are not computed again; the networks
are kept in build/mirrored_hemispheres.
"""

import argparse
import hashlib
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import tables
from choose import scores
from numpy.typing import NDArray
from sources import called_right, changed

from brain_tumor.augment.packing import pack, reader_of
from brain_tumor.augment.policy import augment
from brain_tumor.data.annotations import read_outlines
from brain_tumor.data.arrays import INDEX_COLUMNS, Arrays, open_arrays, write_origin, write_split_arrays
from brain_tumor.data.catalog import CLASSES, EXTERNAL, HEALTHY, TRAIN, VALIDATION, read_split
from brain_tumor.data.hemispheres import mirrored_hemispheres, one_sided, opposite
from brain_tumor.data.images import Pixels, prepare_images
from brain_tumor.data.masks import masks_at_model_size
from brain_tumor.errors import UserError
from brain_tumor.evaluation.hemispheres import hemisphere_table
from brain_tumor.evaluation.lesion_removal import lesion_removed_images
from brain_tumor.evaluation.tables import Predictions
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.features import cache_folder, open_cache
from brain_tumor.model.predict import probabilities
from brain_tumor.params import Params, load_params
from brain_tumor.split.protocols import NOT_TRAINED_ON, joined_by_patient
from brain_tumor.stage import stage
from brain_tumor.training.calibrate import calibrate
from brain_tumor.training.run import fit

RAW, SPLIT = Path("data/raw"), Path("data/split.csv")
TABLE = Path("experiments/mirrored_hemispheres.csv")
MODELS = Path("build/mirrored_hemispheres")

RECIPE: dict[str, Any] = {
    "train.backbone": "efficientnet_lite0",
    "train.weights": "imagenet",
    "train.epochs": 3,
}

log = logging.getLogger(__name__)


def bent(image: Pixels, rng: np.random.Generator) -> Pixels:
    """A picture, bent smoothly by a few hundredths of its side, and shaded by up to a quarter."""
    side = len(image)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    right, down = (
        rng.uniform(0.02, 0.045) * side * _smooth(rng, side, side / 11) + _smooth(rng, side, side / 23)
        for _ in range(2)
    )
    moved = cv2.remap(image, x + right, y + down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    shade = 1 + rng.uniform(0.05, 0.25) * _smooth(rng, side, side / 8)
    return np.asarray(np.clip(moved * shade, 0, 255).round(), np.uint8)


def _smooth(rng: np.random.Generator, side: int, grain: float) -> NDArray[np.float32]:
    field = cv2.GaussianBlur(rng.standard_normal((side, side)).astype(np.float32), (0, 0), grain)
    return np.asarray(field / np.abs(field).max(), np.float32)


NOTHING = "nothing"

CHANGES: Mapping[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "halves": lambda image, _: image,
    "bent halves": bent,
}


@stage
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+", choices=[NOTHING, *CHANGES], metavar="VARIANT")
    variants = parser.parse_args().variants
    params, split = changed(load_params(), RECIPE), read_split(SPLIT)
    if not read_outlines(RAW):
        raise UserError(f"{RAW} has no outlines: run dvc repro split with download.annotations: true")
    if not (split["split"] == EXTERNAL).any() or not (split["reason"] == NOT_TRAINED_ON).any():
        raise UserError(f"{SPLIT} has no new sources: run dvc repro split with download.additional: [br35h]")
    for variant in variants:
        if not tables.has(TABLE, added=variant):
            row = {"added": variant} | run(variant, params, split)
            log.info("%s", row)
            tables.put(TABLE, pd.DataFrame([row]), ["added"])
    print(pd.read_csv(TABLE).to_string(index=False))


def run(variant: str, params: Params, split: pd.DataFrame) -> dict[str, Any]:
    """Train, calibrate and score one row."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pack(RAW, split, "", params.augment, params.seed, folder)
        added = 0 if variant == NOTHING else add_halves(CHANGES[variant], params, split, folder)
        write_origin(folder, reader_of(params.augment), hashlib.sha256(variant.encode()).hexdigest())
        arrays = open_arrays(folder)
        result = fit(arrays, params.train, params.seed, open_cache(), cache_folder())
        validation_accuracy = calibrate(result.classifier, arrays.validation, params.train, open_cache())
        result.classifier.save(MODELS / f"{variant}.safetensors")
        result.forget()
        assert arrays.external is not None
        test = called_right(result.classifier, arrays.test)
        return {
            "pictures": added,
            "validation_accuracy": validation_accuracy,
            **scores(result.classifier, split[split["split"] == VALIDATION], split[split["reason"] == NOT_TRAINED_ON]),
            "test_accuracy": test.mean(),
            "test_notumor": test[(arrays.test.index["class"] == HEALTHY).to_numpy()].mean(),
            "new_tumours": called_right(result.classifier, arrays.external).mean(),
            **without_tumour(result.classifier, arrays, split, params.seed),
            "minutes": (time.monotonic() - start) / 60,
        }


def add_halves(
    change: Callable[[Pixels, np.random.Generator], Pixels], params: Params, split: pd.DataFrame, folder: Path
) -> int:
    """Pack the training images again with heads made of halves, each changed; how many pictures are halved."""
    rows = split[split["split"] == TRAIN].reset_index(drop=True)
    images, frames = prepare_images([RAW / path for path in rows["path"]], reader_of(params.augment))
    index = rows[["path", "class", "group"]].assign(augmented=0).join(pd.DataFrame(frames))
    halved, sides = one_sided(read_outlines(RAW), rows["path"].tolist(), frames, images)
    pictures, tables = [images], [index]
    for name, kept, label in (("without", opposite(sides), HEALTHY), ("with", sides, None)):
        heads = mirrored_hemispheres(images[halved], kept)
        table = index.iloc[halved].assign(path=index["path"].iloc[halved] + f"#{name}")
        tables.append(table if label is None else table.assign(**{"class": label}))
        draws = [np.random.default_rng([params.seed, *path.encode()]) for path in tables[-1]["path"]]
        pictures.append(np.stack([change(head, draw) for head, draw in zip(heads, draws, strict=True)]))
    everything = augment(np.concatenate(pictures), pd.concat(tables, ignore_index=True), params.augment, params.seed)
    write_split_arrays(folder, TRAIN, everything[0], everything[1][list(INDEX_COLUMNS)])
    return len(halved)


def without_tumour(classifier: Classifier, arrays: Arrays, split: pd.DataFrame, seed: int) -> dict[str, float]:
    """What test images are called that lost their tumour, and how well halves are told apart."""

    def ask(images: Pixels) -> NDArray[np.float64]:
        return probabilities(classifier, images, open_cache())

    test, outlines = arrays.test, read_outlines(RAW)
    groups = test.index["path"].map(joined_by_patient(split).set_axis(split["path"])).to_numpy(str)
    predictions = Predictions(ask(test.images), test.labels, CLASSES, groups, seed)
    halves = hemisphere_table(outlines, test, predictions, ask).iloc[0]
    rows, masks = masks_at_model_size(outlines, test.index["path"].tolist(), test.frames, test.images.shape[1])
    healthy = {
        f"healthy without {name}": (ask(pictures).argmax(axis=1) == CLASSES.index(HEALTHY)).mean()
        for name, (_, pictures) in lesion_removed_images(test.images[rows], masks).items()
    }
    return {f"halves_{name}": halves[name] for name in ("auroc", "auroc_low", "auroc_high")} | healthy


if __name__ == "__main__":
    main()
