"""Run the whole pipeline on the built-in phantom set, beside the real study and without touching it.

The pipeline runs in a copy below `build/demo`, with a DVC configuration of its own that needs no git and shares the
project's cache, so a second run takes seconds. Arguments such as `train.epochs=2` change parameters of the demo.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from brain_tumor.errors import UserError
from brain_tumor.serving.report import write_report
from brain_tumor.stage import stage

PROJECT = Path(__file__).resolve().parent.parent
COPIED = ("dvc.yaml", "params.yaml", ".dvcignore", "stages", "src")
CHANGES = {
    "download.dataset": "phantom",
    "download.annotations": "false",
    "train.trainable": "block5",
    "train.epochs": "8",
}
"""What differs from the real study: the data, and a recipe that takes two minutes."""


@stage
def main() -> None:
    demo = PROJECT / "build" / "demo"
    copy_project(demo)
    change_parameters(demo / "params.yaml", CHANGES | dict(split_change(argument) for argument in sys.argv[1:]))
    if subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=demo, env=environment(demo), check=False).returncode:
        raise UserError("the demo's pipeline stopped, see above; run the same command to go on")
    report = demo / "report.html"
    write_report(demo, report)
    print(f"\nThe demo is done. Open {report}")


def copy_project(demo: Path) -> None:
    """Copy what the pipeline is made of; results of an earlier run stay."""
    for name in COPIED:
        source, target = PROJECT / name, demo / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    (demo / ".dvc").mkdir(exist_ok=True)
    cache = PROJECT / ".dvc" / "cache"
    config = f"[core]\n    no_scm = true\n    analytics = false\n[cache]\n    dir = {cache}\n"
    (demo / ".dvc" / "config").write_text(config, encoding="utf-8")


def split_change(argument: str) -> tuple[str, str]:
    """`train.epochs=2` as a pair."""
    name, sign, value = argument.partition("=")
    if not sign or name.count(".") != 1:
        raise UserError(f"{argument}: expected SECTION.PARAMETER=VALUE, for example train.epochs=2")
    return name, value


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


def environment(demo: Path) -> dict[str, str]:
    """This environment's programs first, the copied package, and the project's caches."""
    cache = os.environ.get("BRAIN_TUMOR_CACHE", PROJECT / ".cache")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return os.environ | {"PATH": path, "PYTHONPATH": str(demo / "src"), "BRAIN_TUMOR_CACHE": str(Path(cache).resolve())}


if __name__ == "__main__":
    main()
