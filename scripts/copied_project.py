"""A copy of the project below `build/`, to run the pipeline with other parameters and leave the real study alone."""

import os
import shutil
import sys
from pathlib import Path

from ruamel.yaml import YAML

from brain_tumor.errors import UserError

PROJECT = Path(__file__).resolve().parent.parent
COPIED = ("dvc.yaml", "params.yaml", ".dvcignore", "stages", "src")


def copy_project(folder: Path) -> None:
    """Copy the files that the pipeline needs; results of an earlier run stay."""
    for name in COPIED:
        source, target = PROJECT / name, folder / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    (folder / ".dvc").mkdir(exist_ok=True)
    cache = PROJECT / ".dvc" / "cache"
    config = f"[core]\n    no_scm = true\n    analytics = false\n[cache]\n    dir = {cache}\n"
    (folder / ".dvc" / "config").write_text(config, encoding="utf-8")


def change_parameters(file: Path, changes: dict[str, str]) -> None:
    """Set parameters, each value as YAML reads it; the file keeps its comments."""
    yaml = YAML()
    params = yaml.load(file)
    for name, value in changes.items():
        section, parameter = name.split(".")
        if parameter not in params.get(section, {}):
            raise UserError(f"{name}: no such parameter in {file.name}")
        params[section][parameter] = YAML(typ="safe", pure=True).load(value)
    yaml.dump(params, file)


def environment(folder: Path) -> dict[str, str]:
    """This environment's programs first, and the copied package."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return os.environ | {"PATH": path, "PYTHONPATH": str(folder / "src")}
