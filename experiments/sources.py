"""What each measure against the difference between sources is worth: one added at a time, for docs/sources.md.

Each row of the table is the recipe of params.yaml but for `RECIPE`, up to one measure, under `leak_free`, scored on
the test images, on tumours of a collection that no row but the last has trained on (the held-back half of Br35H), and
on heads made of halves with and without a tumour, of the collection with outlines (`evaluation.hemispheres`).
Run from the project's root, after the download stage with `download.annotations: true` and
`download.additional: [br35h]`; rows that the table has already are not computed again. The networks are kept in
`build/sources`, for source_maps.py.

    python experiments/sources.py --seeds 17 18 19
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tables
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from brain_tumor.augment.packing import pack
from brain_tumor.data.annotations import Outline, read_outlines, read_slices
from brain_tumor.data.arrays import SplitArrays, open_arrays
from brain_tumor.data.catalog import CLASSES, HEALTHY, TRAIN, TUMOUR, read_catalog
from brain_tumor.data.images import Pixels
from brain_tumor.duplicates.search import find_duplicates
from brain_tumor.errors import UserError
from brain_tumor.evaluation.hemispheres import hemisphere_table
from brain_tumor.evaluation.tables import Predictions
from brain_tumor.files import write_csv
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.features import cache_folder, open_cache
from brain_tumor.model.predict import probabilities
from brain_tumor.params import Params, load_params
from brain_tumor.split.protocols import assign
from brain_tumor.stage import stage
from brain_tumor.training.calibrate import calibrate
from brain_tumor.training.run import fit

RAW = Path("data/raw")
TABLE = Path("experiments/sources.csv")
MODELS = Path("build/sources")
HELD_BACK = MODELS / "external.csv"

RECIPE: dict[str, Any] = {
    "train.backbone": "efficientnet_lite0",
    "train.weights": "imagenet",
    "train.trainable": "block5",
    "train.epochs": 3,
}
"""What differs from params.yaml in all rows: a light network, less of it trained, for shorter, so that a row takes
minutes."""

PLAIN: dict[str, Any] = {
    "augment.crop": "none",
    "augment.intensities": "file",
    "augment.background": "file",
    "augment.synthetic_tumours": 0,
    "augment.contrast": 0.0,
    "augment.curve": 0.0,
    "augment.degradation": 0.0,
    "augment.noise": 0.0,
    "train.mixstyle": 0.0,
}
"""Whole pictures as they are; copies are turned, moved, scaled and mirrored."""

MEASURES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("baseline", ()),
    ("head crop and intensities", ("augment.crop", "augment.intensities")),
    ("contrast, resolution, noise", ("augment.contrast", "augment.degradation", "augment.noise")),
    ("grey curves and histograms", ("augment.curve",)),
    ("drawn tumours", ("augment.synthetic_tumours",)),
    ("mixed styles", ("train.mixstyle",)),
    ("black background", ("augment.background",)),
)
"""Each measure, and the parameters that take it from `PLAIN` to params.yaml."""

NEW = "external_tumours_predicted_tumour"
AUROCS = NEW_AUROC, HALVES_AUROC = "new_tumours_auroc", "halves_auroc"
"""Of new tumours against the healthy heads of the test images; of halves with a tumour against those without."""

FURTHER_SET = "half of Br35H trains"

log = logging.getLogger(__name__)


@stage
def main() -> None:
    seeds = parse_seeds()
    params = load_params()
    catalog = read_catalog(RAW)
    slices, outlines = read_slices(RAW), read_outlines(RAW)
    if slices is None or not outlines or not catalog["class"].eq(TUMOUR).any():
        raise UserError(f"{RAW} lacks outlines or Br35H: run dvc repro download with both (README, Further data sets)")
    pairs = find_duplicates(RAW, catalog, params.split.duplicate_threshold)
    for seed in seeds:
        for measure, recipe in recipes(params):
            if tables.has(TABLE, measure=measure, seed=seed):
                continue
            split = assign(catalog, pairs, slices, recipe.split, params.seed)
            model = MODELS / f"{measure}, {seed}.safetensors"
            row = {"measure": measure, "seed": seed} | run(split, recipe, seed, outlines, model)
            log.info("%s", row)
            tables.put(TABLE, pd.DataFrame([row]), ["measure", "seed"])
    print(by_measure(pd.read_csv(TABLE)).to_string())


def by_measure(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a measure: the mean over the seeds, in percent but for AUROCs, with the lowest and the highest."""
    scores = ["validation_accuracy", "test_accuracy", "meningioma_elsewhere", "notumor_sensitivity", NEW]
    groups = rows.groupby("measure", sort=False)[[*scores, *AUROCS]]
    tables = groups.mean(), groups.min(), groups.max()
    percent = {name: [f"{m:.1f} ({a:.1f} to {b:.1f})" for m, a, b in _columns(name, *tables, 100)] for name in scores}
    plain = {name: [f"{m:.3f} ({a:.3f} to {b:.3f})" for m, a, b in _columns(name, *tables)] for name in AUROCS}
    return pd.DataFrame(percent | plain, index=tables[0].index)


