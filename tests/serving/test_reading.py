import numpy as np
import pytest
from PIL import Image
from serving.tiny import CENTRES, write_tiny_model

from brain_tumor.data.formats.pixels import Picture
from brain_tumor.data.images import Reader
from brain_tumor.errors import UserError
from brain_tumor.serving import cli
from brain_tumor.serving.reading import read

HEAD = Reader(size=32, crop="head", intensities="head", background="black")
"""As the released models read, whose search for the head has its own demands of a picture."""


@pytest.mark.parametrize("shape", [(1, 512), (512, 1), (5, 3000), (3000, 5)])
def test_a_picture_that_cannot_be_prepared_is_one_line(shape):
    with pytest.raises(UserError, match=r"^narrow\.png") as raised:
        read(HEAD, "narrow.png", [Picture(np.full(shape, 100, np.uint8))])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 3), (40, 7), (300, 260)])
def test_small_pictures_are_read(shape):
    (picture,) = read(HEAD, "small.png", [Picture(np.full(shape, 100, np.uint8))])
    assert picture.grey.shape == (32, 32)


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_narrow_picture_ends_no_run(tmp_path, command, capsys):
    model = write_tiny_model(tmp_path / "model.onnx", HEAD)
    folder = tmp_path / "set" / "glioma"
    folder.mkdir(parents=True)
    Image.new("L", (512, 1)).save(folder / "narrow.png")
    grey = np.full((40, 50), round(CENTRES[0] * 255), np.uint8)
    Image.fromarray(grey).save(folder / "whole.png")

    status = cli.main([command, str(tmp_path / "set"), "--model", str(model)])

    out, err = capsys.readouterr()
    assert status == 2
    assert err.startswith(f"error: {folder / 'narrow.png'}")
    assert "glioma" in out
