"""Class activation maps by gradients: which places of the last feature map speak for a class.

The network is passed as two callables, what comes before the explained layer's output and what comes after it, so no
hook is needed and no gradient is taken below that layer.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from brain_tumor.explanation.heat import Heat

Weighting = Callable[[Tensor, Tensor], Tensor]
"""From gradients and activations, both (images, channels, height, width), to the weights of channels or of places."""


def _grad_cam_plus_plus(gradients: Tensor, activations: Tensor) -> Tensor:
    """Equations 10 and 19 of the paper, where the score is the exponential of the logit.

    Its second and third derivatives are then powers of the first, and equation 19 shortens to
    1 / (2 + gradient · sum of the channel's activations).
    """
    positive = gradients.relu()  # a place without positive gradient has no weight, so the denominator is at least 2
    shares = 1 / (2 + positive * activations.sum(dim=(2, 3), keepdim=True))
    return (shares * positive).sum(dim=(2, 3), keepdim=True)


METHODS: Mapping[str, Weighting] = {
    "gradcam": lambda gradients, _: gradients.mean(dim=(2, 3), keepdim=True),
    "gradcam++": _grad_cam_plus_plus,
    "hirescam": lambda gradients, _: gradients,
    "layercam": lambda gradients, _: gradients.relu(),
}
"""How each value of `explain.method` weighs activations.

- `gradcam`: a channel by the mean of its gradients. Selvaraju et al., Grad-CAM, 2017, section 3.
- `gradcam++`: a channel by its positive gradients, so that small places are not lost; for activations that are at least
  0, as behind a ReLU. Chattopadhay et al., Grad-CAM++, 2018.
- `hirescam`: each place by its own gradient. With a head whose first layer is linear the map shows exactly what enters
  the logit. Draelos and Carin, Use HiResCAM instead of Grad-CAM, 2020, section 3.3.
- `layercam`: each place by its own positive gradient. Jiang et al., LayerCAM, 2021, equations 5 and 6.
"""


def grad_cam(
    activations_of: Callable[[Tensor], Tensor],
    classify: Callable[[Tensor], Tensor],
    features: Tensor,
    targets: Tensor,
    method: str = "gradcam",
) -> Heat:
    """Explain one class for each image of a batch, with one forward and one backward pass.

    Works with frozen parameters, and whether or not the caller records gradients. Modules must be in evaluation mode:
    with batch statistics the images of a batch would explain one another.

    Args:
        activations_of: from `features` to the explained layer's output, (images, channels, height, width).
        classify: from that output to logits, (images, classes).
        features: input of `activations_of`, (images, ...).
        targets: (images,), the class index that is explained for each image.
        method: one of `METHODS`.

    Returns:
        (images, height, width) of the explained layer: the weighted activations, summed over channels; what speaks
        against the class is cut off, so at least 0. Those of `gradcam` and `hirescam` are in logits: with a head of
        average pooling and one linear layer, and where no place speaks against the class, a map sums to the logit less
        its bias.

    Raises:
        ValueError: shapes that do not agree, or an unknown class.
    """
    activations, gradients = _activations_and_gradients(activations_of, classify, features, targets)
    contributions = METHODS[method](gradients, activations) * activations
    maps: Heat = contributions.sum(dim=1).relu().cpu().numpy()  # no matrix product, so never bfloat16
    return maps


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
