"""The same short recipe under all four protocols, five folds where there are folds, for the README's table.

The recipe is the one of params.yaml without augmented copies and with few epochs, so that twelve trainings take minutes
and not hours. Run from the project's root, after the download stage with `download.annotations: true`; rows that the
table has already are not computed again.

    python experiments/protocols.py --networks efficientnet_lite0 vgg16 --folds 1
"""

import argparse
import logging
import time
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import tables

from brain_tumor.augment.packing import reader_of
from brain_tumor.data.annotations import read_slices
from brain_tumor.data.arrays import INDEX_COLUMNS, Arrays, SplitArrays
from brain_tumor.data.catalog import CLASSES, SPLITS, published_duplicates, read_catalog
from brain_tumor.data.images import Pixels, Reader, prepare_images
from brain_tumor.duplicates.search import find_duplicates
from brain_tumor.evaluation.metrics import BY_CLASS, class_scores
from brain_tumor.model import predict
from brain_tumor.model.features import cache_folder, open_cache
from brain_tumor.params import TrainParams, load_params
from brain_tumor.progress import progress
from brain_tumor.split.protocols import FOLDS, assign
from brain_tumor.stage import stage
from brain_tumor.training.calibrate import calibrate
from brain_tumor.training.run import fit

RAW = Path("data/raw")
TABLE = Path("experiments/protocols.csv")
EPOCHS = 3
NETWORKS: dict[str, dict[str, Any]] = {
    "vgg16": {},
    "efficientnet_lite0": {"weights": "imagenet"},
}
"""Each network, and what its training needs other than params.yaml says."""


log = logging.getLogger(__name__)


@stage
def main() -> None:
    arguments = parse_arguments()
    runs = [("published", 0), ("leak_free", 0), *product(("grouped", "patient"), range(arguments.folds))]
    params = load_params()
    catalog = read_catalog(RAW)
    pairs = find_duplicates(RAW, catalog, params.split.duplicate_threshold)
    reader = reader_of(params.augment)
    images, frames = prepare_images([RAW / path for path in catalog["path"]], reader, progress("reading"))
    for network, (protocol, fold) in product(arguments.networks, runs):
        if tables.has(TABLE, network=network, protocol=protocol, fold=fold):
            continue
        changes = {"protocol": protocol, "fold": fold}
        split = assign(catalog, pairs, read_slices(RAW), params.split.model_copy(update=changes), params.seed)
        recipe = params.train.model_copy(update={"backbone": network, "epochs": EPOCHS, **NETWORKS[network]})
        row = run(split.join(pd.DataFrame(frames)), images, recipe, params.seed, reader)
        row = {"network": network} | changes | row
        log.info("%s", row)
        tables.put(TABLE, pd.DataFrame([row]), ["network", "protocol", "fold"])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=["vgg16"], help="to train")
    parser.add_argument("--folds", type=int, default=FOLDS, help="of grouped and patient, the first of them")
    return parser.parse_args()


def run(split: pd.DataFrame, images: Pixels, recipe: TrainParams, seed: int, reader: Reader) -> dict[str, Any]:
    """Train and score under one split."""
    start = time.monotonic()
    train, validation, test = (_part(split, images, name) for name in SPLITS)
    arrays = Arrays(train, validation, test, None, reader, "")
    result = fit(arrays, recipe, seed, open_cache(), cache_folder())
    validation_accuracy = calibrate(result.classifier, validation, recipe, open_cache())
    probabilities = predict.probabilities(result.classifier, test.images, open_cache())
    copied = test.index["path"].isin(published_duplicates(split)).to_numpy()
    published_test = test.index["path"].str.startswith("Testing/").to_numpy()
    masks = {"with_duplicate": copied, "without_duplicate": published_test & ~copied}
    right = probabilities.argmax(axis=1) == test.labels
    result.checkpoint.remove()
    sensitivities = class_scores(probabilities, test.labels)[0, :, BY_CLASS.index("sensitivity")]
    return {
        "train_images": len(arrays.train),
        "test_images": len(test),
        "validation_accuracy": validation_accuracy,
        "accuracy": right.mean(),
        **{f"{name}_accuracy": right[mask].mean() if mask.any() else None for name, mask in masks.items()},
        **{f"{name}_sensitivity": value for name, value in zip(CLASSES, sensitivities, strict=True)},
        "minutes": (time.monotonic() - start) / 60,
    }


def _part(split: pd.DataFrame, images: Pixels, name: str) -> SplitArrays:
    chosen = (split["split"] == name).to_numpy()
    index = split.loc[chosen].reset_index(drop=True).assign(augmented=0)[list(INDEX_COLUMNS)]
    return SplitArrays(images[chosen], index)


if __name__ == "__main__":
    main()
