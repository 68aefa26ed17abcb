"""Pretrained weights on their way into a classifier."""

from pathlib import Path

from torch import Tensor
from torchvision import models

from brain_tumor.errors import UserError
from brain_tumor.model.classifier import PRETRAINED_HEAD_LAYERS, Classifier, read_safetensors
from brain_tumor.model.weight_packages import LITE0, VGG16_CONVOLUTIONS, package_tensors, with_idle_normalisations


def initialise(classifier: Classifier, weights: str, cache: Path) -> None:
    """Fill trunk and, where the head has pretrained layers, head.

    Args:
        classifier: its weights are replaced.
        weights: `imagenet`, one of `VGG16_CONVOLUTIONS`, `none` (stay random), or the path of a `.safetensors` file
            under the names of torchvision, for `efficientnet_lite0` of timm.
        cache: folder where downloaded weights are kept.

    Raises:
        UserError: weights that cannot be had, are damaged, or do not fit the network.
    """
    backbone = classifier.description.backbone
    if weights == "none":
        return
    if weights == "imagenet":
        tensors = package_tensors(LITE0, cache) if backbone == "efficientnet_lite0" else imagenet_weights(backbone)
    elif weights in VGG16_CONVOLUTIONS:
        if backbone not in ("vgg16", "vgg16_bn"):
            raise UserError(f"train.weights: {weights} is for vgg16 and vgg16_bn, not for {backbone}")
        tensors = package_tensors(VGG16_CONVOLUTIONS[weights], cache)
        if backbone == "vgg16_bn":
            tensors = with_idle_normalisations(tensors)
    else:
        tensors, _ = read_safetensors(Path(weights))
    _fill(classifier, tensors, weights)


def imagenet_weights(backbone: str) -> dict[str, Tensor]:
    """torchvision's own ImageNet weights, downloaded by torchvision and kept in its cache.

    Raises:
        UserError: the download failed.
    """
    try:
        weights = models.get_model_weights(backbone).DEFAULT
        tensors: dict[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"train.weights: imagenet cannot be downloaded ({error}): use imagenet_convolutions or a .safetensors file"
        ) from None
    return tensors


def _fill(classifier: Classifier, tensors: dict[str, Tensor], source: str) -> None:
    """Copy by name; every pretrained layer of the network must be there with its shape."""
    wanted = {
        f"{theirs}.{name}": target
        for theirs, module in zip(classifier.backbone.modules, classifier.trunk, strict=True)
        for name, target in module.state_dict().items()
    }
    for theirs, ours in PRETRAINED_HEAD_LAYERS[classifier.description.head].items():
        for name, target in classifier.head.get_submodule(ours).state_dict().items():
            wanted[f"{theirs}.{name}"] = target
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise UserError(
            f"train.weights: {source} has no {missing[0]} ({len(missing)} of {len(wanted)} tensors are missing), "
            f"which train.head: {classifier.description.head} needs"
        )
    for name, target in wanted.items():
        if tensors[name].shape != target.shape:
            raise UserError(
                f"train.weights: {source}: {name} has shape {tuple(tensors[name].shape)}, "
                f"the network needs {tuple(target.shape)}"
            )
        target.copy_(tensors[name])
