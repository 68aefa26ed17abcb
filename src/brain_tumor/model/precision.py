"""Number formats of the computation."""

from typing import Literal

import torch

TRAINER_PRECISION: dict[str, Literal["bf16-mixed", "32-true"]] = {"bf16": "bf16-mixed", "fp32": "32-true"}
"""What Lightning's Trainer calls each number format."""

BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16")
"""Of processors, as torch names them."""


def resolve(precision: str, device: str = "cpu") -> str:
    """The number format that `train.precision` means on this machine: for `auto` the faster one.

    A processor with matrix instructions for bfloat16 (AMX) runs VGG16 about five times as fast with them, one with
    vector instructions (AVX512-BF16) twice as fast; without either bfloat16 is emulated, and many times slower than
    single precision.

    Returns:
        `bf16` or `fp32`.
    """
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if any(capabilities.get(name) for name in BF16_INSTRUCTIONS) else "fp32"


def autocast(precision: str, device: str = "cpu") -> torch.autocast:
    """Context in which matrix products and convolutions run in bfloat16 for `bf16`; for `fp32` it does nothing."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")
