"""What each measure against the difference between sources is worth: one added at a time, for docs/sources.md.

Each row of the table is the recipe of params.yaml but for `RECIPE`, up to one measure, under `leak_free`, scored on
the test images and on tumours of a collection that no row but the last has trained on (the held-back half of Br35H).
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
from numpy.typing import NDArray

from brain_tumor.calibrating import calibrate
from brain_tumor.data.annotations import read_slices
from brain_tumor.data.arrays import Part, open_arrays
from brain_tumor.data.catalog import CLASSES, HEALTHY, TRAIN, read_catalog
from brain_tumor.data.duplicates import find_copies
from brain_tumor.data.packing import pack
from brain_tumor.data.protocols import assign
from brain_tumor.files import atomic_file
from brain_tumor.model.predict import predict
from brain_tumor.params import Params, load_params
from brain_tumor.score_files import write_table
from brain_tumor.stage import stage
from brain_tumor.training.features import cache_folder, open_cache
from brain_tumor.training.run import Result, fit

RAW = Path("data/raw")
TABLE = Path("experiments/sources.csv")
MODELS = Path("build/sources")
HELD_BACK = MODELS / "new_sources.csv"

RECIPE: dict[str, Any] = {"augment.copies": 1, "augment.drawn_tumours": 3, "train.epochs": 3}
"""What differs from params.yaml in all rows: fewer copies and epochs, so that a row takes minutes."""

PLAIN: dict[str, Any] = {
    "augment.crop": "none",
    "augment.intensities": "file",
    "augment.background": "file",
    "augment.drawn_tumours": 0,
    "augment.contrast": 0.0,
    "augment.curve": 0.0,
    "augment.degradation": 0.0,
    "augment.noise": 0.0,
    "train.style_mixing": 0.0,
}
"""Whole pictures as they are; copies are turned, moved, scaled and mirrored."""

MEASURES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("baseline", ()),
    ("head crop and intensities", ("augment.crop", "augment.intensities")),
    ("contrast, resolution, noise", ("augment.contrast", "augment.degradation", "augment.noise")),
    ("grey curves and histograms", ("augment.curve",)),
    ("drawn tumours", ("augment.drawn_tumours",)),
    ("mixed styles", ("train.style_mixing",)),
    ("black background", ("augment.background",)),
)
"""Each measure, and the parameters that take it from `PLAIN` to params.yaml."""

NEW = "new_tumours_called_tumour"
FURTHER_SET = "half of Br35H trains"

log = logging.getLogger(__name__)


@stage
def main() -> None:
    seeds = parse_seeds()
    params = load_params()
    catalog = read_catalog(RAW)
    slices = read_slices(RAW)
    pairs = find_copies(RAW, catalog, params.split.copy_threshold)
    annotated = set() if slices is None else set(slices["image"])
    rows: list[dict[Any, Any]] = pd.read_csv(TABLE).to_dict("records") if TABLE.exists() else []
    done = {(row["measure"], row["seed"]) for row in rows}
    for seed in seeds:
        for measure, recipe in recipes(params):
            if (measure, seed) in done:
                continue
            split = assign(catalog, pairs, slices, recipe.split, params.seed)
            model = MODELS / f"{measure}, {seed}.safetensors"
            rows.append({"measure": measure, "seed": seed} | run(split, recipe, seed, annotated, model))
            log.info("%s", rows[-1])
            with atomic_file(TABLE) as temporary:
                pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.4f")
    print(by_measure(pd.DataFrame(rows)).to_string())


def by_measure(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a measure: the mean over the seeds, in percent, with the lowest and the highest."""
    scores = ["validation_accuracy", "test_accuracy", "meningioma_elsewhere", "notumor_sensitivity", NEW]
    groups = rows.groupby("measure", sort=False)[scores]
    mean, low, high = (100 * table for table in (groups.mean(), groups.min(), groups.max()))
    texts = {name: [f"{m:.1f} ({a:.1f} to {b:.1f})" for m, a, b in _columns(name, mean, low, high)] for name in scores}
    return pd.DataFrame(texts, index=mean.index)


def _columns(name: str, *tables: pd.DataFrame) -> Iterator[tuple[float, ...]]:
    return zip(*(table[name] for table in tables), strict=True)


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


def run(split: pd.DataFrame, params: Params, seed: int, annotated: set[str], model: Path) -> dict[str, Any]:
    """Train and score one row, and keep its network in the file `model`."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        pack(RAW, split, "", params.augment, seed, Path(name))
        arrays = open_arrays(Path(name))
        result = fit(arrays, params.train, seed, open_cache(), cache_folder())
        validation_accuracy = calibrate(result, params.train)
        right = {"test": called_right(result, arrays.test)}
        if arrays.new_sources is not None:
            right["new_sources"] = called_right(result, arrays.new_sources)
            write_table(HELD_BACK, arrays.new_sources.index)
        test = arrays.test.index
        elsewhere = test["class"].eq("meningioma") & ~test["path"].isin(annotated)
        result.classifier.save(model)
        result.checkpoint.remove()
        return {
            "train_images": int((split["split"] == TRAIN).sum()),
            "validation_accuracy": validation_accuracy,
            "test_accuracy": right["test"].mean(),
            **{f"{label}_sensitivity": right["test"][test["class"] == label].mean() for label in CLASSES},
            "meningioma_elsewhere": right["test"][elsewhere].mean(),
            NEW: right["new_sources"].mean() if "new_sources" in right else None,
            "minutes": (time.monotonic() - start) / 60,
        }


def called_right(result: Result, part: Part) -> NDArray[np.bool_]:
    """(images,), whether each is called by its class, or by any tumour where the type is not known."""
    called = predict(result.classifier, open_cache().compute(result.classifier, part.images)).argmax(axis=1)
    typed = part.labels < len(CLASSES)
    right: NDArray[np.bool_] = np.where(typed, called == part.labels, called != CLASSES.index(HEALTHY))
    return right


if __name__ == "__main__":
    main()
