"""DVC does not follow imports, so each stage must list the files it uses."""

import pytest
from ruamel.yaml import YAML

from pipeline.conftest import PROJECT
from pipeline.imports import imported_files

STAGES = YAML(typ="safe", pure=True).load(PROJECT / "dvc.yaml")["stages"]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_lists_what_it_imports(name):
    script = f"stages/{name}.py"
    wanted = imported_files(PROJECT / script, PROJECT / "src") | {script}
    listed = {path for path in STAGES[name]["deps"] if path.endswith(".py")}

    assert STAGES[name]["cmd"] == f"python {script}"
    assert sorted(wanted - listed) == []
    assert sorted(listed - wanted) == []


def test_the_walk_follows_imports_through_files():
    found = imported_files(PROJECT / "stages" / "train.py", PROJECT / "src")

    assert "src/brain_tumor/model/backbones.py" in found  # train imports run, which imports classifier, which does
    assert "src/brain_tumor/plots.py" not in found  # so that a figure can change without training again


@pytest.mark.parametrize("room", ["data", "evaluation"])
def test_these_rooms_do_not_import_torch(room):
    for file in (PROJECT / "src" / "brain_tumor" / room).glob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "import torch" not in text, file
        assert "from torch" not in text, file


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("data", {"model", "training", "evaluation", "explanation", "serving"}),
        ("model", {"training", "evaluation", "explanation", "serving"}),
        ("training", {"evaluation", "explanation", "serving"}),
        ("evaluation", {"model", "training", "explanation", "serving"}),
        ("explanation", {"training", "serving"}),
    ],
)
def test_dependencies_point_one_way(room, forbidden):
    for file in (PROJECT / "src" / "brain_tumor" / room).glob("*.py"):
        used = {path.split("/")[2] for path in imported_files(file, PROJECT / "src")}
        assert not used & forbidden, file
