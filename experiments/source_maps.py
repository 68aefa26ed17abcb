"""Grad-CAM of two networks of sources.py on the same held-back pictures: without any measure, and with all of them.

    python experiments/source_maps.py

after sources.py, in the same folder. The pictures are chosen by the digest of their path, one of each group of copies.
"""

import hashlib
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure

from brain_tumor.data.catalog import CLASSES, HEALTHY
from brain_tumor.data.images import Pixels, decode
from brain_tumor.explanation.gradcam import grad_cam
from brain_tumor.explanation.heat import normalise, upsample
from brain_tumor.figures.maps import blend
from brain_tumor.figures.style import save
from brain_tumor.model.classifier import Classifier, load_classifier

RAW = Path("data/raw")
MODELS = Path("build/sources")
HELD_BACK = MODELS / "external.csv"
SHEET = Path("experiments/source_maps.png")
SEED = 17
NETWORKS = {"no measure": "baseline", "all measures": "black background"}
"""What the sheet calls a network, and the measure that sources.py added last."""

PICTURES = 10
TUMOURS = [label for label, name in enumerate(CLASSES) if name != HEALTHY]


def main() -> None:
    networks = {title: load_classifier(MODELS / f"{name}, {SEED}.safetensors") for title, name in NETWORKS.items()}
    save(sheet([decode(path) for path in chosen()], networks), SHEET)


def chosen() -> list[Path]:
    """Files of held-back tumours, as sources.py split them."""
    held_back = pd.read_csv(HELD_BACK).drop_duplicates("group")["path"]
    by_digest = sorted(held_back, key=lambda path: hashlib.sha256(path.encode()).digest())
    return [RAW / path for path in by_digest[:PICTURES]]


def sheet(pictures: list[Pixels], networks: dict[str, Classifier]) -> Figure:
    """A column a picture, a row a network: the map of its most probable tumour, and how sure it is of any tumour."""
    figure = Figure((1.5 * len(pictures), 1.9 * len(networks)), layout="constrained")
    axes = figure.subplots(len(networks), len(pictures), squeeze=False)
    for row, (title, classifier) in zip(axes, networks.items(), strict=True):
        row[0].set_ylabel(title)
        for place, picture in zip(row, pictures, strict=True):
            seen, _ = classifier.description.reader.prepare(picture)
            tumour, image = explained(classifier, seen)
            place.imshow(image)
            place.set(xticks=[], yticks=[], title=f"tumour {tumour:.0%}")
    return figure


def explained(classifier: Classifier, seen: Pixels) -> tuple[float, Pixels]:
    """The probability of any tumour, and the picture under the map of the most probable one."""
    with torch.inference_mode():
        features = classifier.front(torch.tensor(seen[None]))
        probabilities = torch.softmax(classifier.tail(features)[0], dim=0)
    target = torch.tensor([max(TUMOURS, key=lambda label: float(probabilities[label]))])
    maps = grad_cam(classifier.activations, classifier.classify, features.clone(), target)
    heat = normalise(upsample(maps, len(seen)))[0]
    return float(probabilities[TUMOURS].sum()), blend(seen, heat)


if __name__ == "__main__":
    main()
