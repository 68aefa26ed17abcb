"""Compare the result table of README.md with metrics/ and plots/; `make lint` runs it.

python scripts/check_figures.py           # names the rows that differ
python scripts/check_figures.py --write   # puts the rows of the last `dvc repro` into README.md
"""

import json
import re
import sys
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

Row = Mapping[Hashable, Any]

README = Path("README.md")
TABLE = re.compile(r"(?<=\| what \| value \| 95 % interval \|\n\| --- \| --- \| --- \|\n)(\|[^\n]*\n)+")


def rows() -> list[str]:
    """The rows of the table, as the results of the study have them."""
    evaluated = json.loads(Path("metrics/evaluate.json").read_text(encoding="utf-8"))
    maps = json.loads(Path("metrics/explain.json").read_text(encoding="utf-8"))
    subsets, external = table("scores_by_subset", "subset"), table("external", "collection")
    shortcut = next(iter(table("shortcuts", "features").values()))
    recall = {name: scores["recall"] for name, scores in evaluated["classes"].items()}
    lgg, br35h = external["lgg"], external["br35h"]
    tumours = ("glioma", "meningioma", "pituitary")
    titles = {
        "all": "accuracy on the {} published test images",
        "with a published duplicate": "… on the {} with a duplicate in the published training set",
        "without a published duplicate": "… on the {} without",
    }
    found = [
        (title.format(f"{int(row['images']):,}"), percent(row["accuracy"]), interval(row, "", 100))
        for name, title in titles.items()
        for row in [subsets[name]]
    ]
    found += [
        ("sensitivity: glioma, meningioma, pituitary tumour", percent(*(recall[name] for name in tumours)), ""),
        ("no tumour, predicted so", percent(recall["notumor"]), ""),
        (
            "held-back patients of LGG, {} slices with and {} without a tumour: AUROC".format(
                lgg["tumour_images"], lgg["healthy_images"]
            ),
            f"{lgg['auroc']:.3f}",
            interval(lgg, "auroc_", 1),
        ),
        ("… sensitivity and specificity", percent(lgg["sensitivity"], lgg["specificity"]), ""),
        (
            f"{br35h['tumour_images']:,} tumours of Br35H, a collection that it has never seen, predicted a tumour",
            percent(br35h["sensitivity"]),
            interval(br35h, "sensitivity_", 100),
        ),
        (
            "maximum of the map at the tumour: glioma, meningioma, pituitary tumour",
            percent(*(maps[name]["pointing"] for name in tumours)),
            "",
        ),
        (
            "AUROC of tumour against none by size, aspect ratio and colour of the file alone",
            f"{shortcut['auroc']:.3f}",
            interval(shortcut, "auroc_", 1),
        ),
    ]
    return [f"| {title} | {value} | {between} |\n".replace("|  |", "| |") for title, value, between in found]


def table(name: str, index: str) -> dict[str, Row]:
    """The rows of a table in plots/ by the column `index`."""
    return {str(row[index]): row for row in pd.read_csv(f"plots/{name}.csv").to_dict("records")}


def percent(*shares: float) -> str:
    return f"{', '.join(f'{100 * share:.1f}' for share in shares)} %"


def interval(row: Row, score: str, unit: int) -> str:
    digits = 1 if unit == 100 else 3
    return " to ".join(f"{unit * row[f'{score}{end}']:.{digits}f}" for end in ("low", "high"))


def main() -> int:
    text = README.read_text(encoding="utf-8")
    match, expected = TABLE.search(text), "".join(rows())
    if match is None:
        print("error: README.md has no table of results")
        return 1
    if "--write" in sys.argv:
        README.write_text(text.replace(match[0], expected), encoding="utf-8")
    elif match[0] != expected:
        differ = [row for row in match[0].splitlines(keepends=True) if row not in rows()]
        print("error: README.md differs from the results:", *differ, sep="\n", end="")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
