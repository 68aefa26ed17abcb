"""The leaked test images that a plain correlation misses, beside their copies in training.

    python benchmarks/extra_copies.py data/raw

writes `extra_copies.png` beside this file.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from brain_tumor.data.catalog import TESTING, TRAINING, read_catalog
from brain_tumor.data.images import Pixels, read_image
from brain_tumor.duplicates.correlation import plain_correlation
from brain_tumor.duplicates.search import EQUAL, find_duplicates
from brain_tumor.duplicates.views import FLIPS, flipped
from brain_tumor.figures.sheets import pair_sheet
from brain_tumor.figures.style import save
from brain_tumor.params import load_params

HERE = Path(__file__).parent

PLAIN_SIZE = 128  # pixels a side of the plain correlation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path, help="folder with images")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the picture")
    arguments = parser.parse_args()
    threshold = load_params(HERE.parent / "params.yaml").split.duplicate_threshold
    catalog = read_catalog(arguments.raw)
    leaks = leaked(catalog, find_duplicates(arguments.raw, catalog, threshold))
    draw(arguments.raw, leaks, threshold, arguments.out / "extra_copies.png")


def leaked(catalog: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Pairs of a test image and its copy in training: columns `test`, `train` and `kind`, without equal files."""
    swapped = pairs.rename(columns={"first": "second", "second": "first"})
    both = pd.concat([pairs, swapped], ignore_index=True)
    part, path, digest = (catalog[name].to_numpy() for name in ("folder", "path", "digest"))
    both = both[(part[both["first"]] == TESTING) & (part[both["second"]] == TRAINING)]
    also = np.isin(digest[both["first"]], digest[part == TRAINING])
    both = both[(both["kind"] != EQUAL) & ~also]
    return pd.DataFrame({"test": path[both["first"]], "train": path[both["second"]], "kind": both["kind"].to_numpy()})


def draw(raw: Path, leaks: pd.DataFrame, threshold: float, out: Path) -> None:
    """Draw, for each test image that no pair of `leaks` explains by plain correlation, the pair that comes closest."""
    shown = [pictures(raw, test, train) for test, train in zip(leaks["test"], leaks["train"], strict=True)]
    leaks = leaks.assign(plain=[agreement(test, train) for test, train in shown])
    best = leaks.sort_values("plain", ascending=False, kind="stable").drop_duplicates("test")
    extra = best[best["plain"] < threshold].sort_values("test")
    sheet = [
        (shown[row], (Path(pair["test"]).stem, Path(pair["train"]).stem), f"{pair['kind']}, {pair['plain']:.3f}")
        for row, pair in extra.iterrows()
    ]
    save(pair_sheet(sheet), out)


def pictures(raw: Path, test: str, train: str) -> tuple[Pixels, Pixels]:
    """The two, the first flipped so that they agree best."""
    first, second = read_image(raw / test, PLAIN_SIZE), read_image(raw / train, PLAIN_SIZE)
    ways = [flipped(first, flip) for flip in range(len(FLIPS))]
    return max(ways, key=lambda way: agreement(way, second)), second


def agreement(first: Pixels, second: Pixels) -> float:
    """Plain correlation."""
    return float(plain_correlation(first[None], second[None])[0])


if __name__ == "__main__":
    main()
