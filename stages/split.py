"""Find the copies among the images, and decide which image trains, validates and tests."""

import logging
from pathlib import Path

from brain_tumor.data.annotations import read_slices
from brain_tumor.data.catalog import SPLITS, read_catalog, write_split
from brain_tumor.data.images import read_image
from brain_tumor.duplicates.search import find_duplicates
from brain_tumor.duplicates.views import SIZE
from brain_tumor.figures.sheets import pair_sheet
from brain_tumor.figures.style import save
from brain_tumor.files import write_json, write_text
from brain_tumor.params import load_params
from brain_tumor.progress import progress
from brain_tumor.split.leaks import examples, split_counts, split_headline, split_list, split_report
from brain_tumor.split.protocols import assign
from brain_tumor.stage import stage

RAW = Path("data/raw")

log = logging.getLogger(__name__)


@stage
def main() -> None:
    params = load_params()
    catalog = read_catalog(RAW)
    pairs = find_duplicates(RAW, catalog, params.split.duplicate_threshold, progress("reading"))
    split = assign(catalog, pairs, read_slices(RAW), params.split, params.seed)
    log.info(
        "%s: %s", params.split.protocol, ", ".join(f"{name} {(split['split'] == name).sum():,}" for name in SPLITS)
    )
    sheet = [
        ([read_image(RAW / path, 2 * SIZE) for path in example.paths], example.paths, example.caption)
        for example in examples(split, pairs)
    ]
    write_split(Path("data/split.csv"), split)
    report = split_report(split, pairs)
    write_json(Path("metrics/split.json"), split_headline(report))
    for name, table in (("split_counts", split_counts(report)), ("split_details", split_list(report))):
        write_text(Path(f"plots/{name}.csv"), table.to_csv(index=False, lineterminator="\n"))
    save(pair_sheet(sheet), Path("plots/leaks.png"))


if __name__ == "__main__":
    main()
