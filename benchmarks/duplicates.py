"""Processor time, memory and recall of the search for duplicates, from 7 thousand to 700 thousand pictures.

    python benchmarks/duplicates.py data/raw 7000 70000 700000

Descriptors are those of the real pictures, and noisy variants of them where more are asked for: noise that makes a
variant about as similar to its original as another slice of the patient, and for one in a hundred as similar as a
duplicate. Each number is run in a process of its own, because memory is measured as the highest of its life. The
table goes to `duplicates.csv` beside this file.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import faiss
import numpy as np
import pandas as pd

from brain_tumor.data.catalog import read_catalog
from brain_tumor.data.images import read_images
from brain_tumor.duplicates.candidates import build_index, describe, projection
from brain_tumor.duplicates.views import SIZE, VIEWS, framed
from brain_tumor.files import atomic_file

HERE = Path(__file__).parent

NEIGHBOURS = 21  # the picture itself and 20 others, as in the search
SLICE, DUPLICATE = 0.8, 0.95  # similarity of a variant to its original
SAMPLE = 1_000  # queries that are compared with the exact search
BLOCK = 8_192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path, help="folder with images")
    parser.add_argument("numbers", type=int, nargs="+", help="how many descriptors")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the table")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.raw, arguments.numbers[0])))
        return
    rows = []
    for number in arguments.numbers:
        command = [sys.executable, __file__, str(arguments.raw), str(number), "--one"]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(pd.DataFrame(rows).to_string(index=False), flush=True)
    with atomic_file(arguments.out / "duplicates.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


def measure(raw: Path, number: int) -> dict[str, float]:
    """One row of the table."""
    features, duplicates, originals = descriptors(raw, number)
    before = megabytes()
    start = time.process_time()
    index = build_index(features)
    built = time.process_time()
    found = np.empty((number, NEIGHBOURS), np.int64)
    for block in blocks(number):
        found[block] = index.search(features[block], NEIGHBOURS)[1]
    searched = time.process_time()
    peak = megabytes()
    similar, exact = exact_search(features)
    hits = [np.isin(exact[row][similar[row] >= 0.84], found[query]) for row, query in enumerate(sample(number))]
    return {
        "descriptors": number,
        "threads": faiss.omp_get_max_threads(),
        "index_cpu_seconds": round(built - start, 2),
        "search_cpu_seconds": round(searched - built, 2),
        "cpu_microseconds_per_query": round((searched - built) / number * 1e6, 1),
        "peak_megabytes": round(peak),
        "of_these_by_index": round(peak - before),
        "recall_against_exact": round(float(np.concatenate(hits).mean()), 4),
        "planted_duplicates": len(duplicates),
        "duplicates_found": int((found[duplicates] == originals[:, None]).any(1).sum()),
    }


def descriptors(raw: Path, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(number, dimensions) at length 1; (duplicates,), the rows that are duplicates; (duplicates,), their originals."""
    paths = [raw / path for path in read_catalog(raw)["path"]]
    images = np.concatenate([framed(read_images(paths[block], SIZE), VIEWS[:1])[:, 0] for block in blocks(len(paths))])
    real = describe(images, *projection(images))[0]
    rng = np.random.default_rng(0)
    features = np.empty((number, real.shape[1]), np.float32)
    features[: len(real)] = real[:number]
    source = rng.integers(0, len(real), number)
    repeated = rng.random(number) < 0.01
    repeated[: len(real)] = False
    for block in blocks(number):
        rows = np.arange(number)[block]
        rows = rows[rows >= len(real)]
        similarity = np.where(repeated[rows], DUPLICATE, SLICE).astype(np.float32)[:, None]
        noise = normalised(rng.normal(size=(len(rows), real.shape[1])).astype(np.float32))
        features[rows] = normalised(similarity * real[source[rows]] + np.sqrt(1 - similarity**2) * noise)
    return features, np.flatnonzero(repeated), source[repeated]


def exact_search(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Similarity and row of the nearest neighbours of the sample, by comparing it with everything."""
    index = faiss.IndexFlatIP(features.shape[1])
    index.add(features)
    similar, rows = index.search(features[sample(len(features))], NEIGHBOURS)
    return similar, rows


def sample(number: int) -> np.ndarray:
    return np.random.default_rng(1).choice(number, min(SAMPLE, number), replace=False)


def normalised(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def blocks(number: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, number)) for start in range(0, number, BLOCK)]


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
