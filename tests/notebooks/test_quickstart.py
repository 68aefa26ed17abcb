"""The notebook as a newcomer runs it, here on the small phantom, so that nothing is downloaded."""

import base64
import json
import shutil

import nbformat
import pytest
from pipeline.conftest import PROJECT, Repository, set_up, stages_run

from brain_tumor.files import flattened

NOTEBOOK = "notebooks/quickstart.ipynb"


def code_cells(project):
    return [cell for cell in nbformat.read(project / NOTEBOOK, 4).cells if cell.cell_type == "code"]


@pytest.mark.slow
def test_it_shows_what_the_pipeline_writes(tmp_path):
    clone = Repository(tmp_path / "project", tmp_path / "cache")
    set_up(clone)
    for name in ("notebooks", "scripts", "release"):
        shutil.copytree(PROJECT / name, clone.folder / name)
    clone.commit()
    clone.run("jupyter-execute", "--inplace", NOTEBOOK, DATASET="phantom")

    def shown(words, kind="text/plain"):
        """What the cell with these words shows, or prints for the kind `text`."""
        (cell,) = [cell for cell in code_cells(clone.folder) if words in cell.source]
        if kind == "text":
            return "".join(output.text for output in cell.outputs if output.output_type == "stream")
        return [output.data[kind] for output in cell.outputs if kind in output.get("data", {})]

    assert len(stages_run(shown("dvc repro", "text"))) == 6
    assert "['br35h', 'lgg']  []" in shown("dvc params diff", "text")

    table = dict(line.rsplit(maxsplit=1) for line in shown("flattened")[0].splitlines()[1:])
    files = {file.stem: json.loads(file.read_text()) for file in (clone.folder / "metrics").glob("*.json")}
    known = dict(flattened(files))
    assert table.keys() == known.keys()
    for name, value in known.items():
        assert table[name] == str(value) or float(table[name]) == pytest.approx(value, abs=1e-6), name

    for words, *patterns in (
        ('Path("plots").glob', "plots/*.png"),
        ("overview.png", "plots/gradcam/overview.png", "plots/explain/*.png"),
        ("--heatmap", "build/heatmap/*.png"),
    ):
        pictures = [path.read_bytes() for pattern in patterns for path in sorted(clone.folder.glob(pattern))]
        assert [base64.b64decode(picture) for picture in shown(words, "image/png")] == pictures != [], words

    assert [shown(words, "text/html")[0].count("<tr>") for words in ("(PICTURE)", "released()")] == [1, 4]
    assert f"({files['split']['leaked_share']:.1%}) have a duplicate in train" in shown("audit", "text")


def test_git_has_it_without_outputs():
    assert not any(cell.outputs or cell.execution_count for cell in code_cells(PROJECT))
