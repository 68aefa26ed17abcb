import json

import numpy as np
import pandas as pd
import pytest
from made import dicom
from PIL import Image
from serving.tiny import CENTRES, write_tiny_model
from sklearn.metrics import balanced_accuracy_score, f1_score

from brain_tumor.data.catalog import CLASSES
from brain_tumor.serving import cli

NAMES = {"glioma": "GBM", "meningioma": "meningioma", "notumor": "healthy", "pituitary": "pituitary"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model.onnx")


def write(folder, brightness):
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("L", (32, 32), round(CENTRES[brightness] * 255)).save(folder / f"{len(list(folder.iterdir()))}.png")


def test_scores_are_those_of_scikit_learn_and_names_are_mapped(model, tmp_path, capsys):
    predicted = {0: (0, 0, 1), 1: (1,), 2: (2, 2, 2, 0), 3: (3, 1)}
    for label, brightnesses in predicted.items():
        for brightness in brightnesses:
            write(tmp_path / "set" / NAMES[CLASSES[label]], brightness)
    for brightness in (0, 1, 2):
        write(tmp_path / "set" / "tumor", brightness)
    (tmp_path / "set" / "healthy" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    options = ["--map", "GBM=glioma", "--map", "healthy=notumor", "--json", str(tmp_path / "scores.json")]
    status = cli.main(["evaluate", str(tmp_path / "set"), *options, "--model", str(model)])

    scores = json.loads((tmp_path / "scores.json").read_text())
    truth = [label for label, answers in predicted.items() for _ in answers]
    answers = [answer for answers in predicted.values() for answer in answers]
    assert scores["accuracy"] == pytest.approx(7 / 10)
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, answers))
    assert scores["macro_f1"] == pytest.approx(f1_score(truth, answers, average="macro"))
    assert scores["tumour_of_unknown_type"] == {"images": 3, "sensitivity": pytest.approx(2 / 3)}
    assert scores["unreadable_files"] == 1
    assert status == 2
    captured = capsys.readouterr()
    assert "cut.png" in captured.err
    assert "66.7% of 3 predicted as a tumour" in captured.out


def test_the_pipelines_tables_and_figures_are_written(model, tmp_path, capsys):
    for label in range(4):
        for brightness in (label, label, (label + 1) % 4):
            write(tmp_path / "set" / CLASSES[label], brightness)
    write(tmp_path / "set" / "tumor", 1)

    out = tmp_path / "report"
    assert cli.main(["evaluate", str(tmp_path / "set"), "--out", str(out), "--model", str(model)]) == 0

    scores = pd.read_csv(out / "scores.csv").set_index("score").loc["accuracy"]
    assert scores["value"] == pytest.approx(2 / 3, abs=1e-5)
    assert scores["low"] < scores["value"] < scores["high"]
    assert len(pd.read_csv(out / "predictions.csv")) == 12
    assert {"scores_by_class.csv", "confusion_matrix.png", "prediction_sets.csv"} < {p.name for p in out.iterdir()}
    assert "accuracy: 66.7%, 95 % interval" in capsys.readouterr().out


def test_folders_that_cannot_be_scored_are_one_line(model, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd" / "other").mkdir(parents=True)
    for arguments, reason in (
        ([tmp_path / "absent"], "is no folder"),
        ([tmp_path / "empty"], "holds no folders"),
        ([tmp_path / "odd"], "--map other=CLASS"),
        ([tmp_path / "odd", "--map", "other=cat"], "expected NAME=CLASS"),
    ):
        assert cli.main(["evaluate", *map(str, arguments), "--model", str(model)]) == 1
        error = capsys.readouterr().err
        assert reason in error
        assert error.count("\n") == 1


def test_names_are_understood_as_in_training_and_masks_are_no_pictures(model, tmp_path, capsys):
    for name in ("Glioma_tumor", "No Tumor"):
        (tmp_path / name).mkdir()
        Image.new("L", (40, 50), 51).save(tmp_path / name / "7.png")
        Image.new("L", (40, 50), 255).save(tmp_path / name / "7_mask.png")
    arguments = [str(tmp_path), "--json", str(tmp_path / "scores.json"), "--model", str(model)]

    assert cli.main(["evaluate", *arguments]) == 0

    scores = json.loads((tmp_path / "scores.json").read_text())["per_class"]
    assert {name: scores[name]["images"] for name in ("glioma", "notumor")} == {"glioma": 1, "notumor": 1}
    assert "7_mask.png" in capsys.readouterr().err


def test_a_class_is_told_by_content_and_one_without_pictures_is_said(model, tmp_path, capsys):
    for name in ("glioma", "notumor"):
        (tmp_path / name).mkdir()
    for number in range(3):
        values = np.full((9, 9), 500, np.uint16)
        (tmp_path / "glioma" / f"IM{number}").write_bytes(dicom(values, WindowCenter=1250, WindowWidth=2500))
    (tmp_path / "notumor" / "brain.mgz").write_bytes(b"none")
    arguments = [str(tmp_path), "--json", str(tmp_path / "scores.json"), "--model", str(model)]

    assert cli.main(["evaluate", *arguments]) == 2

    passed_over, error = capsys.readouterr().err.splitlines()
    assert passed_over.startswith(f"{tmp_path / 'notumor'}: 1 passed over")
    assert error.startswith(f"error: no pictures in {tmp_path / 'notumor'}")
    assert json.loads((tmp_path / "scores.json").read_text())["per_class"]["glioma"]["images"] == 3

    for path in (tmp_path / "glioma").iterdir():
        path.unlink()
    assert cli.main(["evaluate", *arguments]) == 2
    assert capsys.readouterr().err.count("error: no pictures in") == 2


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_a_place_that_passes_through_a_file_is_one_line(model, tmp_path, option, capsys):
    write(tmp_path / "set" / "glioma", 0)
    (tmp_path / "file").touch()
    arguments = [str(tmp_path / "set"), option, str(tmp_path / "file" / "scores"), "--model", str(model)]
    assert cli.main(["evaluate", *arguments]) == 1
    error = capsys.readouterr().err
    assert str(tmp_path / "file") in error
    assert error.count("\n") == 1
