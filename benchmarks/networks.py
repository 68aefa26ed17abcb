"""What each network costs: size, the frozen layers' features, a training step, and an answer, in milliseconds an image.

    python benchmarks/networks.py data/arrays --networks vgg16_bn efficientnet_lite0

Random weights: time does not depend on them. Networks take turns, and the median of the rounds counts. An answer is
that of the exported model in full precision, in batches. Writes benchmarks/networks.csv.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from brain_tumor.data.arrays import Arrays, SplitArrays, open_arrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.files import atomic_file
from brain_tumor.model.backbones import BACKBONES
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.features import FeatureCache
from brain_tumor.model.precision import autocast
from brain_tumor.params import TrainParams, load_params
from brain_tumor.serving.export import export
from brain_tumor.serving.onnx_model import Engine
from brain_tumor.training.loss import PartialLabelLoss
from brain_tumor.training.run import build
from brain_tumor.training.task import optimizer_of

RESULT = Path(__file__).with_suffix(".csv")
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arrays", type=Path, help="data/arrays, as the augment stage leaves it")
    parser.add_argument("--networks", nargs="+", choices=list(BACKBONES), default=["vgg16_bn", "efficientnet_lite0"])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    whole, params = open_arrays(arguments.arrays), load_params()
    images = min(arguments.images, len(whole.train), len(whole.test))
    train, validation, test = (first(part, images) for part in (whole.train, whole.validation, whole.test))
    arrays = Arrays(train, validation, test, None, whole.reader, "")
    with tempfile.TemporaryDirectory() as folder:
        works = {name: works_of(name, params.train, arrays, Path(folder)) for name in arguments.networks}
        seconds: dict[tuple[str, str], list[float]] = {(name, work): [] for name in works for work in works[name][1]}
        for _ in range(arguments.rounds):
            for name, work in seconds:
                start = time.perf_counter()
                works[name][1][work]()
                seconds[name, work].append(time.perf_counter() - start)
    rows = [
        {"network": name, "weights": weights}
        | {work: 1000 * statistics.median(seconds[name, work]) / images for work in tasks}
        for name, (weights, tasks) in works.items()
    ]
    table = pd.DataFrame(rows).assign(image_size=arrays.reader.size, threads=torch.get_num_threads())
    print(table.to_string(index=False))
    with atomic_file(RESULT) as temporary:
        table.to_csv(temporary, index=False, float_format="%.2f")


def first(part: SplitArrays, images: int) -> SplitArrays:
    return SplitArrays(np.array(part.images[:images]), part.index.iloc[:images].reset_index(drop=True))


def works_of(
    name: str, recipe: TrainParams, arrays: Arrays, folder: Path
) -> tuple[int, dict[str, Callable[[], object]]]:
    """How many weights a network has, and what is timed of it; each once done already, so that nothing is cold."""
    head = recipe.head if recipe.head in BACKBONES[name].heads else "pooled"
    params = recipe.model_copy(update={"backbone": name, "weights": "none", "head": head})
    classifier = build(params, arrays, seed=0).to(memory_format=torch.channels_last)
    exported = folder / f"{name}.onnx"
    export(classifier.eval(), arrays.train, arrays.validation, exported, int8=False)
    engine, images = Engine(exported), arrays.test.images
    features = FeatureCache(folder / "kept", limit=10**10).compute(classifier, arrays.train.images)
    step = step_of(classifier.train(), params)

    def train() -> None:
        for start in range(0, len(features), BATCH):
            rows: NDArray[np.int64] = np.arange(start, min(start + BATCH, len(features)))
            step(features.gather(rows), torch.from_numpy(rows % len(CLASSES)))

    def compute() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as empty:
            FeatureCache(Path(empty), limit=10**10).compute(classifier, arrays.train.images)

    def answer() -> None:
        for start in range(0, len(images), BATCH):
            engine.run(images[start : start + BATCH])

    works: dict[str, Callable[[], object]] = {"features": compute, "training_step": train, "answer": answer}
    for work in works.values():
        work()
    return sum(parameter.numel() for parameter in classifier.parameters()), works


def step_of(classifier: Classifier, params: TrainParams) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """A training step of the layers that are trained, as the run does it."""
    optimizer = optimizer_of(classifier, params)
    loss = PartialLabelLoss(torch.ones(len(CLASSES)), params.label_smoothing)

    def step(features: torch.Tensor, labels: torch.Tensor) -> None:
        optimizer.zero_grad()
        with autocast(classifier.description.precision, "cpu"):
            logits = classifier.tail(features)
        (loss(logits.float(), labels) / len(labels)).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
