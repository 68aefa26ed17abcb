"""Styles of feature maps mixed within a batch, so that the kind of picture says less about the class."""

import torch
from torch import Tensor

_CONCENTRATION = 0.3  # of the Beta distribution of the shares: mostly near 0 or 1; the paper tries 0.1 to 0.4
_EPSILON = 1e-6


def mixstyle_features(features: Tensor) -> Tensor:
    """Give each image's feature maps the mean and deviation of a mix of its own and another image's.

    What is where stays; contrast, brightness and texture, which tell collections apart, are taken apart from the class.

    Args:
        features: (images, channels, height, width), or pictures (images, height, width), which then exchange brightness
            and contrast. The other image is drawn from the same batch.

    Returns:
        The same shape and memory format; drawn from torch's global generator.

    Source: Zhou et al., Domain Generalization with MixStyle, 2021, equations 3 to 6, without domain labels.
    """
    features = features.float()
    mean = features.mean(dim=(-2, -1), keepdim=True)
    deviation = (features.var(dim=(-2, -1), keepdim=True) + _EPSILON).sqrt()
    others = torch.randperm(len(features), device=features.device)
    beta = torch.distributions.Beta(_CONCENTRATION, _CONCENTRATION)
    share = beta.sample((len(features), *[1] * (features.ndim - 1))).to(features.device)  # the same for all channels
    mixed_mean = share * mean + (1 - share) * mean[others]
    mixed_deviation = share * deviation + (1 - share) * deviation[others]
    return (features - mean) / deviation * mixed_deviation + mixed_mean
