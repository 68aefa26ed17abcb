"""`scripts/release.py`, on the finished phantom project."""

import hashlib
import json
import shutil
import sys

import pytest

from pipeline.conftest import PROJECT

pytestmark = pytest.mark.slow


@pytest.fixture
def project(repository):
    shutil.copytree(PROJECT / "scripts", repository.folder / "scripts")
    return repository


def release(project, *options):
    result = project.run(sys.executable, "scripts/release.py", *options, check=False)
    return result.returncode, result.stdout + result.stderr


def test_the_card_has_the_scores_of_the_study_and_what_runs_it_again(project):
    project.set(train__backbone="mobilenet_v3_large")  # what is released has to be small
    project.repro()
    scores = json.loads((project.folder / "metrics" / "evaluate.json").read_text())

    status, output = release(project, "--name", "tiny")

    assert status == 0, output
    model = project.folder / "release" / "tiny.onnx"
    card = (project.folder / "release" / "TINY_CARD.md").read_text()
    assert hashlib.sha256(model.read_bytes()).hexdigest() in card
    assert project.run("git", "rev-parse", "HEAD").stdout.strip() in card
    assert "\n    dvc exp run -S train.backbone=mobilenet_v3_large\n" in card
    assert f"the network as trained calls {scores['accuracy']:.2%} rightly" in card
    assert f"| test images: all | {scores['accuracy']:.1%} " in card  # in full precision the export loses nothing

    project.commit()
    assert release(project)[0] == 0
    card = (project.folder / "release" / "MODEL_CARD.md").read_text()
    assert "\n    dvc repro\n" in card


def test_code_that_is_not_committed_and_a_model_of_another_run_are_refused(project):
    file = project.folder / "src" / "brain_tumor" / "plots.py"
    code = file.read_text()
    file.write_text(code + "\n# changed\n")
    status, output = release(project)
    assert status != 0
    assert "not committed: src/brain_tumor/plots.py: commit first" in output

    file.write_text(code)
    project.set(train__learning_rate=3e-5)
    status, output = release(project)
    assert status != 0
    assert "run dvc repro first" in output
    assert not (project.folder / "release").exists()
