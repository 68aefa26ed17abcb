"""How the threshold of copies was chosen: recall and false pairs over it, and over how far a copy was changed.

The truth are the annotations: two images are copies exactly if they show the same slice. Changed copies are made from
a random sample of the set, one at a time beside the whole set, so that each must be found among all other pictures.

    python benchmarks/duplicate_threshold.py data/raw

writes `duplicate_threshold.csv` and `duplicate_threshold.png` beside this file. `data/raw` needs annotations.
"""

import argparse
import functools
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from brain_tumor.data.annotations import read_slices
from brain_tumor.data.catalog import read_catalog
from brain_tumor.data.images import Pixels, read_image, read_images
from brain_tumor.duplicates.alignment import correlate
from brain_tumor.duplicates.candidates import candidate_pairs
from brain_tumor.duplicates.views import FLIPS, SIZE, flipped
from brain_tumor.figures.style import BLUE, GREY, VERMILLION, save
from brain_tumor.files import atomic_file
from brain_tumor.params import load_params
from brain_tumor.progress import progress

HERE = Path(__file__).parent

FULL_SIZE = 512  # pixels a side at which copies are changed, about that of the files

THRESHOLDS = [*(round(0.9 + 0.005 * step, 3) for step in range(19)), 0.995, 0.998]


def recompressed(picture: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=30)
    return np.array(Image.open(file), np.uint8)


def rescaled(picture: Pixels) -> Pixels:
    return np.array(Image.fromarray(picture).resize((128, 128), Image.Resampling.BICUBIC), np.uint8)


def sharpened(picture: Pixels) -> Pixels:
    """Five times the difference to a blurred picture added: about what such copies in the set look like."""
    soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 4)
    return np.asarray(np.clip(picture + 5 * (picture - soft), 0, 255), np.uint8)


def brighter(picture: Pixels) -> Pixels:
    return np.asarray(np.clip(picture * 1.2 + 15, 0, 255), np.uint8)


def paler(picture: Pixels) -> Pixels:
    return np.asarray(np.clip((picture - 128.0) * 0.7 + 128, 0, 255), np.uint8)


def darkened(picture: Pixels) -> Pixels:
    return (255 * (picture / 255) ** 1.4).astype(np.uint8)


def cropped(picture: Pixels, percent: float) -> Pixels:
    """So much of the side taken off each edge."""
    margin = round(len(picture) * percent / 100)
    return picture[margin : len(picture) - margin, margin : len(picture) - margin]


def cropped_on_two_sides(picture: Pixels, percent: float) -> Pixels:
    """So much of the side taken off top and left: what is left is also moved."""
    margin = round(len(picture) * percent / 100)
    return picture[margin:, margin:]


