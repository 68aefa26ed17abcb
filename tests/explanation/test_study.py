"""The stage shows what there is, and says so where there is nothing."""

import json
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from brain_tumor.data.annotations import OUTLINE_COLUMNS, format_outline
from brain_tumor.data.arrays import write_origin, write_split_arrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.images import Reader
from brain_tumor.explanation.gradcam import grad_cam
from brain_tumor.explanation.study import predictions_and_maps
from brain_tumor.model.classifier import Classifier, Description
from brain_tumor.model.predict import probabilities

PROJECT = Path(__file__).resolve().parent.parent.parent
SIZE = 32


@pytest.fixture(scope="module")
def classifier():
    values = {"backbone": "mobilenet_v3_large", "head": "pooled", "trainable": "head", "precision": "fp32"}
    torch.manual_seed(0)
    return Classifier(Description(classes=CLASSES, reader=Reader(size=SIZE), dropout=0, **values)).eval()


def test_one_pass_gives_the_predictions_and_their_maps(arrays, cache, classifier):
    images = arrays.test.images
    features = cache.compute(classifier, images)

    answers, maps = predictions_and_maps(classifier, features, "gradcam")

    np.testing.assert_array_equal(answers, probabilities(classifier, images, cache))
    targets = torch.from_numpy(answers.argmax(axis=1))
    whole = grad_cam(classifier.activations, classifier.classify, features.gather(np.arange(len(images))), targets)
    np.testing.assert_allclose(maps, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("case", "images", "outlines"),
    [
        ("all correct", 6, True),
        ("all wrong", 6, True),
        ("one class", 6, False),
        ("all correct", 1, True),
        ("all wrong", 1, False),
    ],
)
def test_there_may_be_nothing_to_show(arrays, cache, classifier, tmp_path, monkeypatch, case, images, outlines):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(cache.folder.parent))
    test = arrays.test
    predicted = probabilities(classifier, test.images[:images], cache).argmax(axis=1)
    labels = {"all correct": predicted, "all wrong": (predicted + 1) % 4, "one class": 0 * predicted}[case]
    index = test.index[:images].assign(**{"class": [CLASSES[label] for label in labels]})
    for split in ("train", "validation", "test"):
        write_split_arrays(Path("data/arrays"), split, test.images[:images], index)
    write_origin(Path("data/arrays"), arrays.reader, arrays.split_digest)
    classifier.save(Path("models/model.safetensors"))
    (tmp_path / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    if outlines:
        square = format_outline(np.array([[0.2, 0.2], [0.6, 0.2], [0.6, 0.6], [0.2, 0.6]]))
        Path("data/raw/annotations").mkdir(parents=True)
        table = pd.DataFrame([(path, square) for path in index["path"]], columns=list(OUTLINE_COLUMNS))
        table.to_csv("data/raw/annotations/outlines.csv", index=False)

    runpy.run_path(str(PROJECT / "stages" / "explain.py"))["main"]()

    tables = {path.stem: pd.read_csv(path) for path in Path("plots").glob("*.csv")}
    assert set(tables) == {"localization", "randomization", "deletion_insertion", "map_scores"}
    assert {path.stem for path in Path("plots/explain").iterdir()} == set(tables) - {"map_scores"}
    assert tables["localization"].empty == (not outlines)
    pictures = {path.stem for path in Path("plots/gradcam").iterdir()}
    words = np.where(labels == predicted, "correct", "wrong")
    expected = {f"{CLASSES[label]}_{word}" for label, word in zip(labels, words, strict=True)}
    assert {name.rsplit("_", 1)[0] for name in pictures - {"overview"}} == expected
    values = json.loads(Path("metrics/explain.json").read_text())
    assert ("pointing" in values) == (outlines and bool((labels == predicted).any()))
