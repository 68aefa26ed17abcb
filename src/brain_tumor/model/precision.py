"""Number formats of the computation."""

from typing import Literal

import torch
from torch import Tensor, nn

TRAINER_PRECISION: dict[str, Literal["bf16-mixed", "32-true"]] = {"bf16": "bf16-mixed", "fp32": "32-true"}
"""What Lightning's Trainer calls each number format."""

BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16")
"""Of processors, as torch names them."""


def resolve(precision: str, device: str = "cpu") -> str:
    """The number format that `train.precision` means on a device of this machine: for `auto` the faster one.

    A processor with matrix instructions for bfloat16 (AMX) runs VGG16 about five times as fast with them, one with
    vector instructions (AVX512-BF16) twice as fast. Without such instructions bfloat16 is emulated, many times slower
    than single precision; so it is on GPUs before Ampere.

    Args:
        precision: `auto`, `bf16` or `fp32`.
        device: torch's type of the device that trains, such as `cuda`.

    Returns:
        `bf16` or `fp32`.
    """
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device != "cpu":
        return "fp32"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if any(capabilities.get(name) for name in BF16_INSTRUCTIONS) else "fp32"


def autocast(precision: str, device: str = "cpu") -> torch.autocast:
    """Context in which matrix products and convolutions run in bfloat16 for `bf16`; for `fp32` it does nothing."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")


def train_depthwise_in_fp32(network: nn.Module) -> None:
    """Take depthwise convolutions out of bfloat16 while they are trained on a processor, in place.

    Their backward pass in bfloat16 takes several times as long there as in single precision. In evaluation mode, and so
    in frozen layers, bfloat16 is the faster one, and nothing changes.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels:
            module.__class__ = _trained_in_fp32(type(module))


def _trained_in_fp32(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """The same kind of convolution; a class and not a hook, because only inside `forward` autocast can be left."""

    class TrainedInFp32(kind):  # type: ignore[valid-type,misc]  # made from a class that is known at run time alone
        def forward(self, features: Tensor) -> Tensor:
            if not self.training or features.device.type != "cpu":
                return super().forward(features)  # type: ignore[no-any-return]
            with torch.autocast("cpu", enabled=False):
                return super().forward(features.float())  # type: ignore[no-any-return]

    return TrainedInFp32
