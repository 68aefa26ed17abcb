"""The real `dvc repro`, as a user runs it."""

import hashlib
import json
import shutil
import sys

import pandas as pd
import pytest

from brain_tumor.data.catalog import CLASSES, read_split
from brain_tumor.download.phantom.plan import MIN_PATIENTS
from brain_tumor.download.phantom.write import write_phantom
from pipeline.conftest import PROJECT, stages_run

pytestmark = pytest.mark.slow


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_declared_result_is_there(finished):
    for name in ("split", "train", "evaluate", "explain"):
        assert json.loads((finished.folder / "metrics" / f"{name}.json").read_text())
    for name in ("leaks.png", "augmentation.png", "history.csv", "confusion_matrix.png", "gradcam/overview.png"):
        assert (finished.folder / "plots" / name).stat().st_size > 0
    split = read_split(finished.folder / "data" / "split.csv")
    predictions = pd.read_csv(finished.folder / "plots" / "predictions.csv")
    assert sorted(predictions["path"]) == sorted(split.loc[split["split"] == "test", "path"])
    assert predictions[list(CLASSES)].sum(axis=1).sub(1).abs().max() < 1e-4


def test_scores_are_those_of_the_predictions_in_git(finished):
    scores = json.loads((finished.folder / "metrics" / "evaluate.json").read_text())
    predictions = pd.read_csv(finished.folder / "plots" / "predictions.csv")

    assert scores["accuracy"] == pytest.approx((predictions["actual"] == predictions["predicted"]).mean())


def test_metrics_show_a_row_a_stage_and_the_ratios_of_each_class(finished):
    title, *rows = finished.dvc("metrics", "show").splitlines()

    assert {f"classes.{name}.recall" for name in CLASSES} <= set(title.split())
    assert len(rows) == 4


def test_a_second_run_does_nothing_and_leaves_the_tree_clean(repository):
    assert repository.repro() == set()
    assert repository.run("git", "status", "--porcelain").stdout == ""
    assert "Data and pipelines are up to date." in repository.dvc("repro", "--dry", "--allow-missing").splitlines()


def test_another_learning_rate_gives_another_model_and_the_way_back_restores(finished, changed):
    model = changed.folder / "models" / "model.safetensors"
    before = digest(finished.folder / "models" / "model.safetensors")
    assert digest(model) != before

    changed.run("git", "checkout", "--quiet", "HEAD~1", "--", "params.yaml")

    assert changed.repro() == set()
    assert digest(model) == before
    changed.run("git", "add", "--all")
    assert changed.run("git", "diff", "--cached", "--name-only", "HEAD~1").stdout == ""


def test_a_changed_parameter_runs_only_what_depends_on_it(repository):
    repository.set(explain__images_per_class=2)
    assert repository.repro() == {"explain"}

    repository.set(augment__rotation=5)
    assert set(json.loads(repository.run(sys.executable, "-m", "dvc", "status", "--json").stdout)) == {"augment"}
    uses_it = repository.dvc("dag", "--dot")
    assert all(f'"augment" -> "{name}"' in uses_it for name in ("train", "evaluate", "explain"))


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("evaluation/metrics.py", "evaluate"),
        ("figures/maps.py", "explain"),
        ("download/phantom/anatomy.py", "download"),  # it draws the same brains, so nothing else runs
    ],
)
def test_a_changed_source_file_runs_its_stage_alone(repository, name, stage):
    file = repository.folder / "src" / "brain_tumor" / name
    file.write_text(file.read_text() + "\n# changed\n")

    assert repository.repro() == {stage}


def test_an_experiment_runs_what_its_parameter_decides(repository):
    output = repository.dvc("exp", "run", "-S", "train.learning_rate=0.002")

    assert stages_run(output) == {"train", "evaluate", "explain"}


@pytest.mark.parametrize("flat", [False, True])
def test_a_set_of_ones_own_without_leaks_runs_to_its_end(repository, tmp_path, flat):
    write_phantom(tmp_path / "own", seed=3, patients=MIN_PATIENTS, clean=True)
    shutil.rmtree(tmp_path / "own" / "annotations")
    if flat:
        for file in [*(tmp_path / "own").glob("*/*/*")]:
            (tmp_path / "own" / file.parent.name).mkdir(exist_ok=True)
            file.rename(tmp_path / "own" / file.parent.name / file.name)
        for name in ("Training", "Testing"):
            shutil.rmtree(tmp_path / "own" / name)
    protocol = "grouped" if flat else "leak_free"
    repository.set(download__dataset=str(tmp_path / "own"), split__protocol=protocol)

    assert repository.repro() == {"download", "split", "augment", "train", "evaluate", "explain"}
    assert not json.loads((repository.folder / "metrics" / "split.json").read_text()).get("leaked_share")


