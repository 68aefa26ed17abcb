"""Find the duplicates among the images, and decide which image trains, validates and tests."""

from brain_tumor.stage import stage

import logging
from pathlib import Path

from brain_tumor.data.annotations import read_slices
from brain_tumor.data.catalog import SPLITS, read_catalog, write_split
from brain_tumor.data.images import read_image
from brain_tumor.duplicates.search import find_duplicates
from brain_tumor.duplicates.views import SIZE
from brain_tumor.figures.sheets import pair_sheet
from brain_tumor.figures.style import save
from brain_tumor.files import write_csv, write_json
from brain_tumor.params import load_params
from brain_tumor.progress import progress
from brain_tumor.split.leaks import examples, split_counts, split_details, split_headline
from brain_tumor.split.protocols import assign

RAW, SPLIT = Path("data/raw"), Path("data/split.csv")
PLOTS, METRICS = Path("plots"), Path("metrics/split.json")

log = logging.getLogger(__name__)


@stage
def main() -> None:
    params = load_params()
    catalog = read_catalog(RAW)
    pairs = find_duplicates(RAW, catalog, params.split.duplicate_threshold, progress("reading"))
    split = assign(catalog, pairs, read_slices(RAW), params.split, params.seed)
    sizes = ", ".join(f"{name} {(split['split'] == name).sum():,}" for name in SPLITS)
    log.info("%s: %s", params.split.protocol, sizes)
    sheet = [
        ([read_image(RAW / path, 2 * SIZE) for path in paths], paths, caption)
        for paths, caption in examples(split, pairs)
    ]
    write_split(SPLIT, split)
    write_csv(PLOTS / "split_counts.csv", split_counts(split))
    write_csv(PLOTS / "split_details.csv", split_details(split, pairs))
    save(pair_sheet(sheet), PLOTS / "leaks.png")
    write_json(METRICS, split_headline(split))


if __name__ == "__main__":
    main()