def _columns(
    name: str, mean: pd.DataFrame, low: pd.DataFrame, high: pd.DataFrame, unit: float = 1
) -> Iterator[tuple[float, float, float]]:
    return zip(unit * mean[name], unit * low[name], unit * high[name], strict=True)


def parse_seeds() -> list[int]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[17], help="of copies, weights and order")
    return list(parser.parse_args().seeds)


def recipes(params: Params) -> list[tuple[str, Params]]:
    """The parameters with one measure more in each row, the further set in the last."""
    kept = PLAIN
    result = []
    for measure, names in MEASURES:
        kept = {name: value for name, value in kept.items() if name not in names}
        result.append((measure, changed(params, RECIPE | kept)))
    return [*result, (FURTHER_SET, changed(params, RECIPE | {"split.additional": "train"}))]


def changed(params: Params, changes: Mapping[str, Any]) -> Params:
    """The parameters with some replaced, given as `section.name`."""
    values = params.model_dump()
    for name, value in changes.items():
        section, parameter = name.split(".")
        values[section][parameter] = value
    return Params.model_validate(values)


def run(split: pd.DataFrame, params: Params, seed: int, outlines: Mapping[str, Outline], model: Path) -> dict[str, Any]:
    """Train and score one row, and keep its network in the file `model`."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        pack(RAW, split, "", params.augment, seed, Path(name))
        arrays = open_arrays(Path(name))
        assert arrays.external is not None
        result = fit(arrays, params.train, seed, open_cache(), cache_folder())
        validation_accuracy = calibrate(result.classifier, arrays.validation, params.train, open_cache())
        write_csv(HELD_BACK, arrays.external.index)
        result.classifier.save(model)
        result.forget()
        return {
            "train_images": int((split["split"] == TRAIN).sum()),
            "validation_accuracy": validation_accuracy,
            **scores(result.classifier, arrays.test, arrays.external, outlines, seed),
            "minutes": (time.monotonic() - start) / 60,
        }


def scores(
    classifier: Classifier, test: SplitArrays, new: SplitArrays, outlines: Mapping[str, Outline], seed: int
) -> dict[str, float]:
    """Of the test images, of the tumours of another source, and of halves of test images that have an outline."""

    def ask(images: Pixels) -> NDArray[np.float64]:
        return probabilities(classifier, images, open_cache())

    answers, of_new = ask(test.images), ask(new.images)
    labels, healthy = test.index["class"].to_numpy(), CLASSES.index(HEALTHY)
    right = right_answers(answers, test)
    elsewhere = (labels == "meningioma") & ~test.index["path"].isin(outlines).to_numpy()
    alarms = np.concatenate([answers[labels == HEALTHY, healthy], of_new[:, healthy]])
    predictions = Predictions(answers, test.labels, CLASSES, test.index["group"].to_numpy(str), seed)
    return {
        "test_accuracy": right.mean(),
        **{f"{label}_sensitivity": right[labels == label].mean() for label in CLASSES},
        "meningioma_elsewhere": right[elsewhere].mean(),
        NEW: right_answers(of_new, new).mean(),
        NEW_AUROC: roc_auc_score(np.arange(len(alarms)) >= (labels == HEALTHY).sum(), 1 - alarms),
        HALVES_AUROC: hemisphere_table(outlines, test, predictions, ask)["auroc"].iloc[0],
    }


def called_right(classifier: Classifier, part: SplitArrays) -> NDArray[np.bool_]:
    """(images,), whether the network calls each as `right_answers` says."""
    return right_answers(probabilities(classifier, part.images, open_cache()), part)


def right_answers(probabilities: NDArray[np.float64], part: SplitArrays) -> NDArray[np.bool_]:
    """(images,), whether each is called by its class, or by any tumour where the type is not known."""
    called = probabilities.argmax(axis=1)
    typed = part.labels < len(CLASSES)
    right: NDArray[np.bool_] = np.where(typed, called == part.labels, called != CLASSES.index(HEALTHY))
    return right


if __name__ == "__main__":
    main()
