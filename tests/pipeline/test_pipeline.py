"""The real `dvc repro`, as a user runs it."""

import hashlib
import json

import pandas as pd
import pytest

from brain_tumor.data.catalog import CLASSES, read_split

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


def test_metrics_fit_on_a_screen(finished):
    lines = finished.dvc("metrics", "show").splitlines()

    assert len(lines) == 5
    assert max(map(len, lines)) <= 180, "long lists belong into plots/"


def test_a_second_run_does_nothing_and_leaves_the_tree_clean(repository):
    assert repository.repro() == set()
    assert repository.run("git", "status", "--porcelain").stdout == ""
    assert "Data and pipelines are up to date." in repository.dvc("repro", "--dry", "--allow-missing").splitlines()


def test_another_learning_rate_trains_again_and_the_way_back_restores(repository):
    model = repository.folder / "models" / "model.safetensors"
    before = digest(model)
    repository.set(train__learning_rate=3e-5)

    assert repository.repro() == {"train", "evaluate", "explain"}
    assert digest(model) != before

    repository.run("git", "checkout", "--quiet", "params.yaml")
    assert repository.repro() == set()
    assert digest(model) == before
    assert repository.run("git", "status", "--porcelain").stdout == ""


def test_a_changed_parameter_runs_only_what_depends_on_it(repository):
    repository.set(explain__images_per_class=2)
    assert repository.repro() == {"explain"}

    repository.set(augment__rotation=5)
    assert repository.repro() == {"augment", "train", "evaluate", "explain"}


def test_a_changed_source_file_runs_its_stages(repository):
    file = repository.folder / "src" / "brain_tumor" / "evaluation" / "metrics.py"
    file.write_text(file.read_text() + "\n# changed\n")

    assert repository.repro() == {"evaluate"}


def test_the_same_parameters_give_the_same_model(repository):
    before = digest(repository.folder / "models" / "model.safetensors")

    repository.dvc("repro", "--force", "--single-item", "train")

    assert digest(repository.folder / "models" / "model.safetensors") == before


def test_metrics_plots_and_experiments(repository):
    assert "accuracy" in repository.dvc("metrics", "show")
    assert "index.html" in repository.dvc("plots", "show")

    repository.dvc("exp", "run", "--quiet", "--name", "lower", "--set-param", "train.learning_rate=3e-5")

    assert "lower" in repository.dvc("exp", "show", "--no-pager", "--csv")
    assert "validation_accuracy" in repository.dvc("metrics", "diff")
    assert "index.html" in repository.dvc("plots", "diff", "HEAD", "lower")


def test_a_clone_without_data_shows_and_compares_results(repository, tmp_path):
    repository.set(train__learning_rate=3e-5)
    repository.repro()
    repository.commit()
    clone = type(repository)(tmp_path / "clone", repository.cache)
    repository.run("git", "clone", "--quiet", "--no-local", ".", str(clone.folder))

    assert "accuracy" in clone.dvc("metrics", "show")
    assert "validation_accuracy" in clone.dvc("metrics", "diff", "HEAD~1")
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
