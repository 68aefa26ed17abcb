"""A copy of the project in a git and DVC repository of its own, on a small phantom."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from ruamel.yaml import YAML

PROJECT = Path(__file__).resolve().parent.parent.parent

QUICK = {
    "download.dataset": "phantom",
    "split.protocol": "published",
    "augment.image_size": 64,
    "augment.per_image": 1,
    "augment.synthetic_tumours": 1,
    "train.backbone": "mobilenet_v3_large",  # little work, and a small file
    "train.head": "pooled",
    "train.weights": "none",
    "train.trainable": "head",
    "train.epochs": 2,
    "train.precision": "fp32",
    "explain.images_per_class": 1,
}


def stages_run(output: str) -> set[str]:
    """The stages that DVC says it ran."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


@dataclass(frozen=True)
class Repository:
    """A folder with the project in it, and the commands that a user would run there."""

    folder: Path
    cache: Path

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("BRAIN_TUMOR_")}
        variables |= {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(self.folder / "src"),
            "BRAIN_TUMOR_CACHE": str(self.cache),
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        result = subprocess.run(
            command, cwd=self.folder, env=variables | environment, capture_output=True, text=True, check=False
        )
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result

    def dvc(self, *arguments: str, check: bool = True, **environment: str) -> str:
        result = self.run(sys.executable, "-m", "dvc", *arguments, check=check, **environment)
        return result.stdout + result.stderr

    def repro(self) -> set[str]:
        """Run the pipeline; the stages that were run, not restored or skipped."""
        return stages_run(self.dvc("repro"))

    def set(self, **changes: object) -> None:
        """Change parameters, given as `section__name=value`."""
        yaml = YAML()
        file = self.folder / "params.yaml"
        values = yaml.load(file)
        for name, value in changes.items():
            section, parameter = name.split("__")
            values[section][parameter] = value
        yaml.dump(values, file)

    def commit(self) -> None:
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        self.run("git", "add", "--all")
        self.run("git", *identity, "commit", "--quiet", "--message", "results")


def copy_project(folder: Path) -> None:
    """The files that make the pipeline, without results."""
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
        shutil.copyfile(PROJECT / name, folder / name)
    for name in ("stages", "src"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))


def set_up(repository: Repository) -> None:
    """The project with quick parameters and the small phantom, before its first run."""
    repository.folder.mkdir()
    copy_project(repository.folder)
    repository.run("git", "init", "--quiet", "--initial-branch=main")
    repository.dvc("init", "--quiet")
    repository.dvc("config", "core.analytics", "false")
    repository.set(**{name.replace(".", "__"): value for name, value in QUICK.items()})


def run_once(repository: Repository) -> None:
    """Set up the project, run the pipeline and commit the results."""
    set_up(repository)
    assert repository.repro() == {"download", "split", "augment", "train", "evaluate", "explain"}
    repository.commit()


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id) -> Repository:
    """The pipeline run once, results committed, for all processes that test. Not to be changed: see `repository`."""
    own = tmp_path_factory.getbasetemp()
    shared = (own if worker_id == "master" else own.parent) / "finished"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            folder = tmp_path_factory.mktemp("unfinished")
            run_once(Repository(folder / "project", folder / "cache"))
            folder.rename(shared)
    return Repository(shared / "project", shared / "cache")


def copied(repository: Repository, folder: Path) -> Repository:
    """The same with everything in it, at another place."""
    shutil.copytree(repository.folder, folder)
    return Repository(folder, repository.cache)


@pytest.fixture
def repository(finished, tmp_path) -> Repository:
    """A copy of the finished project that a test may change."""
    return copied(finished, tmp_path / "project")


@pytest.fixture(scope="session")
def finished_twice(finished, tmp_path_factory) -> Repository:
    """The same, run with another learning rate behind it and committed. Not to be changed: see `changed`."""
    repository = copied(finished, tmp_path_factory.mktemp("changed") / "project")
    repository.set(train__learning_rate=3e-5)
    assert repository.repro() == {"train", "evaluate", "explain"}
    repository.commit()
    return repository


@pytest.fixture
def changed(finished_twice, tmp_path) -> Repository:
    """A copy of the project with another learning rate that a test may change."""
    return copied(finished_twice, tmp_path / "project")
