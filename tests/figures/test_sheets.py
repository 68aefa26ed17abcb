import io

import matplotlib
import numpy as np
import pytest
from figures.test_scores import HISTORY, texts
from PIL import Image

from brain_tumor.figures import scores, sheets, style


def drawn(rng):
    images = list(rng.integers(0, 256, (2, 16, 16), dtype=np.uint8))
    return {
        "curves": scores.training_curves(HISTORY),
        "augmentation": sheets.augmentation_sheet(images, [images, images[:1]], ["a", "b"]),
    }


def test_same_values_give_the_same_bytes_without_version_or_date(tmp_path):
    for folder in ("a", "b"):
        for name, figure in drawn(np.random.default_rng(1)).items():
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
    style.save(drawn(rng)["curves"], tmp_path / "curves.png")
    assert dict(matplotlib.rcParams) == before


def test_augmented_images_stand_beside_their_original(rng):
    originals = list(rng.integers(0, 256, (2, 8, 8), dtype=np.uint8))
    augmented = [[255 - originals[0]], [originals[1][::-1], originals[1].T]]
    figure = sheets.augmentation_sheet(originals, augmented, ["glioma", "notumor"])
    for line, original, changed in zip(np.reshape(figure.axes, (2, 3)), originals, augmented, strict=True):
        shown = [axes.images[0].get_array() for axes in line if axes.images]
        for image, expected in zip(shown, [original, *changed], strict=True):
            np.testing.assert_array_equal(image, expected)


def test_mistakes_stand_with_their_captions(rng):
    images = list(rng.integers(0, 256, (7, 8, 8), dtype=np.uint8))
    figure = sheets.mistakes_sheet(images, [f"caption {number}" for number in range(7)])
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in shown] == [f"caption {number}" for number in range(7)]
    np.testing.assert_array_equal(shown[3].images[0].get_array(), images[3])


def test_pairs_stand_side_by_side_and_an_image_may_stand_alone(rng):
    first, second = rng.integers(0, 256, (2, 8, 8), dtype=np.uint8)
    figure = sheets.pair_sheet([((first, second), ("a", "b"), "both"), ((first,), ("c",), "alone")])
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 0]
    assert {"a", "b", "both", "c", "alone"} == set(texts(figure))


@pytest.mark.parametrize(
    ("sheet", "content", "said"),
    [
        (sheets.pair_sheet, ([],), "no duplicates across the published folders"),
        (sheets.mistakes_sheet, ([], []), "no mistakes"),
        (sheets.augmentation_sheet, ([], [], []), "no augmented images"),
    ],
)
def test_a_sheet_of_nothing_says_so(sheet, content, said, tmp_path):
    figure = sheet(*content)
    assert texts(figure) == [said]
    style.save(figure, tmp_path / "nothing.png")
