import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML

from brain_tumor.errors import UserError
from brain_tumor.figures.page import Table
from brain_tumor.report.command import write_report
from brain_tumor.report.tables import tables

PARAMS = Path(__file__).parents[2] / "params.yaml"
FIXED = {"download.dataset": "brain-tumor-mri", "train.epochs": 10, "train.learning_rate": 1e-4}

METRICS = {
    "split": {"images": {"train": {"glioma": 1321, "notumor": 7}, "test": {"glioma": 300, "notumor": 405}}},
    "train": {"validation_accuracy": 0.925},
    "evaluate": {
        "accuracy": 0.9,
        "accuracy_low": 0.88,
        "accuracy_high": 0.92,
        "auroc": 0.8765,
        "accuracy_with_duplicate": 0.99,
        "accuracy_without_duplicate": None,
        "external": {
            "lgg": {"auroc": 0.91, "sensitivity": 0.5, "specificity": 0.5},
            "br35h": {"auroc": None, "sensitivity": 0.75, "specificity": None},
        },
        "classes": {name: {"precision": 0.5, "recall": 0.625, "f1": None} for name in ("glioma", "notumor")},
    },
    "explain": {"images": 12},
}

LOCK = """
schema: '2.0'
stages:
  download:
    params: {params.yaml: {download: {dataset: phantom, digest: null, annotations: false}}}
    outs: [{path: data/raw, md5: 00ff.dir, size: 1234567, nfiles: 3}]
  train:
    params: {params.yaml: {train.epochs: 99}}
"""


def write_params(project, **changes):
    """The parameters at HEAD, but with values that a test can know."""
    yaml = YAML()
    params = yaml.load(PARAMS)
    for name, value in (FIXED | changes).items():
        section, parameter = name.split(".")
        params[section][parameter] = value
    yaml.dump(params, project / "params.yaml")


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "the project"
    (folder / "metrics").mkdir(parents=True)
    (folder / "plots" / "gradcam").mkdir(parents=True)
    write_params(folder)
    for name, values in METRICS.items():
        (folder / "metrics" / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "plots" / "confidence.csv").write_text("score,value\n<temperature>,1.5\n", encoding="utf-8")
    counts = "subset,images,groups,correct,accuracy\nall,1300,700,1170,0.9\n"
    (folder / "plots" / "scores_by_subset.csv").write_text(counts, encoding="utf-8")
    names = ("confusion_matrix", "leaks", "roc_curves", "gradcam/overview", "gradcam/glioma_correct_1")
    for grey, name in enumerate(names):
        Image.new("L", (4, 4), grey).save(folder / "plots" / f"{name}.png")
    return folder


class Page(HTMLParser):
    """Text, tables (rows of cells), attributes, and whether every element is closed in its place."""

    VOID = frozenset({"meta", "img"})

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.rows, self.pieces = [], [], [], []
        self.feed(text)
        assert not self.open
        self.text = " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.pieces.append(data)
        if self.open and self.open[-1] in {"th", "td"}:
            self.rows[-1].append(data)

    @property
    def images(self):
        return [value for tag, name, value in self.attributes if (tag, name) == ("img", "src")]


def page_of(project):
    output = project / "out" / "report.html"
    write_report(project, output)
    return Page(output.read_text(encoding="utf-8"))


