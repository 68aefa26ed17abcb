"""Images a second from file to answer, against `detect-tumor` 0.1.1, on the same files in the same run.

    python benchmarks/inference.py FOLDER --model release/model.onnx --peer PEER_PYTHON

PEER_PYTHON is the Python of a virtual environment of its own in which `pip install detect-tumor==0.1.1` was run;
without it only this project is timed. Writes benchmarks/inference.csv.
"""

import argparse
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from brain_tumor.files import atomic_file
from brain_tumor.serving.inputs import read_bytes
from brain_tumor.serving.predictor import Predictor
from brain_tumor.serving.stream import answers, expand

RESULT = Path(__file__).with_suffix(".csv")

PEER = """
import sys, time
from detect_tumor.detector import TumorDetector
predict = TumorDetector().predict
paths = sys.stdin.read().split("\\n")
predict(paths[0])
start = time.perf_counter()
for path in paths:
    predict(path)
print(time.perf_counter() - start)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", metavar="PEER_PYTHON")
    args = parser.parse_args()
    every = list(expand([args.folder]))
    paths = every[:: max(1, len(every) // args.images)][: args.images]
    predictor = Predictor(args.model)
    ways: dict[str, Callable[[], float]] = {
        "one by one": lambda: one_by_one(predictor, paths),
        "batches": lambda: in_batches(predictor, paths),
    }
    if args.peer:
        ways["detect-tumor 0.1.1"] = lambda: peer(args.peer, paths)
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


def peer(python: str, paths: Sequence[Path]) -> float:
    """Seconds of the peer in its own process, without its start."""
    files = "\n".join(str(path.resolve()) for path in paths)
    done = subprocess.run([python, "-c", PEER], input=files, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
