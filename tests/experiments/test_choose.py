"""What recipes are chosen by, and the guard against pictures that a run has trained on."""

import choose
import numpy as np
import pandas as pd
import pytest

from brain_tumor.data.catalog import CLASSES, HEALTHY
from brain_tumor.errors import UserError
from brain_tumor.model.classifier import Classifier

FURTHER = pd.DataFrame({"path": ["new/b.jpg"]})


def _run_with(monkeypatch: pytest.MonkeyPatch, used: str) -> None:
    split = pd.DataFrame({"path": ["a.jpg", "new/b.jpg"], "split": ["validation", used]})
    monkeypatch.setattr(choose.dvc.api, "read", lambda _path, **_: split.to_csv(index=False))


@pytest.mark.parametrize("used", ["train", "validation"])
def test_a_run_that_trained_on_what_it_is_measured_on_is_refused(monkeypatch: pytest.MonkeyPatch, used: str) -> None:
    _run_with(monkeypatch, used)
    with pytest.raises(UserError, match="run trained on some of the pictures"):
        choose.validation_of("run", FURTHER)


@pytest.mark.parametrize("used", ["excluded", "external", "test"])
def test_validation_is_the_run_s_own(monkeypatch: pytest.MonkeyPatch, used: str) -> None:
    _run_with(monkeypatch, used)
    assert choose.validation_of("run", FURTHER)["path"].tolist() == ["a.jpg"]


def test_scores_of_known_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = CLASSES.index(HEALTHY)
    validation = pd.DataFrame({"class": [*CLASSES, HEALTHY]})
    sure = np.full((5, len(CLASSES)), 0.1)
    sure[np.arange(5), [*range(len(CLASSES)), healthy]] = 0.7  # all right, each with 0.7
    new = np.full((2, len(CLASSES)), 0.05)
    new[0, (healthy + 1) % len(CLASSES)] = new[1, healthy] = 0.85  # one found, one healthier than the healthy
    answers = iter([sure, new])
    monkeypatch.setattr(choose, "probabilities", lambda *_: next(answers))
    scores = choose.scores(object.__new__(Classifier), validation, FURTHER)
    assert scores["validation_log_loss"] == pytest.approx(-np.log(0.7))
    assert scores["validation_balanced_accuracy"] == scores["validation_notumor"] == 1
    assert scores["further_tumor"] == 0.5
    assert scores["auroc"] == 0.5
