"""Number formats of the computation."""

from typing import Literal

import torch

TRAINER_PRECISION: dict[str, Literal["bf16-mixed", "32-true"]] = {"bf16": "bf16-mixed", "fp32": "32-true"}
"""What Lightning's Trainer calls each number format."""


def resolve(precision: str, device: str = "cpu") -> str:
    """The number format that `train.precision` means on this machine: for `auto` the faster one.

    A processor with matrix instructions for bfloat16 (AMX) runs VGG16 about five times as fast with them; without
    them bfloat16 is emulated, and many times slower than single precision.

    Returns:
        `bf16` or `fp32`.
    """
    if precision != "auto":
        return precision
    supported = torch.cuda.is_bf16_supported() if device == "cuda" else torch.cpu.get_capabilities().get("amx_bf16")
    return "bf16" if supported else "fp32"


def autocast(precision: str, device: str = "cpu") -> torch.autocast:
    """Context in which matrix products and convolutions run in bfloat16 for `bf16`; for `fp32` it does nothing."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")
