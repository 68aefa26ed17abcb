import zipfile

import numpy as np
import pytest
from PIL import Image

from brain_tumor.data.catalog import HEALTHY, TUMOUR, read_catalog
from brain_tumor.download import external_sets
from brain_tumor.download.external_sets import EXTERNAL_SETS, fetch_external
from brain_tumor.errors import UserError
from brain_tumor.files import file_digest


def picture(path, grey):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((12, 10), grey, np.uint8)).save(path)


@pytest.fixture
def main(tmp_path):
    """A main set with one picture a class."""
    folder = tmp_path / "raw"
    for grey, name in enumerate(("glioma", "meningioma", "notumor", "pituitary")):
        picture(folder / name / "a.png", grey)
    return folder


@pytest.fixture
def br35h(tmp_path):
    """As on Kaggle: pictures with a tumour, without, and some to predict."""
    folder = tmp_path / "br35h"
    for name in ("yes/y0.jpg", "yes/y12.jpg", "no/no0.jpg", "no/No13.jpg", "no/no 92.jpg", "pred/pred0.jpg"):
        picture(folder / name, len(name) * 10)
    return folder


def test_images_are_sorted_by_their_names_and_others_stay_behind(main, br35h, caplog):
    caplog.set_level("INFO")

    fetch_external(main, "br35h", br35h)

    catalog = read_catalog(main)
    further = catalog[catalog["folder"] == "br35h"]
    assert further["class"].value_counts().to_dict() == {TUMOUR: 2, HEALTHY: 3}
    assert further["path"].tolist()[-1] == "additional/br35h/tumor/y12.jpg"
    assert file_digest(br35h / "yes/y12.jpg") in further["digest"].tolist()
    assert len(catalog) == 4 + 5
    assert "br35h: 2 of 1,500 tumor, 3 of 1,500 notumor" in caplog.text


def test_a_part_in_an_archive_without_the_published_folders_is_taken(main, br35h, tmp_path):
    with zipfile.ZipFile(tmp_path / "part.zip", "w") as archive:
        archive.write(br35h / "yes/y0.jpg", "some/y0.jpg")

    fetch_external(main, "br35h", tmp_path / "part.zip")

    assert (main / "additional/br35h/tumor/y0.jpg").read_bytes() == (br35h / "yes/y0.jpg").read_bytes()


def test_without_a_place_kaggle_is_asked(main, br35h, monkeypatch):
    asked = []
    monkeypatch.setattr(external_sets, "download", lambda handle, otherwise: asked.append((handle, otherwise)) or br35h)

    fetch_external(main, "br35h", None)

    assert asked[0][0] == "ahmedhamada0/brain-tumor-detection"
    assert "BRAIN_TUMOR_DATA_BR35H" in asked[0][1]


def test_places_that_cannot_serve_are_named(main, tmp_path, br35h):
    with pytest.raises(UserError, match=r"BRAIN_TUMOR_DATA_BR35H: .*nowhere is not there"):
        fetch_external(main, "br35h", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no images of br35h"):
        fetch_external(main, "br35h", tmp_path / "empty")
    picture(br35h / "again/y0.jpg", 3)
    with pytest.raises(UserError, match=r"two images called y0\.jpg"):
        fetch_external(main, "br35h", br35h)
    (br35h / "again/y0.jpg").unlink()
    (br35h / "yes/y12.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"br35h.*y12\.jpg cannot be read"):
        fetch_external(main, "br35h", br35h)


def test_every_set_has_names_for_the_classes_that_it_publishes():
    for known in EXTERNAL_SETS.values():
        assert set(known.names) == set(known.published)
