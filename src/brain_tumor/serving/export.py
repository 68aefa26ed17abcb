"""`brain-tumor export`: a trained model as ONNX, which needs no torch to run."""

import argparse
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import nncf
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from brain_tumor.data.arrays import SplitArrays, open_arrays
from brain_tumor.data.images import Pixels
from brain_tumor.errors import UserError
from brain_tumor.evaluation.ood import Novelty, fit, threshold
from brain_tumor.files import atomic_file
from brain_tumor.model.classifier import LINEAR_HEADS, Classifier, load_classifier
from brain_tumor.serving.onnx_model import INPUT, METADATA_KEY, OUTPUTS, Engine, Exported

BATCH = 16

TRAINING_SAMPLE = 1500
"""So many training images, evenly spaced, tell what training images are like."""

CALIBRATION_SAMPLE = 300
"""So many validation images, evenly spaced, tell the range of the activations."""


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
    """Write a model that takes uint8 grey images and gives probabilities, maps and novelty (`exported.Outputs`).

    Args:
        classifier: with a head of `LINEAR_HEADS`, in evaluation mode.
        train: its originals tell what training images are like.
        validation: sets the threshold of novelty, and calibrates INT8.
        path: of the ONNX file, which holds everything, a description (`exported.Exported`) too.
        int8: quantise the trunk's convolutions, weights by channel.

    Raises:
        UserError: another head, or arrays of another size than the model's.
    """
    size = classifier.description.reader.size
    if train.images.shape[1:] != (size, size):
        raise UserError(f"the arrays are of {train.images.shape[1]} pixels a side, the model of {size}: augment again")
    originals = np.flatnonzero(train.index["augmented"] == 0)
    sample = originals[_evenly(len(originals), TRAINING_SAMPLE)]
    novelty = fit(
        in_distribution_features(classifier, train.images[sample]),
        in_distribution_features(classifier, validation.images),
    )
    model = to_onnx(classifier, novelty)
    if int8:
        model = quantise(model, validation.images[_evenly(len(validation), CALIBRATION_SAMPLE)])
    with atomic_file(path) as temporary:
        # Rounding moves the distances, so the threshold is set on those of the model that is written.
        save(model, describe(classifier, novelty.threshold, "int8" if int8 else "fp32"), temporary)
        distances = _distances(Engine(temporary), validation.images)
        save(model, describe(classifier, threshold(distances), "int8" if int8 else "fp32"), temporary)


def describe(classifier: Classifier, novelty_threshold: float, precision: Literal["fp32", "int8"]) -> Exported:
    """What prediction must know, taken from the classifier's own description."""
    description = classifier.description
    return Exported(
        classes=description.classes,
        reader=description.reader,
        prediction_sets=description.prediction_sets,
        novelty_threshold=novelty_threshold,
        precision=precision,
        study=description.study,
    )


def save(model: onnx.ModelProto, exported: Exported, path: Path) -> None:
    """Write the model with its description as metadata."""
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=exported.model_dump_json())
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


