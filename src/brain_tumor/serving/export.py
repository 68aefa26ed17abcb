"""`brain-tumor export`: a trained model as ONNX, which needs no torch to run."""

import argparse
import copy
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import nncf
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from brain_tumor.data.arrays import SplitArrays, open_arrays
from brain_tumor.data.catalog import evenly_spaced
from brain_tumor.data.images import Pixels
from brain_tumor.errors import UserError
from brain_tumor.evaluation.ood import OodDetector, fit, threshold
from brain_tumor.files import atomic_file
from brain_tumor.model.class_map import ClassMapHead, evidence_of
from brain_tumor.model.classifier import Classifier, load_classifier
from brain_tumor.serving.onnx_model import INPUT, METADATA_KEY, OUTPUTS, Engine, Exported

BATCH = 16

TRAINING_SAMPLE, CALIBRATION_SAMPLE = 1500, 300
"""So many evenly spaced training images fit the detector; so many validation images tell the range of activations."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `brain-tumor export`."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .safetensors file of the train stage")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the ONNX file to write")
    parser.add_argument("--int8", action="store_true", help="quantise the convolutions: a quarter the size, faster")
    parser.add_argument(
        "--calibration",
        type=Path,
        default=Path("data/arrays"),
        metavar="FOLDER",
        help="packed arrays that tell what the training images are like, and calibrate INT8 (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Export a model; returns the exit status."""
    arrays = open_arrays(args.calibration)
    export(load_classifier(args.model), arrays.train, arrays.validation, args.out, int8=args.int8)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")
    return 0


def export(classifier: Classifier, train: SplitArrays, validation: SplitArrays, path: Path, *, int8: bool) -> None:
    """Write a model that takes uint8 grey images and gives what `onnx_model.Outputs` holds.

    Args:
        classifier: with the head `class_map` or `pooled`, in evaluation mode.
        train: its originals tell what training images are like.
        validation: sets the threshold of the detector, and calibrates INT8.
        path: of the ONNX file, which holds its description (`onnx_model.Exported`) too.
        int8: quantise the trunk's convolutions, weights by channel.

    Raises:
        UserError: another head, or arrays of another size than the model's.
    """
    size = classifier.description.reader.size
    if train.images.shape[1:] != (size, size):
        raise UserError(f"the arrays are of {train.images.shape[1]} pixels a side, the model of {size}: augment again")
    originals = np.flatnonzero(train.index["augmented"] == 0)
    sample = originals[evenly_spaced(len(originals), TRAINING_SAMPLE)]
    model = to_onnx(classifier, fit(ood_features(classifier, train.images[sample])))
    if int8:
        model = quantise(model, validation.images[evenly_spaced(len(validation), CALIBRATION_SAMPLE)])
    copied = {"classes", "reader", "prediction_sets", "volume_threshold", "study"}
    known = classifier.description.model_dump(include=copied)
    exported = Exported(**known, ood_threshold=1.0, precision="int8" if int8 else "fp32")
    with atomic_file(path) as temporary:
        # Rounding moves the distances, so the threshold is set on those of the model as it is written.
        save(model, exported, temporary)
        engine = Engine(temporary)
        distances = np.concatenate([engine.run(batch).ood_distances for batch in _batches(validation.images)])
        save(model, exported.model_copy(update={"ood_threshold": threshold(distances)}), temporary)


def save(model: onnx.ModelProto, exported: Exported, path: Path) -> None:
    """Write the model with its description as metadata."""
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=exported.model_dump_json())
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


class ExportGraph(nn.Module):
    """The classifier with everything that prediction wants of it, as one graph.

    Class activation maps are a 1 x 1 convolution of the activations. With the head `pooled` (Zhou et al. 2016) the
    logits less their bias are sums over the maps; with `class_map` they are log-sum-exps over the evidence, which the
    maps are but for the number of cells.
    """

    weight: Tensor
    bias: Tensor
    constants: Tensor
    mean: Tensor
    root: Tensor

    def __init__(self, classifier: Classifier, detector: OodDetector) -> None:
        """Raises: UserError for a head that is neither `pooled` nor `class_map`."""
        super().__init__()
        self.classifier = classifier
        if isinstance(classifier.head, ClassMapHead):
            cells = nn.Sequential(classifier.neck, classifier.head.linear)
            weight, constants = folded(cells, classifier.backbone.channels)
            self.register_buffer("constants", constants[:, None, None])
            self.head: ClassMapHead | None = classifier.head
        elif classifier.description.head == "pooled":
            weight, bias = folded(classifier.head, classifier.backbone.channels)
            self.register_buffer("bias", bias)
            self.head = None
        else:
            head = classifier.description.head
            raise UserError(f"train.head is {head}: only models with the heads class_map and pooled are exported")
        self.temperature = classifier.description.temperature
        self.register_buffer("weight", weight[:, :, None, None])
        self.register_buffer("mean", torch.from_numpy(detector.mean))
        self.register_buffer("root", torch.from_numpy(detector.precision_root))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities, maps and distances of uint8 images (images, height, width)."""
        logits, maps, features = self.parts(images)
        unit = nn.functional.normalize(features, dim=1)
        distances = ((unit - self.mean) @ self.root).square().mean(dim=1).sqrt()
        return torch.softmax(logits / self.temperature, dim=1), maps, distances

    def parts(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (images, classes), maps (images, classes, h, w), and features (images, features) for the detector."""
        middle = before_last_block(self.classifier, images)
        activations = self.classifier.trunk[self.classifier.backbone.last :](middle)  # (images, channels, h, w)
        places = activations.shape[2] * activations.shape[3]
        products = nn.functional.conv2d(activations, self.weight)
        if self.head is None:
            maps = products / places
            return maps.sum(dim=(2, 3)) + self.bias, maps, spread(middle)
        cells = products + self.constants
        return self.head.pooled(cells), evidence_of(cells) / places, spread(middle)


