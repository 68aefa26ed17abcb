"""What tells a picture of something else from a head of another hospital: averages of activations, or deviations.

Pictures of something else are those that come with scikit-image, scikit-learn and pydicom (photographs, textures, CT,
ultrasound, MR of other parts), empty ones and noise. Heads of another source are the half of Br35H that is not held
back. The threshold lets 99 % of validation pass, as `export` sets it. Run from the project's root after `dvc repro
augment` with `download.additional: [br35h]`.

    python benchmarks/novelty.py models/model.safetensors
"""

import argparse
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import skimage.data
import torch
from numpy.typing import NDArray
from pydicom.data.data_manager import DATA_ROOT
from pydicom.errors import InvalidDicomError
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score
from torch import Tensor

from brain_tumor.data.arrays import open_arrays
from brain_tumor.data.catalog import read_split
from brain_tumor.data.formats.pixels import to_grey
from brain_tumor.data.images import Pixels, prepare_images
from brain_tumor.errors import UserError
from brain_tumor.evaluation.ood import fit
from brain_tumor.model.classifier import Classifier, load_classifier
from brain_tumor.serving.export import BATCH, Middle, spread
from brain_tumor.split.protocols import NOT_TRAINED_ON
from brain_tumor.stage import stage

WITH_SCIKIT_IMAGE = (
    *("chelsea", "astronaut", "camera", "coffee", "rocket", "coins", "moon", "brick", "text", "page", "retina"),
    *("cell", "colorwheel", "clock", "immunohistochemistry", "gravel", "grass", "microaneurysms"),
)
WINDOWS = ((40, 80), (40, 120), (35, 200), (50, 350), (300, 1500))
"""Of a head in CT: centre and width in Hounsfield units."""


def both(activations: Tensor) -> Tensor:
    return torch.cat([activations.mean(dim=(2, 3)), spread(activations)], dim=1)


STATISTICS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "averages": lambda activations: activations.mean(dim=(2, 3)),
    "deviations": spread,
    "both": both,
}


@stage
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    classifier = load_classifier(parser.parse_args().model)
    arrays, split = open_arrays(Path("data/arrays")), read_split(Path("data/split.csv"))
    reader = classifier.description.reader
    further = split.loc[split["reason"] == NOT_TRAINED_ON, "path"]
    if further.empty:
        raise UserError(
            "data/split.csv has no further pictures: run dvc repro augment with download.additional: [br35h]"
        )
    other = {image.tobytes(): (name, image) for name, image in pictures()}  # files of one picture count once
    parts = {
        "train": arrays.train.images[np.flatnonzero(arrays.train.index["augmented"] == 0)],
        "validation": arrays.validation.images,
        "further": prepare_images([Path("data/raw") / path for path in further], reader)[0],
        "other": np.stack([reader.prepare(image)[0] for _, image in other.values()]),
    }
    values = {name: statistics(classifier, images) for name, images in parts.items()}
    names = [name for name, _ in other.values()]
    rows = [row(statistic, {part: of[statistic] for part, of in values.items()}, names) for statistic in STATISTICS]
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3f}".format))


def row(statistic: str, of: Mapping[str, NDArray[np.float32]], names: Sequence[str]) -> dict[str, Any]:
    """How a statistic tells other pictures from further heads.

    Args:
        statistic: its name.
        of: its values by part, (images, features).
        names: of the other pictures.
    """
    novelty = fit(of["train"], of["validation"])
    head, thing = novelty.distances(of["further"]), novelty.distances(of["other"])
    labels = np.repeat([0, 1], [len(head), len(thing)])
    taken = [name for name, distance in zip(names, thing, strict=True) if distance <= novelty.threshold]
    return {
        "statistic": statistic,
        "further heads not like the training images": (head > novelty.threshold).mean(),
        "AUROC of other pictures": roc_auc_score(labels, np.concatenate([head, thing])),
        "other pictures": len(thing),
        "taken for a head": ", ".join(taken),
    }


@torch.inference_mode()
def statistics(classifier: Classifier, images: Pixels) -> dict[str, NDArray[np.float32]]:
    """Each of `STATISTICS` of the activations in front of the trunk's last block, (images, features)."""
    parts: dict[str, list[Tensor]] = {name: [] for name in STATISTICS}
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(np.array(images[start : start + BATCH]))
        with Middle(classifier) as middle:
            classifier.trunk[: classifier.backbone.last](classifier.normalise(batch))
        for name, statistic in STATISTICS.items():
            parts[name].append(statistic(middle.activations))
    return {name: torch.cat(values).float().numpy() for name, values in parts.items()}


def pictures() -> Iterator[tuple[str, Pixels]]:
    """Grey pictures of something else, (height, width), by name."""
    for name in WITH_SCIKIT_IMAGE:
        yield name, grey(np.asarray(getattr(skimage.data, name)()))
    for number, image in enumerate(load_sample_images().images):
        yield f"photograph {number}", grey(image)
    for value in (0, 60, 128, 255):
        yield f"all {value}", np.full((256, 256), value, np.uint8)
    rng = np.random.default_rng(0)
    yield "noise", rng.integers(0, 256, (256, 256), dtype=np.uint8)
    yield "dark noise", rng.integers(0, 12, (256, 256), dtype=np.uint8)
    yield "ramp", np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    yield from dicom_pictures()


def dicom_pictures() -> Iterator[tuple[str, Pixels]]:
    """Those of pydicom's test files that lie beside it and are a picture; a head in CT in several windows."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it says at length why it refuses what is left out
    for file in sorted((Path(DATA_ROOT) / "test_files").glob("*.dcm")):
        try:
            data = pydicom.dcmread(file)
            values = data.pixel_array
        except (InvalidDicomError, AttributeError, ValueError, NotImplementedError, RuntimeError):
            continue  # files that show what a reader must refuse
        if values.ndim != 2 or min(values.shape) < 32 or np.ptp(values) == 0:
            continue
        name = f"{data.Modality} {file.stem}"
        if file.stem == "693_J2KI":
            values = values * float(data.RescaleSlope) + float(data.RescaleIntercept)
            for centre, width in WINDOWS:
                yield f"{name} {centre} {width}", to_grey(values, centre - width / 2, centre + width / 2)
        else:
            yield name, to_grey(values, *np.percentile(values, (0.5, 99.5)))


def grey(image: NDArray[np.generic]) -> Pixels:
    """A colour picture's mean over its channels, a grey one as it is."""
    return np.asarray(image.mean(axis=2) if image.ndim == 3 else image, np.uint8)


if __name__ == "__main__":
    main()
