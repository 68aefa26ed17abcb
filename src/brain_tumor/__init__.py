"""Classify brain MRI slices, and measure how far the scores can be believed.

from brain_tumor import Predictor

predictor = Predictor.released()
predictor("scan.nii.gz").to_frame()
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brain_tumor.serving.predictor import Predictor as Predictor

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name != "Predictor":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    # Only where it is asked for: stages and commands import this package, and need neither it nor its runtime.
    from brain_tumor.serving.predictor import Predictor

    return Predictor
