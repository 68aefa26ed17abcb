"""Which model is used where none, a released one, or a file is named."""

import importlib.metadata
import shutil
import types
from pathlib import Path

import pytest

from brain_tumor.serving import released


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The folder that one is in, the project, and an environment that pip has installed into; models in each."""
    here, project, installed = (tmp_path / name for name in ("here", "project", "installed"))
    folders = (here / "release", project / "release", installed / "share" / "brain-tumor")
    for folder in folders:
        folder.mkdir(parents=True)
        for name in ("model.onnx", "vgg16.onnx"):
            (folder / name).touch()

    def recorded(name):
        record = importlib.metadata.PackagePath(f"../../share/brain-tumor/{name}")
        record.dist = types.SimpleNamespace(locate_file=lambda _: folders[2] / name)
        return record

    monkeypatch.setattr(released.metadata, "files", lambda _: [recorded("vgg16.onnx"), recorded("model.onnx")])
    monkeypatch.setattr(released, "PROJECT", project)
    monkeypatch.delenv(released.MODEL_VARIABLE, raising=False)
    monkeypatch.chdir(here)
    return folders


@pytest.mark.parametrize(("name", "file"), [(None, "model.onnx"), ("vgg16", "vgg16.onnx")])
def test_a_released_model_is_that_of_the_folder_else_the_projects_else_the_installed_one(places, name, file):
    for folder in places:
        found = released.find_model(name) if name else released.default_model()
        assert found.resolve() == folder / file
        shutil.rmtree(folder)
    missing = released.find_model(name) if name else released.default_model()
    assert missing == Path(name or "release/model.onnx")


def test_the_environment_names_a_file_or_a_released_model(places, monkeypatch):
    monkeypatch.setenv(released.MODEL_VARIABLE, "named.onnx")
    assert released.default_model() == Path("named.onnx")
    monkeypatch.setenv(released.MODEL_VARIABLE, "vgg16")
    assert released.default_model().resolve() == places[0] / "vgg16.onnx"


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("name", ["vgg16.onnx", "folder/vgg16", "/vgg16"])
def test_what_looks_like_a_path_is_one(name):
    assert released.find_model(name) == Path(name)


@pytest.mark.usefixtures("places")
def test_a_file_without_a_suffix_comes_before_a_released_model():
    Path("vgg16").touch()
    assert released.find_model("vgg16") == Path("vgg16")