def test_the_same_parameters_give_the_same_model(repository):
    before = digest(repository.folder / "models" / "model.safetensors")

    repository.dvc("repro", "--force", "--single-item", "train")

    assert digest(repository.folder / "models" / "model.safetensors") == before


def test_metrics_plots_and_experiments(changed):
    assert "accuracy" in changed.dvc("metrics", "show")
    assert "index.html" in changed.dvc("plots", "show")

    changed.run("git", "checkout", "--quiet", "HEAD~1", "--", "params.yaml")
    changed.dvc("exp", "run", "--quiet", "--name", "back")

    assert "back" in changed.dvc("exp", "show", "--no-pager", "--csv")
    assert "metrics/evaluate.json" in changed.dvc("metrics", "diff")
    assert "index.html" in changed.dvc("plots", "diff", "HEAD", "back")


def test_a_clone_without_data_shows_and_compares_results(changed, tmp_path):
    clone = type(changed)(tmp_path / "clone", changed.cache)
    changed.run("git", "clone", "--quiet", "--no-local", ".", str(clone.folder))

    assert "accuracy" in clone.dvc("metrics", "show")
    assert "metrics/evaluate.json" in clone.dvc("metrics", "diff", "HEAD~1")
    assert "index.html" in clone.dvc("plots", "show")
    assert "index.html" in clone.dvc("plots", "diff", "HEAD~1")


def test_a_stage_that_fails_says_why_in_its_last_line(repository):
    repository.set(train__learning_rate="fast")

    output = repository.dvc("repro", check=False)

    assert "error: params.yaml: train.learning_rate: input should be a valid number" in output
    assert "Traceback" not in output


def test_a_missing_input_stops_the_stage_before_it_writes(repository):
    (repository.folder / "data" / "split.csv").unlink()

    result = repository.run("python", "stages/augment.py", check=False)

    assert result.returncode == 1
    assert result.stderr.strip() == "error: data/split.csv is not there: run the split stage first"


@pytest.fixture
def project(repository):
    return with_scripts(repository)


def with_scripts(repository):
    shutil.copytree(PROJECT / "scripts", repository.folder / "scripts")
    return repository


def release(project, *options):
    result = project.run(sys.executable, "scripts/release.py", *options, check=False)
    return result.returncode, result.stdout + result.stderr


def test_a_released_model_has_a_card_with_the_scores_of_the_study(project):
    scores = json.loads((project.folder / "metrics" / "evaluate.json").read_text())

    status, output = release(project, "--name", "tiny")

    assert status == 0, output
    card = (project.folder / "release" / "TINY_CARD.md").read_text()
    assert digest(project.folder / "release" / "tiny.onnx") in card
    assert project.run("git", "rev-parse", "HEAD").stdout.strip() in card
    assert "\n    dvc repro\n" in card
    assert f"The network as trained classifies {scores['accuracy']:.2%} of all test images correctly" in card
    assert f"| test images: all | {scores['accuracy']:.1%} " in card  # in full precision the export loses nothing


def test_a_released_model_of_other_parameters_names_them(finished, changed):
    project = with_scripts(changed)
    shutil.copyfile(finished.folder / "params.yaml", project.folder / "params.yaml")
    project.commit()
    project.set(train__learning_rate=3e-5)

    assert release(project)[0] == 0
    card = (project.folder / "release" / "MODEL_CARD.md").read_text()
    assert "\n    dvc exp run -S train.learning_rate=3e-05\n" in card


def test_code_that_is_not_committed_and_a_model_of_another_run_are_not_released(project):
    file = project.folder / "src" / "brain_tumor" / "figures" / "style.py"
    code = file.read_text()
    file.write_text(code + "\n# changed\n")
    status, output = release(project)
    assert status != 0
    assert "not committed: src/brain_tumor/figures/style.py: commit first" in output

    file.write_text(code)
    project.set(train__learning_rate=3e-5)
    status, output = release(project)
    assert status != 0
    assert "run dvc repro first" in output
    assert not (project.folder / "release").exists()
