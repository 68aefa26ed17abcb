"""docs/onnx.md tells how the released files are used without this project: its code is run as it stands there."""

import io
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from made import raster
from PIL import Image
from ruamel.yaml import YAML

from brain_tumor.data.formats.decoding import pictures
from brain_tumor.download.phantom.plan import plan_phantom
from brain_tumor.download.phantom.slice import draw_slice
from brain_tumor.serving.onnx_model import INPUT, METADATA_KEY, OUTPUTS, Engine, Exported
from brain_tumor.serving.predictor import Predictor
from brain_tumor.serving.released import RELEASED_MODEL

PROJECT = Path(__file__).parents[2]

RELEASE = PROJECT / RELEASED_MODEL.parent

TEXT = (PROJECT / "docs" / "onnx.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def documented():
    """The names that the code in the document defines."""
    names = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)), names)
    return names


@pytest.fixture(scope="module")
def files():
    """Pictures as files: of every colour mode and odd shapes, heads and what is none."""
    heads = [draw_slice(file, seed=5)[0] for file in plan_phantom(5, 16)[::40]]
    head, other = (Image.fromarray(pixels) for pixels in heads[:2])
    see_through = head.convert("RGBA")
    see_through.putalpha(Image.fromarray(np.roll(heads[0], 30)))
    tinted = np.stack([heads[0], heads[0] // 2, 255 - heads[0] // 4], axis=2)
    speck = np.zeros((300, 400), np.uint8)
    speck[40:130, 200:280] = 180
    rng = np.random.default_rng(1)
    made = {f"head {number}": raster("PNG", pixels) for number, pixels in enumerate(heads)}
    made |= {
        "colours": raster("PNG", tinted),
        "wide": raster("PNG", np.asarray(other.resize((611, 203)))),
        "tall": raster("PNG", np.asarray(other.resize((120, 517)))),
        "large": raster("PNG", np.asarray(other.resize((1500, 1300)))),
        "turned JPEG": raster("JPEG", heads[1], exif=b"Exif\0\0MM\0*\0\0\0\10\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
        "black": raster("PNG", np.zeros((90, 70), np.uint8)),
        "speck": raster("PNG", speck),
        "noise": raster("PNG", rng.integers(0, 256, (130, 333), dtype=np.uint8)),
    }
    for name, picture in {"transparency": see_through, "palette": head.convert("P")}.items():
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        made[name] = buffer.getvalue()
    return made


def test_pictures_are_prepared_as_the_project_does(documented, files):
    reader = Predictor(RELEASE / "model.onnx").exported.reader
    others = [
        reader.model_copy(update=change)
        for change in ({"crop": "none"}, {"intensities": "file"}, {"background": "file"})
    ]
    changed = set()
    for name, content in files.items():
        (picture,) = pictures(name, content)
        expected, _ = reader.prepare(picture.grey)

        prepared = documented["prepare"](io.BytesIO(content), reader.size)

        assert prepared.dtype == np.uint8
        np.testing.assert_array_equal(prepared, expected, err_msg=name)
        changed |= {other for other in others if not np.array_equal(other.prepare(picture.grey)[0], expected)}
    assert changed == set(others)  # each step of the reader shows in these pictures


@pytest.mark.parametrize(("model", "tolerance"), [("model.onnx", 1e-4), ("vgg16.onnx", 0.05)])
def test_answers_are_the_predictors(documented, files, model, tolerance):
    predictor, classes = Predictor(RELEASE / model), set()
    for name in ("head 0", "head 1", "head 2", "colours", "wide", "noise"):
        (expected,) = predictor(files[name])

        probabilities, likely, score = documented["predict"](RELEASE / model, io.BytesIO(files[name]))

        assert probabilities == pytest.approx(expected.probabilities, abs=tolerance), name
        assert score == pytest.approx(expected.ood_score, rel=tolerance), name
        assert (score <= 1) == expected.in_distribution, name
        if model == "model.onnx":  # rounding to INT8 can move a class over its limit
            assert tuple(likely) == expected.prediction_set, name
        classes.add(expected.label)
    assert len(classes) > 1


@pytest.mark.parametrize("model", ["model.onnx", "vgg16.onnx"])
def test_the_tables_are_those_of_the_files(model):
    file = onnx.load(RELEASE / model)
    rows = re.findall(r"^\| (input|output) \| `(\w+)` \| (\w+) \(([^)]+)\)", TEXT, re.MULTILINE)
    documented = {name: (kind.upper(), shape.split(", ")) for _, name, kind, shape in rows}
    assert [name for _, name, *_ in rows] == [INPUT, *OUTPUTS]
    for value in (*file.graph.input, *file.graph.output):
        tensor = value.type.tensor_type
        kind, (first, *others) = documented[value.name]
        assert onnx.TensorProto.DataType.Name(tensor.elem_type) == {"FLOAT32": "FLOAT"}.get(kind, kind)
        assert (first, tensor.shape.dim[0].dim_param) == ("images", "batch")
        assert all(
            not size.isdigit() or int(size) == dim.dim_value
            for size, dim in zip(others, tensor.shape.dim[1:], strict=True)
        )
    keys = re.search(r"\| key \| meaning \|\n\| --- \| --- \|\n((?:\|.*\n)+)", TEXT)[1]
    names = [name for row in keys.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert names == list(Exported.model_fields)
    assert [entry.key for entry in file.metadata_props] == [METADATA_KEY]


def test_dvc_knows_the_files_as_artifacts():
    artifacts = YAML(typ="safe", pure=True).load(PROJECT / "dvc.yaml")["artifacts"]
    assert {name: known["path"] for name, known in artifacts.items()} == {
        file.stem: f"release/{file.name}" for file in RELEASE.glob("*.onnx")
    }
    for known in artifacts.values():
        exported = Engine(PROJECT / known["path"]).exported
        backbone = exported.study["train"]["backbone"].replace("_", "-")
        assert any(label in backbone for label in known["labels"])
        assert ("int8" in known["labels"]) == (exported.precision == "int8")
        assert known["desc"].endswith("_CARD.md")
        assert (PROJECT / known["desc"].split()[-1]).is_file()
