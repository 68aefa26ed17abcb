"""Times this project's training against a plain loop, on the same images, in one run.

    python benchmarks/training.py data/raw data/split.csv --images 500 --trainable block5

The plain loop follows torchvision's reference training: workers of a DataLoader decode, scale and augment each image in
each epoch; network, frozen layers, precision, batch, optimiser, schedule, loss and images an epoch are the same. Both
sides train for all epochs and report the validation accuracy of the best one.

Ours is all that `dvc repro` does for it: the augment stage, the features, the training. The rerun has another learning
rate, as a user tries next, and finds arrays and features there.

    python benchmarks/training.py --accelerator gpu --batch-size 128

instead trains all layers on a GPU, with the images of `data/arrays`, and says how well the GPU is used.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from gpu_training import measure
from torch import nn
from torch.utils.data import DataLoader, Dataset

from brain_tumor.augment.packing import pack, reader_of
from brain_tumor.augment.policy import augmented_per_image, policy
from brain_tumor.data.arrays import Arrays, open_arrays
from brain_tumor.data.catalog import CLASSES, TRAIN, VALIDATION, read_split
from brain_tumor.data.images import decode
from brain_tumor.files import cache_folder
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.features import FeatureCache
from brain_tumor.model.precision import autocast, resolve
from brain_tumor.model.winograd import WinogradConv2d
from brain_tumor.params import AugmentParams, Params, TrainParams, load_params
from brain_tumor.training.loss import PartialLabelLoss, balanced_weights
from brain_tumor.training.run import fit, pretrained
from brain_tumor.training.task import optimizer_of, scheduler_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path, nargs="?", default=Path("data/raw"), help="folder with the images")
    parser.add_argument("split", type=Path, nargs="?", default=Path("data/split.csv"), help="data/split.csv")
    parser.add_argument("--images", type=int, help="originals, a random sample; by default all")
    parser.add_argument("--epochs", type=int, help="by default train.epochs")
    parser.add_argument("--trainable", help="the layers that are trained, by default train.trainable")
    parser.add_argument("--weights", type=Path, default=cache_folder(), help="where downloaded weights are kept")
    parser.add_argument("--accelerator", choices=["cpu", "gpu"], default="cpu", help="gpu: how well it is used")
    parser.add_argument("--batch-size", type=int, help="with --accelerator gpu, by default train.batch_size")
    arguments = parser.parse_args()
    params = load_params()
    if arguments.accelerator == "gpu":
        on_gpu(params, arguments.batch_size or params.train.batch_size)
        return
    # Synthetic tumours are none of the plain loop's transforms, so neither side has them.
    params = params.model_copy(update={"augment": params.augment.model_copy(update={"synthetic_tumours": 0})})
    wanted = {"trainable": arguments.trainable, "epochs": arguments.epochs}
    values = params.train.model_dump() | {name: value for name, value in wanted.items() if value}
    train = TrainParams.model_validate(values | {"patience": values["epochs"]})
    split = read_split(arguments.split)
    if arguments.images:
        split = split.sample(arguments.images, random_state=0).sort_index()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "weights").symlink_to((arguments.weights / "weights").resolve())
        first = timed("ours, empty cache", lambda: ours(folder, arguments.raw, split, params, train, fresh=True))
        other = train.model_copy(update={"learning_rate": train.learning_rate * 0.7})
        again = timed("ours, rerun", lambda: ours(folder, arguments.raw, split, params, other, fresh=False))
        arrays = open_arrays(folder / "arrays")
        plain = timed(
            "plain loop", lambda: plain_loop(arrays, arguments.raw, split, params.augment, train, params.seed, folder)
        )
    print(f"{len(arrays.train):,} training images, {train.epochs} epochs, {os.cpu_count()} cores")
    print(f"{train.backbone}, trained: {train.trainable}")
    print(f"faster from an empty cache: {plain / first:.1f} times; on a rerun: {plain / again:.1f} times")


def on_gpu(params: Params, batch_size: int) -> None:
    """How well a GPU is used, printed; exit status 2 where there is none."""
    if not torch.cuda.is_available():
        print("error: --accelerator gpu: torch finds no GPU on this machine", file=sys.stderr)
        sys.exit(2)
    train = params.train.model_copy(update={"batch_size": batch_size, "precision": "bf16"})
    print(measure(open_arrays(Path("data/arrays")), train, params.seed, torch.device("cuda")))


def timed(name: str, work: Callable[[], float]) -> float:
    """Seconds that the work takes, printed with the validation accuracy that it returns."""
    start = time.perf_counter()
    accuracy = work()
    seconds = time.perf_counter() - start
    print(f"{name:20} {seconds:8.1f} s  validation accuracy {accuracy:.4f}", flush=True)
    return seconds


def ours(folder: Path, raw: Path, split: pd.DataFrame, params: Params, train: TrainParams, fresh: bool) -> float:
    """Validation accuracy of the best epoch."""
    if fresh:
        pack(raw, split, "0" * 64, params.augment, params.seed, folder / "arrays")
    cache = FeatureCache(folder / "features", limit=10**12)
    history = fit(open_arrays(folder / "arrays"), train, params.seed, cache, folder).history
    return float(history.loc[history["val_loss"].idxmin(), "val_accuracy"])


class Images(Dataset[tuple[torch.Tensor, int]]):
    """Files, decoded and augmented anew at each access."""

    def __init__(self, raw: Path, rows: pd.DataFrame, params: AugmentParams, augmented: bool) -> None:
        self.paths = [raw / path for path in rows["path"]]
        self.labels = [CLASSES.index(name) for name in rows["class"]]
        self.reader = reader_of(params)
        self.transform = policy(params) if augmented else None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        image, _ = self.reader.prepare(decode(self.paths[row]))
        if self.transform is not None:
            image = self.transform(image=image)["image"]
        return torch.from_numpy(image), self.labels[row]


def plain_loop(
    arrays: Arrays, raw: Path, split: pd.DataFrame, augmentation: AugmentParams, params: TrainParams, seed: int,
    weights: Path,
) -> float:  # fmt: skip
    """Validation accuracy of the epoch with the lowest validation loss."""
    torch.manual_seed(seed)
    classifier = with_plain_convolutions(pretrained(params, arrays, seed, weights))
    rows = {name: split[split["split"] == name].reset_index(drop=True) for name in (TRAIN, VALIDATION)}
    counts = augmented_per_image(
        rows[TRAIN]["class"], augmentation.per_image, augmentation.balance, np.random.default_rng(seed)
    )
    train = Images(raw, rows[TRAIN].iloc[np.repeat(np.arange(len(counts)), counts + 1)], augmentation, True)
    workers = {"num_workers": os.cpu_count() or 1, "persistent_workers": True, "prefetch_factor": 4}
    loader = DataLoader(train, params.batch_size, shuffle=True, drop_last=True, **workers)
    validation = DataLoader(Images(raw, rows[VALIDATION], augmentation, False), params.batch_size, **workers)

    optimizer = optimizer_of(classifier, params)
    scheduler = scheduler_of(optimizer, params, params.epochs * len(loader))
    class_weights = balanced_weights(torch.tensor(train.labels))
    loss = PartialLabelLoss(class_weights, params.label_smoothing)
    best = (float("inf"), 0.0)
    for _ in range(params.epochs):
        classifier.train()
        for pixels, labels in loader:
            with autocast(resolve(params.precision)):
                with torch.no_grad():
                    features = classifier.front(pixels)
                logits = classifier.tail(features)
            optimizer.zero_grad(set_to_none=True)
            (loss(logits.float(), labels) / len(labels)).backward()
            optimizer.step()
            scheduler.step()
        best = min(best, evaluate(classifier, validation, resolve(params.precision)))
    return best[1]


def with_plain_convolutions(classifier: Classifier) -> Classifier:
    """The same network with torch's own convolutions."""
    for module in classifier.modules():
        if isinstance(module, WinogradConv2d):
            module.__class__ = nn.Conv2d
    return classifier


@torch.inference_mode()
def evaluate(
    classifier: Classifier, loader: DataLoader[tuple[torch.Tensor, int]], precision: str
) -> tuple[float, float]:
    """Mean loss and accuracy."""
    classifier.eval()
    total, correct, count = 0.0, 0, 0
    for pixels, labels in loader:
        with autocast(precision):
            logits = classifier(pixels).float()
        total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(1) == labels).sum())
        count += len(labels)
    return total / count, correct / count


if __name__ == "__main__":
    main()
