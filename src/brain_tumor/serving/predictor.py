"""From grey pictures to answers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel

from brain_tumor.data.formats.decoding import is_picture, pictures
from brain_tumor.data.formats.pixels import Picture, Pixels, contrast, to_grey
from brain_tumor.data.formats.raster import grey_of
from brain_tumor.errors import UserError
from brain_tumor.evaluation.conformal import prediction_sets
from brain_tumor.evaluation.volumes import volume_answer
from brain_tumor.explanation.heat import Heat, normalise
from brain_tumor.serving.inputs import sources
from brain_tumor.serving.onnx_model import IN_DISTRIBUTION_KEY, OOD_SCORE_KEY, Engine, Exported
from brain_tumor.serving.reading import read
from brain_tumor.serving.released import default_model, find_model

COVERAGE = "0.95"
"""Coverage of the prediction set that is shown."""

BATCH = 16
"""Images that are run together; more of them gain nothing on a processor."""


class Extent(BaseModel):
    """Where a volume shows a tumour.

    Attributes:
        slices: the numbers of the slices that show it, ascending; at least one.
        first: of them.
        last: of them.
        share: of the slices of the head, which are those in distribution; above 0, at most 1.
        millimetres: from the first to the last, both included; None where the header tells no spacing.
    """

    slices: tuple[int, ...]
    first: int
    last: int
    share: float
    millimetres: float | None


@dataclass(frozen=True)
class Prediction:
    """The answer for a picture, or for a volume.

    Attributes:
        label: the class of the largest probability, of a volume as in `volume_answer`; void with an `ood_reason`.
        probabilities: for each class, calibrated; they sum to 1.
        prediction_set: classes that cannot be ruled out at `COVERAGE`; None where the model tells no thresholds.
        ood_reason: why the picture is out of distribution; None where it is like the training images.
        ood_score: distance from the training images as a share of the largest that is in distribution.
        frame: of the picture in its volume or file; None for a file of one picture, and for a volume.
        volume: its number in a file of several; None elsewhere.
        spacing: millimetres to the next slice; None where unknown.
        heat: (height, width), where the picture speaks for its class, 0 to 1; None for a volume.
        extent: of the tumour in a volume; None where no slice shows one, and for a picture.
    """

    label: str
    probabilities: dict[str, float]
    prediction_set: tuple[str, ...] | None
    ood_reason: str | None
    ood_score: float
    frame: int | None = None
    volume: int | None = None
    spacing: float | None = None
    heat: Heat | None = None
    extent: Extent | None = None

    @property
    def in_distribution(self) -> bool:
        """Whether the picture is like the training images."""
        return self.ood_reason is None

    @property
    def probability(self) -> float:
        """That of `label`."""
        return self.probabilities[self.label]

    def as_json(self) -> dict[str, object]:
        """Plain values, without the heat map."""
        return {
            "class": self.label,
            "probability": round(self.probability, 6),
            "probabilities": {name: round(value, 6) for name, value in self.probabilities.items()},
            "prediction_set": None if self.prediction_set is None else list(self.prediction_set),
            IN_DISTRIBUTION_KEY: self.in_distribution,
            "reason": self.ood_reason,
            OOD_SCORE_KEY: round(self.ood_score, 4),
            "extent": self.extent and self.extent.model_dump(),
        }


class Answers(list[Prediction]):
    """The predictions for the pictures of one source, in order.

    Attributes:
        volumes: the answer for each volume among them.
    """

    def __init__(self, predictions: Sequence[Prediction], volumes: Sequence[Prediction]) -> None:
        super().__init__(predictions)
        self.volumes = list(volumes)

    def to_frame(self) -> pd.DataFrame:
        """A row a picture, and behind them one a volume: `volume`, `slice`, and the fields of `Prediction.as_json`.

        `slice` is missing in the row of a volume and for a picture that stands alone.
        """
        named = ({"volume": found.volume, "slice": found.frame} | found.as_json() for found in (*self, *self.volumes))
        return pd.DataFrame(list(named)).astype({"volume": "Int64", "slice": "Int64"})


Input = str | Path | bytes | NDArray[np.generic] | Image.Image
"""What a predictor takes: a file or a folder with the slices of a DICOM series; the bytes of a file; grey values of any
range, (height, width) or of a volume (slices, height, width), or colours, uint8 (height, width, 3); a picture of
Pillow."""


class Predictor:
    """An exported model with everything around it: pictures are prepared as its training images were."""

    def __init__(self, model: Path, threads: int = 0) -> None:
        """Read a model.

        Args:
            model: ONNX file that `brain-tumor export` wrote.
            threads: processor threads of the network; 0 for all.

        Raises:
            UserError: as `Engine`.
        """
        self.engine = Engine(model, threads)

    @classmethod
    def released(cls, name: str = "model") -> "Predictor":
        """A model that is released with the project: `model`, or `vgg16`."""
        return cls(find_model(name) if name != "model" else default_model())

    def __call__(self, given: Input) -> Answers:
        """Answers for all pictures of a source; not for several threads at a time.

        Args:
            given: see `Input`. Of an array the slices come first: what nibabel gives is turned by
                `np.moveaxis(data, 2, 0)`.

        Raises:
            UserError: it cannot be read, or holds no picture.
            ValueError: an array of another shape.
        """
        predictions = self.predict(read(self.exported.reader, *_named_pictures(given)))
        return Answers(predictions, self.volumes(predictions))

    @property
    def exported(self) -> Exported:
        """What the model tells of itself."""
        return self.engine.exported

    def read(self, name: str, content: bytes | bytearray) -> list[Picture]:
        """All pictures of a file, as `predict` takes them; may be called by many threads at a time.

        Args:
            name: of the file, for messages.
            content: its bytes: JPEG, PNG, TIFF, BMP, WebP, DICOM or NIfTI.

        Raises:
            UserError: as `reading.read`.
        """
        return read(self.exported.reader, name, pictures(name, content))

    def predict(self, prepared: Sequence[Picture]) -> list[Prediction]:
        """Answers for pictures, in order; not for several threads at a time.

        Args:
            prepared: any number; they are run in batches of `BATCH`.
        """
        predictions: list[Prediction] = []
        for start in range(0, len(prepared), BATCH):
            batch = prepared[start : start + BATCH]
            outputs = self.engine.run(np.stack([picture.grey for picture in batch]))
            chosen = outputs.maps[np.arange(len(batch)), outputs.probabilities.argmax(axis=1)]
            heat = normalise(np.maximum(chosen, 0))  # without what speaks against the class
            for row in zip(batch, outputs.probabilities, outputs.ood_distances, heat, strict=True):
                predictions.append(self._prediction(*row))
        return predictions

    def _prediction(
        self, picture: Picture, probabilities: NDArray[np.float32], distance: np.float32, heat: Heat
    ) -> Prediction:
        score = float(distance) / self.exported.ood_threshold
        return Prediction(
            label=self.exported.classes[int(probabilities.argmax())],
            probabilities=self._named(probabilities),
            prediction_set=self._prediction_set(probabilities),
            ood_reason=_ood_reason(picture, score),
            ood_score=score,
            frame=picture.frame,
            volume=picture.volume,
            spacing=picture.spacing,
            heat=heat,
        )

    def volumes(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """The answer for each volume of a file that has several slices, read from those in distribution.

        A volume without such a slice is out of distribution; its answer is then read from all slices.

        Args:
            predictions: of all pictures of the file, in order.
        """
        volumes = [list(slices) for _, slices in groupby(predictions, lambda slice_: slice_.volume)]
        return [self._volume(slices) for slices in volumes if len(slices) > 1]

    def _volume(self, slices: Sequence[Prediction]) -> Prediction:
        inside = [slice_ for slice_ in slices if slice_.in_distribution]
        used = inside or slices
        numbers = [slice_.frame or 0 for slice_ in used]
        answer = volume_answer(
            [list(slice_.probabilities.values()) for slice_ in used], numbers, self.exported.volume_threshold
        )
        return Prediction(
            label=self.exported.classes[answer.label],
            probabilities=self._named(answer.probabilities),
            prediction_set=None,  # its coverage is known for single pictures only
            ood_reason=None if inside else f"none of its {len(used)} slices is: {used[0].ood_reason}",
            ood_score=float(np.mean([slice_.ood_score for slice_ in used])),
            volume=slices[0].volume,
            spacing=slices[0].spacing,
            extent=_extent(np.array(numbers), answer.marked, slices[0].spacing) if inside else None,
        )

    def _named(self, probabilities: NDArray[np.floating]) -> dict[str, float]:
        return {name: float(value) for name, value in zip(self.exported.classes, probabilities, strict=True)}

    def _prediction_set(self, probabilities: NDArray[np.float32]) -> tuple[str, ...] | None:
        thresholds = self.exported.prediction_sets.get(COVERAGE)
        if thresholds is None:
            return None
        (chosen,) = prediction_sets(probabilities[None], thresholds)
        return tuple(name for name, inside in zip(self.exported.classes, chosen, strict=True) if inside)


def _named_pictures(given: Input) -> tuple[str, Iterable[Picture]]:
    """A name for messages, and the pictures of a source."""
    if isinstance(given, Image.Image):
        return "picture", _of_picture(given)
    if isinstance(given, np.ndarray):
        return "array", _of_array(given)
    if isinstance(given, bytes):
        return "bytes", pictures("bytes", given)
    path = Path(given)
    found = sources(filter(is_picture, sorted(path.iterdir())) if path.is_dir() else [path])
    if len(found) != 1:
        raise UserError(f"{path} holds {len(found)} pictures or volumes: name one of them")
    return found[0].name, found[0].pictures()


def _of_array(values: NDArray[np.generic]) -> list[Picture]:
    if values.ndim not in (2, 3) or values.dtype.kind not in "uif" or not values.size:
        raise ValueError(
            f"an array of shape {values.shape} and type {values.dtype}: expected numbers (height, width), (slices, "
            "height, width), or colours (height, width, 3)"
        )
    if values.ndim == 3 and values.shape[2] in (3, 4):
        if values.dtype != np.uint8:
            raise ValueError(f"an array of shape {values.shape}: colours are read as uint8 alone")
        return _of_picture(Image.fromarray(values))
    greys: Pixels = np.asarray(values if values.dtype == np.uint8 else to_grey(values, *contrast(values)), np.uint8)
    if values.ndim == 2 or values.shape[2] == 1:
        return [Picture(greys.reshape(values.shape[:2]))]
    return [Picture(grey, number) for number, grey in enumerate(greys)]


def _of_picture(picture: Image.Image) -> list[Picture]:
    try:
        return [Picture(grey_of(picture))]
    except OSError as error:  # of a file that Pillow has opened and now finds cut off
        raise UserError(f"the picture cannot be read: {error}: open its file anew") from None


def _extent(numbers: NDArray[np.int64], marked: NDArray[np.bool_], spacing: float | None) -> Extent | None:
    if not marked.any():
        return None
    found = sorted(numbers[marked].tolist())
    first, last = found[0], found[-1]
    length = None if spacing is None else round((last - first + 1) * spacing, 1)
    return Extent(slices=tuple(found), first=first, last=last, share=round(marked.mean(), 4), millimetres=length)


def _ood_reason(picture: Picture, score: float) -> str | None:
    if picture.reason:
        return f"its header says {picture.reason}"
    if not score <= 1:  # a distance that is no number belongs to nothing that the model knows
        return f"its features are {score:.3g} times as far away as is allowed"
    return None
