"""Which model is used: a file that is named, or one of those that are released with the project."""

import argparse
import os
from importlib import metadata
from pathlib import Path

RELEASED_MODEL = Path("release/model.onnx")

PROJECT = Path(__file__).resolve().parents[3]
"""Of an editable install, the project; of another nothing that matters."""

MODEL_VARIABLE = "BRAIN_TUMOR_MODEL"

DISTRIBUTION = "brain-tumor"

INSTALLED = ("share", "brain-tumor")
"""Where `pyproject.toml` has pip put the files of `release/`, below the environment's prefix."""


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """Declare the option that names the model."""
    parser.add_argument(
        "--model",
        type=find_model,
        default=default_model(),
        metavar="FILE",
        help="ONNX file of `brain-tumor export`, or `vgg16`, which is released beside the usual one (default: what "
        f"{MODEL_VARIABLE} names, else {RELEASED_MODEL}, else the released model that was installed with the package)",
    )


def default_model() -> Path:
    """The model that is used where none is named: see the help of `add_model_argument`."""
    named = os.environ.get(MODEL_VARIABLE)
    return find_model(named) if named else _released(RELEASED_MODEL.name) or RELEASED_MODEL


def find_model(name: str) -> Path:
    """The file that is meant: a path, or the name of a released model, as `vgg16`.

    A released model that is not there is taken for a path, so that reading it says so.
    """
    path = Path(name)
    if path.exists() or path.parent != Path() or path.suffix:
        return path
    return _released(f"{name}.onnx") or path


def installed_model(name: str) -> Path | None:
    """The file of `release/` that pip installed beside the package, wherever that is; None where there is none."""
    try:
        installed = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return None
    for file in installed:
        if file.parts[-3:] == (*INSTALLED, name):
            path = Path(str(file.locate())).resolve()
            if path.is_file():
                return path
    return None


def _released(name: str) -> Path | None:
    for folder in (Path(), PROJECT):
        path = folder / RELEASED_MODEL.parent / name
        if path.is_file():
            return path
    return installed_model(name)
