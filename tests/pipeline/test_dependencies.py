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
    listed = {script for path in STAGES[name]["deps"] for script in scripts_of(path)}

    assert STAGES[name]["cmd"] == f"python {script}"
    assert sorted(wanted - listed) == []
    assert sorted(listed - wanted) == []


def scripts_of(dependency: str) -> set[str]:
    """The file itself, or of a folder every script that is more than the docstring of a package."""
    if dependency.endswith(".py"):
        return {dependency}
    files = (PROJECT / dependency).rglob("*.py") if dependency.startswith("src/") else ()
    return {file.relative_to(PROJECT).as_posix() for file in files if file.name != "__init__.py"}


def test_the_walk_follows_imports_through_files():
    found = imported_files(PROJECT / "stages" / "train.py", PROJECT / "src")

    assert "src/brain_tumor/model/backbones.py" in found  # train imports run, which imports classifier, which does
    assert "src/brain_tumor/figures/style.py" not in found  # so that a figure can change without training again
