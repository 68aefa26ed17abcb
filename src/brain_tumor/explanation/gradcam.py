"""Class activation maps by gradients: which places of the last feature map speak for a class.

The network is passed as two callables, what comes before the explained layer's output and what comes after it, so no
hook is needed and no gradient is taken below that layer. All methods have the signature of `grad_cam`.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from brain_tumor.explanation.heat import Maps


def grad_cam(
    activations_of: Callable[[Tensor], Tensor],
    classify: Callable[[Tensor], Tensor],
    features: Tensor,
    targets: Tensor,
) -> Maps:
    """Explain one class for each image of a batch, with one forward and one backward pass.

    A channel's weight is the mean of its gradients: Selvaraju et al., Grad-CAM, 2017, section 3.

    Works with frozen parameters, and whether or not the caller records gradients. Modules must be in evaluation mode:
    with batch statistics the images of a batch would explain one another.

    Args:
        activations_of: from `features` to the explained layer's output, (images, channels, height, width).
        classify: from that output to logits, (images, classes).
        features: input of `activations_of`, (images, ...).
        targets: (images,), the class index that is explained for each image.

    Raises:
        ValueError: shapes that do not agree, or an unknown class.
    """
    activations, gradients = _activations_and_gradients(activations_of, classify, features, targets)
    return _maps(gradients.mean(dim=(2, 3), keepdim=True) * activations)


def grad_cam_plus_plus(
    activations_of: Callable[[Tensor], Tensor],
    classify: Callable[[Tensor], Tensor],
    features: Tensor,
    targets: Tensor,
) -> Maps:
    """As `grad_cam`, but each place of a channel counts by a weight of its own, so that small places are not lost.

    For activations that are at least 0, as behind a ReLU. Source: Chattopadhay et al., Grad-CAM++, 2018, equations 10
    and 19, where the score is the exponential of the logit; its second and third derivatives are then powers of the
    first, and equation 19 shortens to 1 / (2 + gradient · sum of the channel's activations).
    """
    activations, gradients = _activations_and_gradients(activations_of, classify, features, targets)
    positive = gradients.relu()  # a place without positive gradient has no weight, so the denominator is at least 2
    shares = 1 / (2 + positive * activations.sum(dim=(2, 3), keepdim=True))
    return _maps((shares * positive).sum(dim=(2, 3), keepdim=True) * activations)


def hires_cam(
    activations_of: Callable[[Tensor], Tensor],
    classify: Callable[[Tensor], Tensor],
    features: Tensor,
    targets: Tensor,
) -> Maps:
    """As `grad_cam`, but with each place's own gradient instead of the channel's mean.

    With a head whose first layer is linear it shows exactly what enters the logit. Source: Draelos and Carin, Use
    HiResCAM instead of Grad-CAM, 2020, section 3.3.
    """
    activations, gradients = _activations_and_gradients(activations_of, classify, features, targets)
    return _maps(gradients * activations)


def layer_cam(
    activations_of: Callable[[Tensor], Tensor],
    classify: Callable[[Tensor], Tensor],
    features: Tensor,
    targets: Tensor,
) -> Maps:
    """As `hires_cam`, but without negative gradients. Source: Jiang et al., LayerCAM, 2021, equations 5 and 6."""
    activations, gradients = _activations_and_gradients(activations_of, classify, features, targets)
    return _maps(gradients.relu() * activations)


Method = Callable[[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], Tensor, Tensor], Maps]

METHODS: Mapping[str, Method] = {
    "gradcam": grad_cam,
    "gradcam++": grad_cam_plus_plus,
    "hirescam": hires_cam,
    "layercam": layer_cam,
}
"""For each value of `explain.method` its function."""


def _maps(contributions: Tensor) -> Maps:
    """Sum over channels (images, channels, height, width); what speaks against the class is cut off."""
    return Maps(contributions.sum(dim=1).relu().cpu().numpy())  # no matrix product, so never bfloat16


def _activations_and_gradients(
    activations_of: Callable[[Tensor], Tensor],
    classify: Callable[[Tensor], Tensor],
    features: Tensor,
    targets: Tensor,
) -> tuple[Tensor, Tensor]:
    """The explained layer's output and the gradient of each image's target logit by it, both (N, C, h, w)."""
    with torch.inference_mode(False):  # tensors made in inference mode can never carry a gradient
        with torch.no_grad():
            activations = activations_of(features).clone()
        if activations.ndim != 4 or targets.shape != activations.shape[:1]:
            raise ValueError(
                f"activations {tuple(activations.shape)} and targets {tuple(targets.shape)}: "
                "expected (images, channels, height, width) and (images,)"
            )
        with torch.enable_grad():
            activations.requires_grad_()
            logits = classify(activations.clone())  # a copy, because modules may work in place
            if logits.ndim != 2 or len(logits) != len(targets):
                raise ValueError(f"logits {tuple(logits.shape)}, expected ({len(targets)}, classes)")
            if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < logits.shape[1]:
                raise ValueError(f"targets must be from 0 to {logits.shape[1] - 1}")
            # Images do not depend on one another, so the gradient of the sum holds the gradient of each.
            chosen = logits.gather(1, targets[:, None]).sum()
            (gradients,) = torch.autograd.grad(chosen, activations)
    return activations.detach().float(), gradients.float()