def test_page_carries_everything_inside_it(project):
    page = page_of(project)
    drawn = {path.read_bytes() for path in (project / "plots").rglob("*.png")}
    assert {base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in page.images} == drawn
    assert len(page.images) == len(drawn)
    names = {name for _, name, _ in page.attributes}
    assert not names & {"srcset", "action", "data", "onclick"}
    places = {f"#{value}" for _, name, value in page.attributes if name == "id"}
    assert {value for _, name, value in page.attributes if name == "href"} == places  # contents, and nothing else
    text = (project / "out" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import|<script", text)
    assert all(value for tag, name, value in page.attributes if (tag, name) == ("img", "alt"))


def test_headline_and_metrics_are_shown(project):
    page = page_of(project)
    for piece in ("accuracy 90.0% 1,170 of 1,300 in 700 independent groups", "with a duplicate 99.0%"):
        assert piece in page.text
    assert "without a duplicate undefined" in page.text
    assert "lgg: AUROC 0.910" in page.text
    assert "br35h: sensitivity 75.0%" in page.text
    assert "95 % interval 88.0% to 92.0%" in page.text
    assert ["train", "1,321", "7"] in page.rows
    assert ["accuracy without duplicate", "undefined"] in page.rows
    assert ["notumor", "0.5000", "0.6250", "undefined"] in page.rows
    assert ["validation accuracy", "0.9250"] in page.rows
    assert ["learning_rate", "0.0001"] in page.rows
    assert ["<temperature>", "1.5000"] in page.rows


def test_tables_of_plots_are_shown_and_empty_ones_are_not(project):
    text = "score,value,low,high\naccuracy,0.9,0.88,\nimages,1311,<b>,1e-05\n"
    (project / "plots" / "scores.csv").write_text(text, encoding="utf-8")
    (project / "plots" / "lesion_removed.csv").write_text("lesion_removed,class,images\n", encoding="utf-8")
    (project / "plots" / "localization_by_class.csv").write_text("class,hit\nglioma,0.75\n", encoding="utf-8")
    page = page_of(project)
    assert ["accuracy", "0.9000", "0.8800", "undefined"] in page.rows
    assert ["images", "1,311", "<b>", "1e-05"] in page.rows
    assert ["glioma", "0.7500"] in page.rows
    assert "Is the map at the tumour?" in page.text
    assert "when the lesion is removed" not in page.text


def test_says_that_it_is_no_medical_device_and_what_a_phantom_is(project):
    assert "no medical device" in page_of(project).text
    assert "pictures are drawn" not in page_of(project).text
    write_params(project, **{"download.dataset": "phantom"})
    text = page_of(project).text
    assert text.index("pictures are drawn") < text.index("90.0%")
    assert "say nothing about patients" in text


def test_the_lock_tells_what_the_results_rest_on(project):
    (project / "dvc.lock").write_text(LOCK, encoding="utf-8")
    page = page_of(project)
    assert "pictures are drawn" in page.text
    assert "download.dataset is brain-tumor-mri, the results rest on phantom" in page.text
    assert "train.epochs is 10, the results rest on 99" in page.text
    assert "train.dropout is" not in page.text
    assert ["epochs", "99"] in page.rows
    assert ["data/raw", "download", "1,234,567", "00ff.dir"] in page.rows
    (project / "dvc.lock").unlink()
    assert "has changed since" not in page_of(project).text


def test_the_commit_of_the_results_is_named(project):
    def git(*words):
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        return subprocess.run(
            ["git", *identity, *words], cwd=project, check=True, capture_output=True, text=True
        ).stdout

    assert "commit" not in page_of(project).text
    (project / "dvc.lock").write_text(LOCK, encoding="utf-8")
    git("init", "--quiet")
    assert "commit" not in page_of(project).text
    git("add", "dvc.lock")
    git("commit", "--quiet", "--message", "results")
    commit = git("rev-parse", "--short", "HEAD").strip()
    git("commit", "--quiet", "--allow-empty", "--message", "no new results")
    assert page_of(project).text.count(f", commit {commit} ") == 1
    (project / "dvc.lock").write_text(LOCK + "\n", encoding="utf-8")
    assert f"commit {commit} and later changes" in page_of(project).text


def test_later_metrics_and_plots_appear_without_change(project):
    calibration = {"error": {"before": 0.0412, "after": {"mean": 0.0001234}}}
    (project / "metrics" / "calibration.json").write_text(json.dumps(calibration), encoding="utf-8")
    page = page_of(project)
    assert ["before", "0.0412"] in page.rows
    assert ["mean", "0.000123"] in page.rows
    assert "calibration: error: after" in page.text
    assert ("img", "alt", "roc curves") in page.attributes


def test_text_from_files_is_escaped(project):
    evil = "<script>alert('&')</script>"
    scores = METRICS["explain"] | {evil: evil, "nested": {evil: {"a": 1}}}
    (project / "metrics" / "explain.json").write_text(json.dumps(scores), encoding="utf-8")
    write_params(project, **{"download.dataset": evil})
    page = page_of(project)
    assert [evil, evil] in page.rows
    assert not [tag for tag, _, _ in page.attributes if tag == "script"]
    assert f"Data set {evil}, protocol" in page.text


def test_same_results_give_the_same_bytes(project):
    for name in ("a.html", "b.html"):
        write_report(project, project / name)
    assert (project / "a.html").read_bytes() == (project / "b.html").read_bytes()


@pytest.mark.parametrize("stage", sorted(METRICS.keys() - {"evaluate"}))
def test_a_section_without_metrics_says_so(project, stage):
    (project / "metrics" / f"{stage}.json").unlink()
    page = page_of(project)
    assert ["not measured", f"metrics/{stage}.json is not there: run `dvc repro {stage}` first"] in page.rows
    assert "accuracy 90.0%" in page.text


def test_without_scores_there_is_no_report(project):
    (project / "metrics" / "evaluate.json").unlink()
    with pytest.raises(UserError, match=r"metrics/evaluate\.json is not there: run `dvc repro evaluate` first"):
        write_report(project, project / "report.html")
    assert not (project / "report.html").exists()


BROKEN_METRICS = r"metrics/evaluate\.json .*run `dvc repro evaluate` again"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        *(("metrics/evaluate.json", text, BROKEN_METRICS) for text in ("", "{", "[1]", '{"images": 1}')),
        ("dvc.lock", "stages: {", r"dvc\.lock is not valid YAML"),
    ],
)
def test_broken_files_are_one_line(project, file, text, message):
    (project / file).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as raised:
        write_report(project, project / "report.html")
    assert "\n" not in str(raised.value)


def test_tables_lay_out_any_nesting():
    values = {
        "n": 3,
        "flag": True,
        "with_duplicate": {"images": 1, "accuracy": 1.0},
        "without_duplicate": {"images": 2, "accuracy": None},
        "alone": {"x": [1, 0.5], "deep": {"y": "text"}},
        "nothing": {},
    }
    rows = (("with duplicate", ("1", "1.0000")), ("without duplicate", ("2", "undefined")))
    assert list(tables("scores", values)) == [
        Table("scores", (), (("n", ("3",)), ("flag", ("yes",)))),
        Table("", ("images", "accuracy"), rows),
        Table("scores: alone", (), (("x", ("1, 0.5000",)),)),
        Table("scores: alone: deep", (), (("y", ("text",)),)),
    ]
    assert list(tables("", {"a": {"x": 1, "y": 2}, "b": {"y": 20, "x": 10}})) == [
        Table("", ("x", "y"), (("a", ("1", "2")), ("b", ("10", "20")))),
    ]


def test_report_needs_no_torch():
    code = "import sys, brain_tumor.report.command; assert not {'torch', 'sklearn', 'h5py'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
