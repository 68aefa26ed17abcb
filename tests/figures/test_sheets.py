import io

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brain_tumor.data.catalog import CLASSES
from brain_tumor.figures import scores, sheets, style

COUNTS = np.array([[8, 2, 0, 0], [1, 4, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1234]])
HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "train_loss": [1.0, 0.5, 0.2],
        "val_loss": [1.1, 0.6, 0.7],
        "train_accuracy": [0.5, 0.8, 0.9],
        "val_accuracy": [0.5, 0.7, 0.75],
    }
)


def figures(rng):
    pictures = list(rng.integers(0, 256, (2, 16, 16), dtype=np.uint8))
    return {
        "confusion": scores.confusion_matrix(COUNTS, CLASSES),
        "curves": scores.training_curves(HISTORY),
        "augmentation": sheets.augmentation_sheet(pictures, [pictures, pictures[:1]], ["a", "b"]),
    }


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_same_values_give_the_same_bytes_without_version_or_date(tmp_path):
    for folder in ("a", "b"):
        for name, figure in figures(np.random.default_rng(1)).items():
            style.save(figure, tmp_path / folder / f"{name}.png")
        matplotlib.rcParams["font.size"] = 23  # what the user's own settings say does not matter
    matplotlib.rcdefaults()
    for path in (tmp_path / "a").iterdir():
        data = path.read_bytes()
        assert data == (tmp_path / "b" / path.name).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            image.verify()
            assert not {"Software", "Creation Time", "date"} & set(image.info)


def test_drawing_leaves_global_settings_alone(rng, tmp_path):
    before = dict(matplotlib.rcParams)
    style.save(figures(rng)["curves"], tmp_path / "curves.png")
    assert dict(matplotlib.rcParams) == before


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch):
    figure = scores.training_curves(HISTORY)
    monkeypatch.setattr(figure, "savefig", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        style.save(figure, tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())


def test_confusion_matrix_shows_counts_and_shares_of_the_row():
    written = texts(scores.confusion_matrix(COUNTS, CLASSES))
    assert "8\n80.0%" in written
    assert "1\n20.0%" in written
    assert "1,234\n99.9%" in written
    assert written.count("0\n–") == 4  # no notumor image: a share of nothing is undefined
    assert "meningioma\n5" in written
    assert "1,246 of 1,250 images right" in written
    with pytest.raises(ValueError, match="expected"):
        scores.confusion_matrix(COUNTS[:3], CLASSES)


def test_curves_mark_the_epoch_of_lowest_validation_loss():
    figure = scores.training_curves(HISTORY)
    assert "lowest validation loss: epoch 2" in texts(figure)
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[1].lines}
    np.testing.assert_array_equal(drawn["train"], HISTORY["train_accuracy"])
    np.testing.assert_array_equal(drawn["validation"], HISTORY["val_accuracy"])
    assert scores.training_curves(HISTORY[:1])
    with pytest.raises(ValueError, match="no epochs"):
        scores.training_curves(HISTORY[:0])


def test_augmentation_sheet_puts_copies_beside_their_original(rng):
    originals = list(rng.integers(0, 256, (2, 8, 8), dtype=np.uint8))
    copies = [[255 - originals[0]], [originals[1][::-1], originals[1].T]]
    figure = sheets.augmentation_sheet(originals, copies, ["glioma", "notumor"])
    grid = np.array(figure.axes).reshape(2, 3)
    for line, original, changed in zip(grid, originals, copies, strict=True):
        shown = [axes.images[0].get_array() for axes in line if axes.images]
        assert len(shown) == 1 + len(changed)
        for drawn, expected in zip(shown, [original, *changed], strict=True):
            np.testing.assert_array_equal(drawn, expected)
    with pytest.raises(ValueError, match="0 originals"):
        sheets.augmentation_sheet([], [], [])