def turned(picture: Pixels, degrees: float) -> Pixels:
    centre = ((len(picture) - 1) / 2, (len(picture) - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, degrees, 1)
    return cv2.warpAffine(picture, matrix, (len(picture), len(picture))).astype(np.uint8)


Change = Callable[[Pixels], Pixels]

FLIPPED = ("mirrored", "upside down", "half a turn")  # in the order of FLIPS, behind the picture as it is

CHANGES: dict[tuple[str, float], Change] = {
    ("JPEG of quality 30", 0): recompressed,
    ("scaled to 128 pixels", 0): rescaled,
    **{(name, 0): functools.partial(flipped, flip=flip) for flip, name in enumerate(FLIPPED, 1)},
    ("strongly sharpened", 0): sharpened,
    ("strongly sharpened, upside down", 0): lambda picture: flipped(sharpened(picture), FLIPS.index((-1, 1))),
    ("brighter by a fifth", 0): brighter,
    ("contrast of 70 %", 0): paler,
    ("gamma 1.4", 0): darkened,
    **{("cropped, %", step): functools.partial(cropped, percent=step) for step in (1, 2, 3, 4, 5)},
    **{("cropped on two sides, %", step): functools.partial(cropped_on_two_sides, percent=step) for step in (2, 5)},
    **{("turned, degrees", step): functools.partial(turned, degrees=step) for step in (1, 2, 3, 4, 5)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path, help="folder with images and annotations")
    parser.add_argument("--sample", type=int, default=400, help="images that are changed (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the results")
    arguments = parser.parse_args()

    catalog = read_catalog(arguments.raw)
    annotations = read_slices(arguments.raw)
    if annotations is None:
        parser.error(f"{arguments.raw} has no annotations/slices.csv: download with download.annotations: true")
    slices = catalog["path"].map(annotations.set_index("image")["slice"]).to_numpy(object)
    images = read_images([arguments.raw / path for path in catalog["path"]], SIZE)
    sample = np.sort(np.random.default_rng(0).choice(len(images), arguments.sample, replace=False))
    with ThreadPoolExecutor() as pool:
        originals = list(pool.map(lambda row: read_image(arguments.raw / catalog["path"][row], FULL_SIZE), sample))

    rows = [{"change": "none: pairs of the set", "by": 0.0, **row} for row in known_pairs(images, slices)]
    for name, by in progress("changes", len(CHANGES))(CHANGES):
        changed = np.stack([at_size(CHANGES[name, by](picture)) for picture in originals])
        rows += [{"change": name, "by": by, **row} for row in changed_copies(images, slices, sample, changed)]
    table = pd.DataFrame(rows)
    table["recall"] = table["found"] / table["copies"]
    table["precision"] = table["found"] / (table["found"] + table["false"])
    with atomic_file(arguments.out / "duplicate_threshold.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.4f")
    save(figure(table), arguments.out / "duplicate_threshold.png")


def known_pairs(images: Pixels, slices: np.ndarray) -> list[dict[str, float]]:
    """Pairs of annotated images: how many copies are found and how many others are taken for copies."""
    known = np.flatnonzero(pd.notna(slices))
    sizes = pd.Series(slices[known]).value_counts()
    found = best_of_pairs(images, known)
    same = slices[found["low"]] == slices[found["high"]]
    return counts(found["correlation"].to_numpy(), same, int((sizes * (sizes - 1) // 2).sum()))


def changed_copies(images: Pixels, slices: np.ndarray, sample: np.ndarray, changed: Pixels) -> list[dict[str, float]]:
    """Changed copies put beside the whole set: how many are paired with their original, and how many with others.

    A false pair is one of a changed copy with an annotated image of another slice.
    """
    number = len(images)
    found = best_of_pairs(np.concatenate([images, changed]), np.arange(number + len(changed)), changed_from=number)
    original = sample[found["high"] - number]
    same = original == found["low"]
    shown, other = slices[original], slices[found["low"]]
    judged = same | (pd.notna(shown) & pd.notna(other) & (shown != other))
    return counts(found["correlation"].to_numpy()[judged], same.to_numpy()[judged], len(changed))


def best_of_pairs(images: Pixels, rows: np.ndarray, changed_from: int | None = None) -> pd.DataFrame:
    """Correlation of each candidate pair, the best of its flips; if asked, only original with changed."""
    candidates = candidate_pairs(images, rows)
    ends = candidates[["image", "other"]]
    pairs = candidates.assign(low=ends.min(axis=1), high=ends.max(axis=1))
    if changed_from is not None:
        pairs = pairs[(pairs["low"] < changed_from) & (pairs["high"] >= changed_from)]
    pairs = pairs.assign(correlation=correlate(images, pairs, enough=1.0))
    return pairs.groupby(["low", "high"])["correlation"].max().reset_index()


def counts(correlation: np.ndarray, same: np.ndarray, copies: int) -> list[dict[str, float]]:
    """At each threshold: `copies` that there are, `found` of them, and `false` pairs."""
    return [
        {
            "threshold": threshold,
            "copies": copies,
            "found": int((same & (correlation >= threshold)).sum()),
            "false": int((~same & (correlation >= threshold)).sum()),
        }
        for threshold in THRESHOLDS
    ]


def at_size(picture: Pixels) -> Pixels:
    """As a file of that content would be read."""
    scaled = Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(scaled, np.uint8)


def figure(table: pd.DataFrame) -> Figure:
    """Left: over the threshold. Right: over the change, at the threshold of `params.yaml`."""
    chosen = load_params(HERE.parent / "params.yaml").split.duplicate_threshold
    drawn = Figure(figsize=(10, 4), layout="constrained")
    left, right = drawn.subplots(1, 2)

    known = table[table["change"].str.startswith("none")]
    changed = table[~table["change"].str.startswith("none")].groupby("threshold")[["copies", "found", "false"]].sum()
    left.plot(known["threshold"], known["recall"], color=BLUE, label="recall, copies in the set")
    left.plot(changed.index, changed["found"] / changed["copies"], "--", color=BLUE, label="recall, changed copies")
    left.plot(known["threshold"], known["precision"], color=VERMILLION, label="precision, pairs of the set")
    left.axvline(chosen, color=GREY, linestyle=":", label=f"split.duplicate_threshold: {chosen:g}")
    left.set(xlabel="threshold", title="Copies by threshold")
    left.legend()

    nearest = min(THRESHOLDS, key=lambda threshold: abs(threshold - chosen))
    for (name, part), colour, marker in zip(
        table[(table["threshold"] == nearest) & (table["by"] > 0)].groupby("change"),
        (BLUE, GREY, VERMILLION),
        "os^",
        strict=True,
    ):
        right.plot(part["by"], part["recall"], color=colour, marker=marker, label=name)
    right.set(xlabel="per cent or degrees", ylabel="recall", title=f"Changed copies at {nearest:g}")
    right.set(xticks=range(1, 6), ylim=(min(0.9, *table.loc[table["threshold"] == nearest, "recall"]) - 0.005, 1.005))
    right.legend(loc="lower left")
    return drawn


if __name__ == "__main__":
    main()
