"""Batch normalisation in a network whose pretrained weights know none."""

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from brain_tumor.model.classifier import Classifier


def trained_normalisations(classifier: Classifier) -> list[nn.BatchNorm2d]:
    """The batch normalisations of the trunk's trained layers."""
    return [module for module in classifier.trunk[classifier.cut :].modules() if isinstance(module, nn.BatchNorm2d)]


@torch.no_grad()
def initialise_normalisations(classifier: Classifier, features: Tensor) -> None:
    """Let batch normalisations that change nothing change nothing in training mode either, in place.

    Training takes mean and deviation of the batch. So each trained layer of the trunk gets those of what reaches it as
    its running statistics, and as scale and shift the ones that undo them: the network starts with what its
    pretrained convolutions compute, and learns as networks with batch normalisation do, at higher rates.

    Args:
        classifier: with normalisations whose running mean is 0, variance 1, scale 1 and shift 0.
        features: of some training images, as `Classifier.tail` takes them; more than a batch.

    Source: after the data-dependent initialisation of Salimans and Kingma, Weight Normalization, NIPS 2016, section 3.
    """
    was_training = classifier.training
    classifier.eval()
    layers = trained_normalisations(classifier)
    handles: list[RemovableHandle] = [layer.register_forward_pre_hook(_settle) for layer in layers]
    try:
        classifier.tail(features)
    finally:
        for handle in handles:
            handle.remove()
    classifier.train(was_training)


def _settle(layer: nn.Module, inputs: tuple[Tensor]) -> None:
    variance, mean = torch.var_mean(inputs[0].float(), dim=(0, 2, 3), correction=0)
    layer.get_buffer("running_mean").copy_(mean)
    layer.get_buffer("running_var").copy_(variance)
    layer.get_parameter("bias").copy_(mean)
    layer.get_parameter("weight").copy_((variance + float(layer.eps)).sqrt())  # type: ignore[arg-type]