def before_last_block(classifier: Classifier, images: Tensor) -> Tensor:
    """What the trunk gives in front of its last block, (images, channels, h, w), for uint8 images.

    It tells a picture of something else from a head much better than the last activations, which keep little but what
    tells the classes apart.
    """
    values: Tensor = classifier.trunk[: classifier.backbone.last](classifier.normalise(images))
    return values


def spread(activations: Tensor) -> Tensor:
    """Standard deviations over the places, (images, channels).

    They tell pictures of other things at least as well as averages do, and take fewer heads of another hospital for
    something else (benchmarks/README.md).
    """
    return activations.std(dim=(2, 3), correction=0)


def folded(head: nn.Sequential, channels: int) -> tuple[Tensor, Tensor]:
    """Weights (classes, channels) and constants (classes,) of what is affine in the channels of a cell."""
    exact = copy.deepcopy(head).double()  # the weights are differences from the constants
    with torch.no_grad():
        constants = exact(torch.zeros(1, channels, 1, 1, dtype=torch.float64)).flatten()
        units = exact(torch.eye(channels, dtype=torch.float64)[:, :, None, None]).flatten(1)  # (channels, classes)
    return (units - constants).T.float().contiguous(), constants.float()


def to_onnx(classifier: Classifier, detector: OodDetector) -> onnx.ModelProto:
    """The graph in full precision, for any number of images."""
    size = classifier.description.reader.size
    graph = ExportGraph(classifier, detector).eval().to(memory_format=torch.contiguous_format)
    example = torch.arange(2 * size * size).remainder(251).to(torch.uint8).view(2, size, size)
    check_maps(graph, example)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own deprecations
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1, max=4096)}},
        )
    if program is None:
        raise AssertionError("torch.onnx.export returned no program")
    model: onnx.ModelProto = program.model_proto
    for node in model.graph.node:  # the exporter notes where in which file a node comes from
        del node.metadata_props[:]
        node.doc_string = ""
    return model


@torch.inference_mode()
def check_maps(graph: ExportGraph, images: Tensor) -> None:
    """Raises: ValueError where the head is not linear in the average of the activations."""
    expected, logits = graph.classifier(images), graph.parts(images)[0]
    if not torch.allclose(expected, logits, rtol=1e-3, atol=1e-3):
        raise ValueError(f"logits {expected.tolist()}, but the maps sum to {logits.tolist()}: another kind of head")


def quantise(model: onnx.ModelProto, images: Pixels) -> onnx.ModelProto:
    """Quantise the trunk's convolutions to INT8; normalisation, maps and distances stay in full precision.

    Args:
        model: as `to_onnx` makes it.
        images: (images, size, size), grey values; they tell the range of the activations.
    """
    logging.getLogger("nncf").setLevel(logging.ERROR)
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    others = [node.name for node in model.graph.node if node.op_type not in ("Conv", "Relu", "MaxPool")]
    quantised: onnx.ModelProto = nncf.quantize(
        model,
        nncf.Dataset(list(images), lambda image: {INPUT: image[None]}),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(images),
        fast_bias_correction=True,
        ignored_scope=nncf.IgnoredScope(names=[*others, convolutions[-1]], validate=False),  # the last makes the maps
    )
    return quantised


@torch.inference_mode()
def ood_features(classifier: Classifier, images: Pixels) -> NDArray[np.float32]:
    """What the detector is fitted to: the spread of `before_last_block`, (images, channels)."""
    spreads = [spread(before_last_block(classifier, torch.from_numpy(batch))) for batch in _batches(images)]
    features: NDArray[np.float32] = torch.cat(spreads).float().numpy()
    return features


def _batches(images: Pixels) -> Iterator[Pixels]:
    """Copies of successive `BATCH` images, because those of a file are not writable."""
    for start in range(0, len(images), BATCH):
        yield np.array(images[start : start + BATCH])
