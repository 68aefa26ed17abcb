"""How the threshold of duplicates was chosen: recall and false pairs, in the set and of changed pictures.

The truth are the annotations: two images are duplicates exactly if they show the same slice. Changed pictures are made
from a random sample of the set, each kind beside the whole set, so that each must be found among all other pictures.

    python benchmarks/duplicate_threshold.py data/raw --neighbours LGG

writes `duplicate_threshold.csv` and `duplicate_threshold.png` beside this file. `data/raw` needs annotations; `LGG` is
a folder of consecutive slices of patients, none of which are duplicates.
"""

import argparse
import functools
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from brain_tumor.data.annotations import read_slices
from brain_tumor.data.catalog import read_catalog
from brain_tumor.data.images import Pixels, decode, head_mask
from brain_tumor.duplicates.search import match_duplicates
from brain_tumor.duplicates.views import FLIPS, flipped, looks_at
from brain_tumor.figures.style import BLUE, GREY, VERMILLION, save
from brain_tumor.files import atomic_file
from brain_tumor.params import load_params
from brain_tumor.progress import progress

HERE = Path(__file__).parent

THRESHOLDS = (0.95, 0.96, 0.97, 0.975, 0.98, 0.985, 0.99, 0.9925, 0.995, 0.9975)


def recompressed(picture: Pixels, quality: int = 30) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file), np.uint8)


def rescaled(picture: Pixels) -> Pixels:
    return np.array(Image.fromarray(picture).resize((128, 128), Image.Resampling.BICUBIC), np.uint8)


def sharpened(picture: Pixels) -> Pixels:
    """Five times the difference to a blurred picture added: about what such duplicates in the set look like."""
    soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), max(picture.shape) / 128)
    return np.asarray(np.clip(picture + 5 * (picture - soft), 0, 255), np.uint8)


def brighter(picture: Pixels) -> Pixels:
    return np.asarray(np.clip(picture * 1.2 + 15, 0, 255), np.uint8)


def paler(picture: Pixels) -> Pixels:
    return np.asarray(np.clip((picture - 128.0) * 0.7 + 128, 0, 255), np.uint8)


def darkened(picture: Pixels) -> Pixels:
    return (255 * (picture / 255) ** 1.4).astype(np.uint8)


def cropped(picture: Pixels, percent: float) -> Pixels:
    """So much of the side taken off each edge."""
    down, right = (round(side * percent / 100) for side in picture.shape)
    return picture[down : len(picture) - down, right : picture.shape[1] - right]


def cropped_on_two_sides(picture: Pixels, percent: float) -> Pixels:
    """So much of the side taken off top and left: what is left is also moved."""
    down, right = (round(side * percent / 100) for side in picture.shape)
    return picture[down:, right:]


def turned(picture: Pixels, degrees: float) -> Pixels:
    height, width = picture.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(picture, matrix, (width, height)), np.uint8)


def cut(picture: Pixels, sides: Sequence[float]) -> Pixels:
    """To the head, with so many per cent of it beyond left, top, right and bottom, negative ones cut into it."""
    mask = head_mask(picture)
    left, top, width, height = cv2.boundingRect(mask) * np.tile(np.divide(picture.shape, mask.shape)[::-1], 2)
    share = np.array(sides) / 100
    rows = slice(max(0, round(top - share[1] * height)), round(top + (1 + share[3]) * height))
    return picture[rows, max(0, round(left - share[0] * width)) : round(left + (1 + share[2]) * width)]


