"""Number formats of the computation."""

from typing import Literal

import torch

TRAINER_PRECISION: dict[str, Literal["bf16-mixed", "32-true"]] = {"bf16": "bf16-mixed", "fp32": "32-true"}
"""What Lightning's Trainer calls each value of `train.precision`."""


def autocast(precision: str, device: str = "cpu") -> torch.autocast:
    """Context in which matrix products and convolutions run in bfloat16 for `bf16`; for `fp32` it does nothing."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")
