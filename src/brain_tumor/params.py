"""`params.yaml` as typed, validated sections, one for each stage."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from brain_tumor.errors import UserError

PARAMS_FILE = Path("params.yaml")

MAIN_SET, PHANTOM = "brain-tumor-mri", "phantom"
"""The data sets that have a name; every other `download.dataset` is a path."""

Share = Annotated[float, Field(ge=0, le=1)]

ExternalName = Literal["br35h", "lgg"]


class Section(BaseModel):
    """A section of `params.yaml`: no unknown names, no silent conversion from text to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DownloadParams(Section):
    """Which images the study rests on. How they travel is no parameter: see `download/main_set.py`."""

    dataset: Annotated[str, Field(min_length=1)]
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    classes: dict[str, Literal["glioma", "meningioma", "notumor", "pituitary"]]
    annotations: bool
    additional: list[ExternalName]


class SplitParams(Section):
    """Which image trains, validates and tests."""

    protocol: Literal["published", "leak_free", "grouped", "patient"]
    fold: Annotated[int, Field(ge=0, le=4)]
    validation: Annotated[float, Field(gt=0, lt=1)]
    duplicate_threshold: Annotated[float, Field(gt=0, le=1)]
    additional: list[ExternalName]


class AugmentParams(Section):
    """How images are read, and which augmented images are made of the training images."""

    image_size: Annotated[int, Field(ge=32, le=1024, multiple_of=32)]
    crop: Literal["none", "head"]
    intensities: Literal["file", "head"]
    background: Literal["file", "black"]
    per_image: Annotated[int, Field(ge=0, le=20)]
    balance: bool
    synthetic_tumours: Annotated[int, Field(ge=0, le=20)]
    rotation: Annotated[float, Field(ge=0, le=180)]
    shift: Share
    scale: Annotated[float, Field(ge=0, lt=1)]
    flip: Share
    contrast: Annotated[float, Field(ge=0, lt=1)]
    curve: Share
    degradation: Share
    noise: Share


class TrainParams(Section):
    """Network, optimiser and schedule."""

    backbone: Literal[
        "vgg16",
        "vgg16_bn",
        "resnet18",
        "resnet50",
        "mobilenet_v3_large",
        "efficientnet_b0",
        "convnext_tiny",
        "efficientnet_lite0",
    ]
    weights: Annotated[str, Field(min_length=1)]
    head: Literal["class_map", "pooled", "imagenet"]
    trainable: Literal["head", "block5", "block4", "all"]
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Literal["one_cycle", "cosine", "constant"]
    class_weights: Literal["balanced", "none"]
    cell_loss: Annotated[float, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    patience: Annotated[int, Field(ge=1)]
    precision: Literal["auto", "bf16", "fp32"]

    @field_validator("weights")
    @classmethod
    def _for_the_backbone(cls, weights: str, others: ValidationInfo) -> str:
        if weights == "imagenet_convolutions" and not others.data.get("backbone", "vgg").startswith("vgg"):
            raise ValueError(f"{weights} are of VGG16 alone: use imagenet with {others.data['backbone']}")
        return weights


class ExplainParams(Section):
    """How maps are made and how many are drawn."""

    method: Literal["gradcam", "gradcam++", "hirescam", "layercam"]
    images_per_class: Annotated[int, Field(ge=1, le=50)]


class Params(Section):
    """All of `params.yaml`."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    download: DownloadParams
    split: SplitParams
    augment: AugmentParams
    train: TrainParams
    explain: ExplainParams


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and validate the parameters.

    YAML 1.2 as DVC writes it, so `3e-05` is a number.

    Raises:
        UserError: the file is not there or no YAML, or a parameter is unknown, missing, of the wrong type or out of
            range. All such parameters are named.
    """
    try:
        values = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise UserError(f"{path} is not in this folder: run from the project's root") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): expected a YAML file") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {_reason(problem['type'], problem['msg'])}"
            for problem in error.errors()
        )
        raise UserError(f"{path}: {problems}") from None


def _reason(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "no such parameter, check the spelling"
    return message.removeprefix("Value error, ") if kind == "value_error" else message[0].lower() + message[1:]