def squeezed(picture: Pixels, side: int = 224) -> Pixels:
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def cut_to_the_head(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Margins of -3 to +8 % on each side, squeezed to a square, JPEG of quality 60 to 95, mirrored or not."""
    square = squeezed(cut(picture, rng.uniform(-3, 8, 4)), int(rng.choice([150, 224, 300])))
    return flipped(recompressed(square, int(rng.integers(60, 96))), int(rng.integers(2)))


def bordered(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Cut to the head, with a white or grey border of another width on each side."""
    before, after = rng.integers(0, 25, (2, 2))
    square = squeezed(cut(picture, (2, 2, 2, 2)))
    return np.pad(square, list(zip(before, after, strict=True)), constant_values=int(rng.choice([128, 255])))


def letterboxed(picture: Pixels) -> Pixels:
    """With black at left and right, squeezed to a square."""
    height, width = picture.shape
    return squeezed(np.pad(picture, ((height // 20, height // 20), (width // 4, width // 4))), 300)


def cut_on_one_side(picture: Pixels, rng: np.random.Generator, percent: float) -> Pixels:
    return cut(picture, -percent * np.eye(4)[rng.integers(4)])


Change = Callable[[Pixels], Pixels]

FLIPPED = ("mirrored", "upside down", "half a turn")  # in the order of FLIPS, behind the picture as it is

RNG = np.random.default_rng(0)

CHANGES: dict[tuple[str, float], Change] = {
    ("JPEG of quality 30", 0): recompressed,
    ("scaled to 128 pixels", 0): rescaled,
    **{(name, 0): functools.partial(flipped, flip=flip) for flip, name in enumerate(FLIPPED, 1)},
    ("strongly sharpened", 0): sharpened,
    ("strongly sharpened, upside down", 0): lambda picture: flipped(sharpened(picture), FLIPS.index((-1, 1))),
    ("softened, 2 pixels of 512", 0): lambda picture: cv2.GaussianBlur(picture, (0, 0), max(picture.shape) / 256),
    ("brighter by a fifth", 0): brighter,
    ("contrast of 70 %", 0): paler,
    ("gamma 1.4", 0): darkened,
    ("cut to the head", 0): functools.partial(cut_to_the_head, rng=RNG),
    ("cut to the head, border of another grey", 0): functools.partial(bordered, rng=RNG),
    ("letterboxed and squeezed", 0): letterboxed,
    **{
        ("one side of the head cut off, %", by): functools.partial(cut_on_one_side, rng=RNG, percent=by)
        for by in (2, 4)
    },
    **{("cropped, %", step): functools.partial(cropped, percent=step) for step in (1, 2, 3, 4, 5)},
    **{("cropped on two sides, %", step): functools.partial(cropped_on_two_sides, percent=step) for step in (2, 5)},
    **{("turned, degrees", step): functools.partial(turned, degrees=step) for step in (1, 2, 3, 4, 5)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path, help="folder with images and annotations")
    parser.add_argument("--neighbours", type=Path, help="folder with *.tif of consecutive slices")
    parser.add_argument("--sample", type=int, default=400, help="images that are changed (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the results")
    arguments = parser.parse_args()

    catalog = read_catalog(arguments.raw)
    annotations = read_slices(arguments.raw)
    if annotations is None:
        parser.error(f"{arguments.raw} has no annotations/slices.csv: download with download.annotations: true")
    slices = catalog["path"].map(annotations.set_index("image")["slice"]).to_numpy(object)
    images = looks([arguments.raw / path for path in catalog["path"]])
    chosen = load_params(HERE.parent / "params.yaml").split.duplicate_threshold
    rows = [{"change": "none: pairs of the set", "by": 0.0, **row} for row in known_pairs(images, slices)]
    if arguments.neighbours:
        files = sorted(file for file in arguments.neighbours.rglob("*.tif") if not file.stem.endswith("mask"))
        neighbours = looks(files)
        for at in THRESHOLDS:
            false = len(match_duplicates(neighbours, list(map(str, files)), at))
            rows.append({"change": "none: consecutive slices", "by": 0.0, **counts(at, 0, 0, false)})
    sample = np.sort(np.random.default_rng(0).choice(len(images), arguments.sample, replace=False))
    for name, by in progress("changes", len(CHANGES))(CHANGES):
        changed = np.stack(
            [looks_at(CHANGES[name, by](decode(arguments.raw / catalog["path"][row]))) for row in sample]
        )
        rows.append({"change": name, "by": by, **changed_pictures(images, slices, sample, changed, chosen)})
    table = pd.DataFrame(rows)
    table["recall"] = table["found"] / table["duplicates"]
    table["precision"] = table["found"] / (table["found"] + table["false"])
    with atomic_file(arguments.out / "duplicate_threshold.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.4f")
    save(figure(table, chosen), arguments.out / "duplicate_threshold.png")


def looks(files: Sequence[Path]) -> Pixels:
    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(lambda file: looks_at(decode(file)), files)))


def known_pairs(images: Pixels, slices: np.ndarray) -> list[dict[str, float]]:
    """Pairs of annotated images: how many duplicates are found and how many others are taken for duplicates."""
    known = np.flatnonzero(pd.notna(slices))
    sizes = pd.Series(slices[known]).value_counts()
    rows = []
    for at in THRESHOLDS:
        found = match_duplicates(images[known], [str(row) for row in known], at)
        same = slices[known[found["first"]]] == slices[known[found["second"]]]
        rows.append(counts(at, int((sizes * (sizes - 1) // 2).sum()), int(same.sum()), int((~same).sum())))
    return rows


def changed_pictures(
    images: Pixels, slices: np.ndarray, sample: np.ndarray, changed: Pixels, at: float
) -> dict[str, float]:
    """Changed pictures put beside the whole set: how many are paired with their original, and how many with others.

    A false pair is one of a changed picture with an annotated image of another slice.
    """
    number = len(images)
    pairs = match_duplicates(np.concatenate([images, changed]), list(map(str, range(number + len(changed)))), at)
    pairs = pairs[(pairs["first"] < number) & (pairs["second"] >= number)]
    original = sample[pairs["second"] - number]
    shown, other = slices[original], slices[pairs["first"]]
    false = pd.notna(shown) & pd.notna(other) & (shown != other)
    return counts(at, len(changed), int((original == pairs["first"]).sum()), int(false.sum()))


def counts(at: float, duplicates: int, found: int, false: int) -> dict[str, float]:
    """At a threshold: `duplicates` that there are, `found` of them, and `false` pairs."""
    return {"threshold": at, "duplicates": duplicates, "found": found, "false": false}


def figure(table: pd.DataFrame, chosen: float) -> Figure:
    """Left: over the threshold. Right: over the change, at the threshold of `params.yaml`."""
    drawn = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = drawn.subplots(1, 2)
    known = table[table["change"] == "none: pairs of the set"]
    left.plot(known["threshold"], known["recall"], color=BLUE, label="recall, annotated pairs of the set")
    left.plot(known["threshold"], known["precision"], color=VERMILLION, label="precision, annotated pairs of the set")
    beside = table[table["change"] == "none: consecutive slices"]
    if len(beside):
        twin = left.twinx()
        twin.plot(beside["threshold"], beside["false"], "--", color=GREY)
        twin.set(ylabel="pairs of consecutive slices (dashed)", ylim=(0, None))
    left.axvline(chosen, color=GREY, linestyle=":", label=f"split.duplicate_threshold: {chosen:g}")
    left.set(xlabel="threshold", title="Duplicates by threshold")
    left.legend(loc="center left")

    changed = table[~table["change"].str.startswith("none")].iloc[::-1]
    names = changed["change"].str.removesuffix(", %") + changed["by"].map(lambda by: f" {by:g}" if by else "")
    right.barh(names, changed["recall"], color=BLUE)
    right.set(xlim=(0.85, 1), xlabel="recall", title=f"Changed pictures at {chosen:g}")
    right.tick_params(axis="y", labelsize=6)
    return drawn


if __name__ == "__main__":
    main()
