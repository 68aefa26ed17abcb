"""Put the model of the last run into release/, with its card; replaces what is there.

    python scripts/release.py                        # release/model.onnx, which is used where no other is named
    python scripts/release.py --name vgg16 --int8    # release/vgg16.onnx, a quarter the size

Run after `dvc repro`, or after `dvc exp run` with other parameters, which the card names.
"""

from brain_tumor.stage import stage

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from model_card import Study, card, changes
from numpy.typing import NDArray
from ruamel.yaml import YAML

from brain_tumor.data.arrays import SplitArrays, open_arrays
from brain_tumor.data.catalog import CLASSES, read_split
from brain_tumor.errors import UserError
from brain_tumor.evaluation.external import external_table
from brain_tumor.evaluation.tables import Predictions, class_table, subset_table, subsets_of
from brain_tumor.files import write_text
from brain_tumor.model.classifier import load_classifier
from brain_tumor.model.features import open_cache
from brain_tumor.model.predict import probabilities
from brain_tumor.params import load_params
from brain_tumor.serving.export import BATCH, export
from brain_tumor.serving.onnx_model import Engine
from brain_tumor.split.protocols import joined_by_patient

MODEL = Path("models/model.safetensors")
RELEASE = Path("release")

MOST_LOST, MOST_LOST_BY_CLASS = 0.003, 0.01
"""Accuracy, and recall of a class, that the released file may lose against the network as trained."""

MOST_BYTES = 25_000_000
"""Of the model, which stays in git for good."""


@stage
def main() -> None:
    arguments = parse_arguments()
    revision = clean_revision()
    arrays, split = open_arrays(Path("data/arrays")), read_split(Path("data/split.csv"))
    classifier = load_classifier(MODEL)
    candidate = Path("build/release.onnx")
    export(classifier, arrays.train, arrays.validation, candidate, int8=arguments.int8)
    if not candidate.stat().st_size < MOST_BYTES:
        raise UserError(f"{candidate} has {candidate.stat().st_size:,} bytes, too many for git: not released")
    full = predictions(probabilities(classifier, arrays.test.images, open_cache()), arrays.test, split)
    answers, ood = run(candidate, arrays.test)
    scored, shares = predictions(answers, arrays.test, split), {"test": ood.mean()}
    check_loss(scored, full)
    of_external, collections = None, []
    if arrays.external is not None:
        answers, ood = run(candidate, arrays.external)
        of_external = predictions(answers, arrays.external, split)
        collections = arrays.external.index["path"].str.split("/").str[1].tolist()
        shares |= {str(name): share for name, share in ood.groupby(collections).mean().items()}
    released, about = RELEASE / f"{arguments.name}.onnx", RELEASE / f"{arguments.name.upper()}_CARD.md"
    released.parent.mkdir(exist_ok=True)
    candidate.replace(released)
    text = card(
        released,
        Study(revision, *parameters(), arguments.int8),
        subset_table(scored, subsets_of(arrays.test.index["path"], scored, split, set())),
        class_table(scored).query("score == 'sensitivity'"),
        external_table(of_external, collections),
        full,
        scored,
        shares,
    )
    write_text(about, text)
    print(f"{released}: {released.stat().st_size / 1e6:.1f} MB; {about}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="model", help="of the released files (default: %(default)s)")
    parser.add_argument("--int8", action="store_true", help="whole numbers of 8 bits in place of full precision")
    return parser.parse_args()


def parameters() -> tuple[Mapping[str, Any], list[str]]:
    """Those of the run, and those of them that are not as in the commit."""
    yaml = YAML(typ="safe", pure=True)
    run, committed = yaml.load(Path("params.yaml")), yaml.load(git("show", "HEAD:params.yaml"))
    return run, changes(committed, run)


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def clean_revision() -> str:
    """The commit whose code made the model.

    Raises:
        UserError: code that is not committed, or a model that is not the one in dvc.lock.
    """
    status = git("status", "--porcelain", "--", "dvc.yaml", "src", "stages")
    if status:
        raise UserError(f"not committed: {', '.join(line[3:] for line in status.splitlines())}: commit first")
    dvc = [sys.executable, "-m", "dvc", "status", "--quiet", "train", "evaluate"]
    if subprocess.run(dvc, check=False).returncode:
        raise UserError("the model is not that of dvc.lock: run dvc repro first")
    return git("rev-parse", "HEAD").strip()


def run(path: Path, images: SplitArrays) -> tuple[NDArray[np.float64], pd.Series]:
    """Probabilities by an exported model, (images, classes), and for each image whether it is OOD."""
    engine = Engine(path)
    outputs = [engine.run(np.array(images.images[start : start + BATCH])) for start in range(0, len(images), BATCH)]
    distances = np.concatenate([output.ood_distances for output in outputs])
    answers = np.concatenate([output.probabilities for output in outputs]).astype(np.float64)
    return answers, pd.Series(distances > engine.exported.ood_threshold)


def predictions(answers: NDArray[np.float64], images: SplitArrays, split: pd.DataFrame) -> Predictions:
    """With groups of duplicates that are joined by patient, as `split` has them."""
    groups = images.index["path"].map(joined_by_patient(split).set_axis(split["path"])).to_numpy(str)
    return Predictions(answers, images.labels, CLASSES, groups, load_params().seed)


def check_loss(scored: Predictions, full: Predictions) -> None:
    """Raises: UserError where the export loses more than is allowed."""
    before, after = full.correct.mean(), scored.correct.mean()
    if before - after > MOST_LOST:
        raise UserError(f"the export takes accuracy from {before:.2%} to {after:.2%}: not released")
    for label, name in enumerate(scored.classes):
        members = scored.labels == label
        before, after = full.correct[members].mean(), scored.correct[members].mean()
        if before - after > MOST_LOST_BY_CLASS:
            raise UserError(
                f"the export takes the sensitivity for {name} from {before:.2%} to {after:.2%}: not released"
            )


if __name__ == "__main__":
    main()
