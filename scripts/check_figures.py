"""Compare the tables of README.md and docs/ that show the study at HEAD with metrics/ and plots/; `make lint` runs it.

python scripts/check_figures.py           # names the lines that differ
python scripts/check_figures.py --write   # puts the figures of the last `dvc repro` into the texts
"""

import json
import os
import re
import sys
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from brain_tumor.files import write_text

Row = Mapping[Hashable, Any]

README, RESULTS, HARDWARE = Path("README.md"), Path("docs/results.md"), Path("docs/hardware.md")
DUPLICATE = ("with", "without")
TUMOURS = ("glioma", "meningioma", "pituitary")
TABLE = re.compile(r"(?<=\| what \| value \| 95 % interval \|\n\| --- \| --- \| --- \|\n)(\|[^\n]*\n)+")


def rows() -> list[str]:
    """The rows of README's table of results."""
    evaluated, maps = metrics("evaluate"), metrics("explain")
    subsets, external = table("scores_by_subset", "subset"), table("external", "collection")
    shortcut = next(iter(table("shortcuts", "features").values()))
    recall = {name: scores["recall"] for name, scores in evaluated["classes"].items()}
    lgg, br35h = external["lgg"], external["br35h"]
    every, leaked, clean = (subsets[name] for name in ("all", *(f"{word} a published duplicate" for word in DUPLICATE)))
    found = [
        (
            f"accuracy on the {int(every['images']):,} published test images",
            percent(every["accuracy"]),
            interval(every, "", 100),
        ),
        (
            "… on the {:.0f} with a duplicate in the published training set, and the {:.0f} without".format(
                leaked["images"], clean["images"]
            ),
            percent(leaked["accuracy"], clean["accuracy"]),
            f"{interval(leaked, '', 100)}; {interval(clean, '', 100)}",
        ),
        (
            "sensitivity: glioma, meningioma, pituitary tumour; no tumour, predicted so",
            percent(*(recall[name] for name in (*TUMOURS, "notumor"))),
            "",
        ),
        (
            "held-back patients of LGG, {} slices with and {} without a tumour: AUROC".format(
                lgg["tumour_images"], lgg["healthy_images"]
            ),
            f"{lgg['auroc']:.3f}",
            interval(lgg, "auroc_", 1),
        ),
        ("… sensitivity and specificity", percent(lgg["sensitivity"], lgg["specificity"]), ""),
        (
            f"{br35h['tumour_images']:,} tumours of Br35H, none of whose tumours trained, predicted a tumour",
            percent(br35h["sensitivity"]),
            interval(br35h, "sensitivity_", 100),
        ),
        ("maximum of the map at the tumour: glioma, meningioma, pituitary tumour", pointing(maps), ""),
        (
            "AUROC of tumour against none by size, aspect ratio and colour of the file alone",
            f"{shortcut['auroc']:.3f}",
            interval(shortcut, "auroc_", 1),
        ),
    ]
    return [f"| {title} | {value} | {between} |\n".replace("|  |", "| |") for title, value, between in found]


def head_column() -> dict[str, str]:
    """The last column of the first table of docs/results.md, by the first."""
    evaluated, external = metrics("evaluate"), table("external", "collection")
    shortcuts, lesions = table("shortcuts", "features"), table("lesion_removed", "lesion_removed")
    lgg, br35h = external["lgg"], external["br35h"]
    hemispheres = next(row for name, row in shortcuts.items() if "hemispheres" in name)
    healthy = lesions["the tumour"]  # of several rows with a name the last, which is of all classes
    volumes = table("volumes", "sequence")["flair"]
    sensitivity = f"{100 * br35h['sensitivity']:.1f} ({interval(br35h, 'sensitivity_', 100)})"
    of_volumes = [round(volumes[name] * volumes["volumes"]) for name in ("found", "class_correct")]
    return {
        "LGG, held-back patients: AUROC of slices with against slices without a tumour": share(lgg, "auroc"),
        "… sensitivity, specificity": percent(lgg["sensitivity"], lgg["specificity"]),
        "… volumes (FLAIR): tumour found, class right; Dice of the slices": "{} and {} of {}; {:.2f}".format(
            *of_volumes, volumes["volumes"], volumes["dice"]
        ),
        "Br35H, held-back tumours predicted a tumour": sensitivity,
        "test accuracy; `notumor` predicted correctly": "{:.1f} ({}); {:.1f}".format(
            100 * evaluated["accuracy"],
            interval(evaluated, "accuracy_", 100),
            100 * evaluated["classes"]["notumor"]["recall"],
        ),
        "pointing: glioma, meningioma, pituitary tumour": pointing(metrics("explain")).removesuffix(" %"),
        "lesion removed, predicted healthy": f"{100 * healthy['healthy']:.1f} ({interval(healthy, 'healthy_', 100)})",
        "AUROC of hemispheres, with the tumour against without": share(hemispheres, "auroc"),
    }


