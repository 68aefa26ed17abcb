"""What an exported model tells of itself, and the engine that runs it. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openvino
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from brain_tumor.data.images import Pixels, Reader
from brain_tumor.errors import UserError

METADATA_KEY = "brain_tumor"

INPUT = "images"
OUTPUTS = ("probabilities", "maps", "ood_distances")

IN_DISTRIBUTION_KEY, OOD_SCORE_KEY = "in_distribution", "ood_score"
"""Keys of JSON and CSV for `Prediction.in_distribution` and `Prediction.ood_score`."""

ONNX_START = b"\x08"
"""Every ONNX file begins with it: the tag of its first field, the version of the format."""


class Exported(BaseModel):
    """What prediction must know of a model, kept in the metadata of its ONNX file.

    Attributes:
        classes: names in the order of the probabilities.
        reader: what is done to a picture before it goes in.
        prediction_sets: for each coverage, such as "0.95", a threshold for each class: the class is in the set if its
            probability is at least 1 less the threshold.
        ood_threshold: an image further from the training images is out of distribution.
        volume_threshold: a slice of a volume shows a tumour where its evidence (`evaluation/volumes.py`) exceeds it;
            0.5 in files without it, and where no volumes were in training.
        precision: of the convolutions.
        study: parameters and data digest of the run that made the model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: tuple[str, ...]
    reader: Reader
    prediction_sets: Mapping[str, tuple[float, ...]] = {}
    ood_threshold: float
    volume_threshold: float = 0.5
    precision: Literal["fp32", "int8"]
    study: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Outputs:
    """What the network gives for a batch.

    Attributes:
        probabilities: (images, classes), calibrated, rows sum to 1.
        maps: (images, classes, height, width), class activation maps in logits, as Grad-CAM has them but with
            what speaks against the class below 0.
        ood_distances: (images,), from the training images, about 1 for one of them.
    """

    probabilities: NDArray[np.float32]
    maps: NDArray[np.float32]
    ood_distances: NDArray[np.float32]


class Engine:
    """An exported model, ready to run on the processor."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        """Read and compile a model.

        Args:
            path: an ONNX file that `brain-tumor export` wrote.
            threads: processor threads of a run; 0 for all.

        Raises:
            UserError: no such file, no ONNX file, or not one of this project.
        """
        if not path.is_file():
            raise UserError(f"{path} is no file: name a model that `brain-tumor export` wrote by --model")
        with path.open("rb") as file:
            if file.read(1) != ONNX_START:  # OpenVINO would tell on stderr what formats it tried
                raise UserError(f"{path} is no ONNX file: name a model that `brain-tumor export` wrote by --model")
        core = openvino.Core()
        try:
            model = core.read_model(path)
            self.exported = Exported.model_validate_json(
                str(model.get_rt_info(["framework", METADATA_KEY]).astype(str))
            )
            outputs = {name for output in model.outputs for name in output.names}
            if not outputs.issuperset(OUTPUTS):
                raise ValueError(f"expected the outputs {', '.join(OUTPUTS)}")
        except (RuntimeError, ValueError, ValidationError) as error:
            reason = str(error).strip().split("\n")[0]
            raise UserError(f"{path} is no exported model of this project ({reason}): export it again") from None
        # Where the processor has bfloat16 OpenVINO would use it unasked, and results would depend on the machine.
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(self, images: Pixels) -> Outputs:
        """Run a batch; not for several threads at a time.

        Args:
            images: (images, size, size), grey values 0 to 255.

        Raises:
            ValueError: another shape or type.
        """
        size = self.exported.reader.size
        if images.dtype != np.uint8 or images.shape[1:] != (size, size) or not len(images):
            raise ValueError(f"images {images.dtype} {images.shape}: expected uint8 (images, {size}, {size})")
        results = self._request.infer({INPUT: np.ascontiguousarray(images)})
        return Outputs(*(np.array(results[name]) for name in OUTPUTS))  # copies: the request reuses its memory
