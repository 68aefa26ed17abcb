"""Images a second from file to answer, against `detect-tumor` 0.1.1, on the same files in the same run.

    python benchmarks/inference.py data/raw/Testing --models model vgg16 --peer PEER_PYTHON --split data/split.csv

PEER_PYTHON is the Python of a virtual environment of its own in which `pip install detect-tumor==0.1.1` was run;
without it only this project is timed. With --split, the accuracy of both on the published test images that have no
copy in the published training set is told too. Writes benchmarks/inference.csv.
"""

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from brain_tumor.data.catalog import TESTING, published_duplicates, read_split
from brain_tumor.files import atomic_file
from brain_tumor.serving.inputs import read_bytes
from brain_tumor.serving.predictor import Predictor
from brain_tumor.serving.released import RELEASED_MODEL, find_model
from brain_tumor.serving.stream import answers, expand

RESULT = Path(__file__).with_suffix(".csv")

PEER = """
import json, sys, time
from detect_tumor.detector import TumorDetector
predict = TumorDetector().predict
paths = sys.stdin.read().split("\\n")
predict(paths[0])
start = time.perf_counter()
called = [predict(path).predicted_class for path in paths]
seconds = time.perf_counter() - start
print(json.dumps([seconds, [str(getattr(name, "value", name)) for name in called]]))
"""

PEER_NAME = "detect-tumor 0.1.1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument(
        "--models", type=find_model, nargs="+", default=[RELEASED_MODEL], help="files or released models"
    )
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", metavar="PEER_PYTHON")
    parser.add_argument("--split", type=Path, help="the table of the split stage, beside data/raw")
    args = parser.parse_args()
    every = list(expand([args.folder]))
    paths = every[:: max(1, len(every) // args.images)][: args.images]
    predictors = {model.name: Predictor(model) for model in args.models}
    ways: dict[str, Callable[[], float]] = {}
    for name, predictor in predictors.items():
        ways[f"{name}, one by one"] = partial(one_by_one, predictor, paths)
        ways[f"{name}, batches"] = partial(in_batches, predictor, paths)
    if args.peer:
        ways[PEER_NAME] = lambda: peer(args.peer, paths)[0]
    for way in ways.values():
        way()
    # Ways take turns, so that what else the machine does meets all of them.
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, way in ways.items():
            seconds[name].append(way())
    rows = [
        (
            name,
            len(paths),
            args.rounds,
            round(1000 * statistics.median(times) / len(paths), 2),
            round(len(paths) / statistics.median(times), 1),
        )
        for name, times in seconds.items()
    ]
    table = pd.DataFrame(rows, columns=["way", "images", "rounds", "milliseconds_an_image", "images_a_second"])
    print(table.to_string(index=False))
    if args.split:
        tell_accuracy(args.split, predictors, args.peer)
    with atomic_file(RESULT) as temporary:
        table.to_csv(temporary, index=False)


def one_by_one(predictor: Predictor, paths: Sequence[Path]) -> float:
    """Seconds, each file read when the one before is answered."""
    start = time.perf_counter()
    for path in paths:
        predictor.predict(predictor.read(str(path), read_bytes(path)))
    return time.perf_counter() - start


def in_batches(predictor: Predictor, paths: Sequence[Path]) -> float:
    """Seconds, as `brain-tumor predict` does it."""
    start = time.perf_counter()
    for _ in answers(predictor, paths):
        pass
    return time.perf_counter() - start


def tell_accuracy(split_file: Path, predictors: Mapping[str, Predictor], peer_python: str | None) -> None:
    """Print how many test images without a copy in the published training set each calls rightly."""
    split = read_split(split_file)
    chosen = split[(split["folder"] == TESTING) & ~split["path"].isin(published_duplicates(split))]
    paths = [split_file.parent / "raw" / path for path in chosen["path"]]
    truth = chosen["class"].tolist()
    called = {
        name: [answer.predictions[0].label for answer in answers(predictor, paths)]
        for name, predictor in predictors.items()
    }
    if peer_python:
        called[PEER_NAME] = peer(peer_python, paths)[1]
    for name, labels in called.items():
        right = sum(map(str.__eq__, labels, truth))
        print(f"{name}: {right} of {len(truth)} images without a copy called rightly, {right / len(truth):.1%}")


def peer(python: str, paths: Sequence[Path]) -> tuple[float, list[str]]:
    """Seconds of the peer in its own process, without its start, and the class it gives each file."""
    files = "\n".join(str(path.resolve()) for path in paths)
    done = subprocess.run([python, "-c", PEER], input=files, capture_output=True, text=True, check=True)
    seconds, called = json.loads(done.stdout.splitlines()[-1])
    return seconds, called


if __name__ == "__main__":
    main()
