"""`make demo`, with random weights so that it needs no network."""

import shutil
import subprocess
import sys

import pytest

from pipeline.conftest import PROJECT, QUICK, copy_project

pytestmark = pytest.mark.slow


@pytest.fixture
def project(finished, tmp_path):
    """A clone whose cache knows the small phantom's results, so that only what differs from it takes time."""
    folder = tmp_path / "a path with spaces"
    folder.mkdir()
    copy_project(folder)
    shutil.copytree(PROJECT / "scripts", folder / "scripts")
    shutil.copytree(finished.folder / ".dvc" / "cache", folder / ".dvc" / "cache")
    return folder


def run_demo(project, *changes):
    quick = [f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in QUICK.items()]
    command = [sys.executable, "scripts/demo.py", *quick, *changes]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def test_demo_leaves_one_page_and_the_project_as_it_was(project):
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}

    first = run_demo(project, "explain.images_per_class=2")

    assert first.returncode == 0, first.stdout + first.stderr
    assert "Running stage 'explain'" in first.stdout
    assert first.stdout.count("Running stage") == 1, "what the project's cache has is computed again"
    page = project / "build" / "demo" / "report.html"
    assert str(page) in first.stdout.splitlines()[-1]
    assert page.read_text(encoding="utf-8").count("data:image/png;base64") >= 4
    for path, content in before.items():
        assert path.read_bytes() == content, path

    shutil.rmtree(project / "build")
    again = run_demo(project, "explain.images_per_class=2")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Running stage" not in again.stdout


def test_demo_names_a_misspelt_parameter(project):
    result = run_demo(project, "train.epoch=2")

    assert result.returncode == 1
    assert result.stderr.strip() == "error: train.epoch: no such parameter in params.yaml"