def times() -> dict[str, str]:
    """Milliseconds an image, one by one and in batches, of the table of docs/hardware.md, by its first column."""
    ways = pd.read_csv("benchmarks/inference.csv").set_index("way")["milliseconds_an_image"]
    files = {"`model.onnx`": "model.onnx", "`vgg16.onnx`, INT8": "vgg16.onnx"}
    return {
        label: f"{ways[f'{name}, one by one']:.1f} | {ways[f'{name}, batches']:.1f}" for label, name in files.items()
    }


def metrics(stage: str) -> Any:
    return json.loads(Path(f"metrics/{stage}.json").read_text(encoding="utf-8"))


def pointing(maps: Any) -> str:
    return percent(*(maps[name]["pointing"] for name in TUMOURS))


def share(row: Row, score: str) -> str:
    return f"{row[score]:.2f} ({row[f'{score}_low']:.2f} to {row[f'{score}_high']:.2f})"


def table(name: str, index: str) -> dict[str, Row]:
    """The rows of a table in plots/ by the column `index`."""
    return {str(row[index]): row for row in pd.read_csv(f"plots/{name}.csv").to_dict("records")}


def percent(*shares: float) -> str:
    return f"{', '.join(f'{100 * share:.1f}' for share in shares)} %"


def interval(row: Row, score: str, unit: int) -> str:
    digits = 1 if unit == 100 else 3
    return " to ".join(f"{unit * row[f'{score}{end}']:.{digits}f}" for end in ("low", "high"))


def expected() -> dict[Path, str]:
    """The texts with the figures of the study.

    Raises:
        LookupError: a text has no such table or row.
    """
    readme, results, hardware = (path.read_text(encoding="utf-8") for path in (README, RESULTS, HARDWARE))
    if not TABLE.search(readme):
        raise LookupError(f"{README} has no table of results")
    made = "".join(rows())
    for label, value in head_column().items():
        results = with_cells(results, rf"(\| {re.escape(label)} \|[^|\n]*\|)[^|\n]*", value, label)
    for label, value in times().items():
        hardware = with_cells(hardware, rf"(\| {re.escape(label)} \|)[^|\n]*\|[^|\n]*", value, label)
    return {README: TABLE.sub(lambda _: made, readme), RESULTS: results, HARDWARE: hardware}


def with_cells(text: str, cells: str, value: str, label: str) -> str:
    """The text with the cells of one row replaced; `cells` is a pattern whose first group stands before them."""
    changed, count = re.subn(rf"(?<=\n){cells}\|", lambda match: f"{match[1]} {value} |", text)
    if count != 1:
        raise LookupError(f"{count} rows {label!r} in docs/, expected 1")
    return changed


def main() -> int:
    os.chdir(Path(__file__).parent.parent)
    try:
        texts = expected()
    except LookupError as error:
        print(f"error: {error}")
        return 1
    if "--write" in sys.argv:
        for path, text in texts.items():
            write_text(path, text)
        return 0
    differ = [
        f"{path}: {line}"
        for path, text in texts.items()
        for line in sorted(set(path.read_text(encoding="utf-8").splitlines()) - set(text.splitlines()))
    ]
    if differ:
        print("error: these lines differ from the results:", *differ, sep="\n")
    return int(bool(differ))


if __name__ == "__main__":
    sys.exit(main())