class ExportGraph(nn.Module):
    """The classifier with everything that prediction wants of it, as one graph.

    The head is linear in the average of the activations once batch normalisation is folded in, so its class
    activation maps (Zhou et al. 2016) are a 1 x 1 convolution, and the logits less their bias are sums over the maps.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    root: Tensor

    def __init__(self, classifier: Classifier, novelty: Novelty) -> None:
        """Raises: UserError for another head than `LINEAR_HEADS`."""
        super().__init__()
        if classifier.description.head not in LINEAR_HEADS:
            wanted = " or ".join(sorted(LINEAR_HEADS))
            raise UserError(
                f"train.head is {classifier.description.head}: only a model with the head {wanted} is exported"
            )
        self.classifier = classifier
        weight, bias = folded_head(classifier)
        self.temperature = classifier.description.temperature
        self.register_buffer("weight", weight[:, :, None, None])
        self.register_buffer("bias", bias)
        self.register_buffer("mean", torch.from_numpy(novelty.mean))
        self.register_buffer("root", torch.from_numpy(novelty.precision_root))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities, maps and novelty of uint8 images (images, height, width)."""
        logits, maps, middle = self.parts(images)
        unit = nn.functional.normalize(middle, dim=1)
        novelty = ((unit - self.mean) @ self.root).square().mean(dim=1).sqrt()
        return torch.softmax(logits / self.temperature, dim=1), maps, novelty

    def parts(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (images, classes), maps (images, classes, h, w), and features for novelty (images, features)."""
        with Middle(self.classifier) as middle:
            activations = self.classifier.activations(self.classifier.front(images))  # (images, channels, h, w)
        places = activations.shape[2] * activations.shape[3]
        maps = nn.functional.conv2d(activations, self.weight) / places
        return maps.sum(dim=(2, 3)) + self.bias, maps, spread(middle.activations)


class Middle:
    """Keeps what the trunk gives in front of its last block, while the classifier runs. Used with `with`.

    There a picture is told from one of another kind much better than by the last activations, which keep little but
    what tells the classes apart.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._module = classifier.trunk[classifier.backbone.last - 1]
        self._output: Tensor | None = None

    def __enter__(self) -> Self:
        self._handle = self._module.register_forward_hook(self._keep)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    @property
    def activations(self) -> Tensor:
        """(images, channels, h, w), of the latest run."""
        if self._output is None:
            raise ValueError("nothing was run")
        return self._output

    def _keep(self, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        self._output = output


def spread(activations: Tensor) -> Tensor:
    """Standard deviations over the places, (images, channels).

    They tell pictures of other things at least as well as averages do, and take fewer heads of another hospital for
    something else (benchmarks/novelty.py).
    """
    return activations.std(dim=(2, 3), correction=0)


def folded_head(classifier: Classifier) -> tuple[Tensor, Tensor]:
    """Weights (classes, channels) and bias (classes,) of the linear map that the head is in evaluation mode."""
    normalisation = next(module for module in classifier.head.modules() if isinstance(module, nn.BatchNorm1d))
    linear = next(module for module in classifier.head.modules() if isinstance(module, nn.Linear))
    mean, variance = normalisation.running_mean, normalisation.running_var
    if mean is None or variance is None:
        raise ValueError("batch normalisation without running statistics cannot be folded")
    scale = normalisation.weight / torch.sqrt(variance + normalisation.eps)
    weight = linear.weight * scale
    bias = linear.bias + linear.weight @ (normalisation.bias - mean * scale)
    return weight.detach(), bias.detach()


def to_onnx(classifier: Classifier, novelty: Novelty) -> onnx.ModelProto:
    """The graph in full precision, for any number of images."""
    size = classifier.description.reader.size
    graph = ExportGraph(classifier, novelty).eval().to(memory_format=torch.contiguous_format)
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
    """Quantise the trunk's convolutions to INT8; normalisation, maps and novelty stay in full precision.

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
def in_distribution_features(classifier: Classifier, images: Pixels) -> NDArray[np.float32]:
    """What novelty is measured on: the spread of activations in front of the trunk's last block, (images, channels)."""
    parts = []
    for start in range(0, len(images), BATCH):
        with Middle(classifier) as middle:
            classifier.trunk[: classifier.backbone.last](
                classifier.normalise(torch.from_numpy(np.array(images[start : start + BATCH])))
            )
        parts.append(spread(middle.activations))
    features: NDArray[np.float32] = torch.cat(parts).float().numpy()
    return features


def _distances(engine: Engine, images: Pixels) -> NDArray[np.float32]:
    starts: Sequence[int] = range(0, len(images), BATCH)
    return np.concatenate([engine.run(np.array(images[start : start + BATCH])).novelty for start in starts])


def _evenly(total: int, wanted: int) -> NDArray[np.int64]:
    """At most `wanted` rows of `total`, evenly spaced, the same each time."""
    return np.unique(np.linspace(0, total - 1, min(total, wanted)).round().astype(np.int64))
