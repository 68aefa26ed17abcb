"""Do maps depend on what was learned? Cascading randomisation of weights.

Source: Adebayo et al., Sanity Checks for Saliency Maps, 2018, section 3.1.
"""

import copy
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import nn

from brain_tumor.data.images import Pixels
from brain_tumor.explanation.gradcam import grad_cam
from brain_tumor.explanation.heat import Heat, normalise, upsample
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.precision import autocast

BATCH = 16
"""Images that pass the whole network together; the first layers of VGG16 need some 40 MB for each."""

STEPS = 8
"""At most so many measurements; a deeper network has several layers randomised between two."""

ORIGINAL, OTHER = "nothing", "map of another image"


def layers_with_weights(classifier: Classifier) -> list[tuple[str, nn.Module]]:
    """Name and module of every layer with weights of its own, from the pixels to the logits."""
    # A bias alone, as the class map has beside its layers, moves no map.
    return [
        (name, module)
        for name, module in classifier.named_modules()
        if "weight" in dict(module.named_parameters(recurse=False))
    ]


def cascade(classifier: Classifier, seed: int) -> Iterator[tuple[int, str, Classifier]]:
    """Randomise layer after layer from the logits down, each as before training.

    Args:
        classifier: is left alone.
        seed: of the random weights; the state of torch's own generator is kept.

    Yields:
        How many layers are random, the name of the lowest of them, and the network: one object, changed from step to
        step. First the network as it is.
    """
    changed = copy.deepcopy(classifier)
    layers = layers_with_weights(changed)[::-1]
    yield 0, ORIGINAL, changed
    done = 0
    for numbers in np.array_split(np.arange(len(layers)), min(STEPS, len(layers))):
        for number in numbers:
            _randomise(layers[number][1], seed + int(number))
        done += len(numbers)
        yield done, layers[done - 1][0], changed


def randomization_curve(
    classifier: Classifier, images: Pixels, targets: NDArray[np.int64], method: str, seed: int
) -> pd.DataFrame:
    """How similar maps stay while the network is randomised from the logits down.

    Args:
        classifier: in evaluation mode.
        images: (images, size, size), at least 1.
        targets: (images,), the class explained for each image, the same at every step.
        method: one of `METHODS`.
        seed: of the random weights.

    Returns:
        A row a step: `step`, how many layers are random, `layer`, the lowest of them, and mean similarities, `ssim` and
        `rank_correlation`. The last row, `OTHER`, has no step but the similarity of maps of different images of the
        untouched network: what is left when a map says nothing about its image; NaN for a single image.
    """
    rows: list[tuple[int | None, str, float, float]] = []
    for step, layer, network in cascade(classifier, seed):
        maps = maps_from_pixels(network, images, targets, method)
        if step == 0:
            original = maps
        rows.append((step, layer, *similarity(original, maps, images.shape[1])))
    exchanged = similarity(original, np.roll(original, 1, axis=0), images.shape[1])
    rows.append((None, OTHER, *(exchanged if len(images) > 1 else (np.nan, np.nan))))
    return pd.DataFrame(rows, columns=["step", "layer", "ssim", "rank_correlation"]).astype({"step": "Int64"})


def randomization_summary(table: pd.DataFrame) -> dict[str, object]:
    """From `randomization_curve`: the similarity with every layer random, and that of maps of different images."""
    last, floor = table[table["layer"] != OTHER].iloc[-1], table[table["layer"] == OTHER].iloc[0]
    return {
        measure: {"all_random": round(float(last[measure]), 4), "other_image": round(float(floor[measure]), 4)}
        for measure in ("ssim", "rank_correlation")
    }


def similarity(first: Heat, second: Heat, size: int) -> tuple[float, float]:
    """Mean structural similarity and mean rank correlation of pairs of maps.

    Args:
        first: (images, height, width), at least 0.
        second: likewise.
        size: pixels a side to which maps are scaled for the structural similarity.

    Returns:
        SSIM (Wang et al. 2004) of the maps scaled to 0..1 by their own maximum, -1 to 1; and Spearman's correlation of
        the maps' cells, -1 to 1, which is 0 where just one map is constant and so has no order.
    """
    scaled = [normalise(upsample(maps, size)) for maps in (first, second)]
    structure = [
        structural_similarity(*pair, data_range=1.0)  # type: ignore[no-untyped-call]
        for pair in zip(*scaled, strict=True)
    ]
    ranks = [_rank_correlation(*pair) for pair in zip(first, second, strict=True)]
    return float(np.mean(structure)), float(np.mean(ranks))


def maps_from_pixels(classifier: Classifier, images: Pixels, targets: NDArray[np.int64], method: str) -> Heat:
    """Maps (images, height, width) of a network whose frozen layers are in no cache."""
    maps = []
    for start in range(0, len(images), BATCH):
        pixels, chosen = (torch.from_numpy(np.array(values[start : start + BATCH])) for values in (images, targets))
        with torch.no_grad(), autocast(classifier.description.precision):
            features = classifier.front(pixels)
        if classifier.cut:
            features = features.float()
        maps.append(grad_cam(classifier.activations, classifier.classify, features, chosen, method))
    return np.concatenate(maps)


def _randomise(layer: nn.Module, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(layer, nn.Conv2d):  # torch's own start values fade from layer to layer
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        else:
            layer.reset_parameters()  # type: ignore[operator]


def _rank_correlation(first: Heat, second: Heat) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float(np.ptp(first) == np.ptp(second))
    return float(spearmanr(first, second, axis=None).statistic)
