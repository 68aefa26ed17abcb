"""What recipes are chosen by, and the guard against images that a run has trained on."""

import choose
import numpy as np
import pandas as pd
import pytest

from brain_tumor.data.catalog import CLASSES, HEALTHY, HEALTHY_INDEX
from brain_tumor.errors import UserError

EXTERNAL = pd.Series(["new/b.jpg"])


def _run_with(monkeypatch: pytest.MonkeyPatch, used: str) -> None:
    split = pd.DataFrame({"path": ["a.jpg", "new/b.jpg"], "split": ["validation", used]})
    monkeypatch.setattr(choose.dvc.api, "read", lambda _path, **_: split.to_csv(index=False).encode())


@pytest.mark.parametrize("used", ["train", "validation"])
def test_a_run_that_trained_on_what_it_is_measured_on_is_refused(monkeypatch: pytest.MonkeyPatch, used: str) -> None:
    _run_with(monkeypatch, used)
    with pytest.raises(UserError, match="run trained on some of the images"):
        choose.validation_of("run", EXTERNAL)


@pytest.mark.parametrize("used", ["excluded", "external", "test"])
def test_validation_is_the_run_s_own(monkeypatch: pytest.MonkeyPatch, used: str) -> None:
    _run_with(monkeypatch, used)
    assert choose.validation_of("run", EXTERNAL)["path"].tolist() == ["a.jpg"]


def test_scores_of_known_probabilities() -> None:
    sure = np.full((5, len(CLASSES)), 0.1)
    sure[np.arange(5), [*range(len(CLASSES)), HEALTHY_INDEX]] = 0.7  # all correct, each with 0.7
    new = np.full((2, len(CLASSES)), 0.05)
    new[0, (HEALTHY_INDEX + 1) % len(CLASSES)] = new[1, HEALTHY_INDEX] = 0.85  # one found, one healthier than healthy
    scores = choose.scores(sure, pd.Series([*CLASSES, HEALTHY]), new)
    assert scores["validation_log_loss"] == pytest.approx(-np.log(0.7))
    assert scores["validation_balanced_accuracy"] == scores["validation_notumor"] == 1
    assert scores["not_trained_on_tumor"] == 0.5
    assert scores["auroc"] == 0.5
