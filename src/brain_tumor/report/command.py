"""The report: one HTML file that carries metrics, pictures and parameters inside it."""

import argparse
import base64
import csv
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from brain_tumor.errors import UserError
from brain_tumor.figures.page import Picture, Section, Table, write_page
from brain_tumor.files import flattened
from brain_tumor.params import PARAMS_FILE, load_params
from brain_tumor.report.captions import PARTS, PICTURES, PROTOCOLS, SOURCE_SHIFT, TABLES, WEIGHTS

MAIN_SET, PHANTOM = "brain-tumor-mri", "phantom"
"""Values of `download.dataset` that the report has words for."""

METRICS = {
    "split": Path("metrics/split.json"),
    "train": Path("metrics/train.json"),
    "evaluate": Path("metrics/evaluate.json"),
    "explain": Path("metrics/explain.json"),
}
"""For each stage its file. Without that of `evaluate` there is no report; another that is not there is said to miss."""

MISSING = "not measured"
"""Name under which a section says what is not there."""

LOCK = Path("dvc.lock")

GALLERY = "gradcam"
"""Folder of `plots/` whose further pictures stand small, side by side."""

TEXT = Path("metrics/classification_report.txt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `brain-tumor report`."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/report.html"),
        metavar="FILE",
        help="the HTML file to write (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the report of the project in the current folder; name the file. Returns the exit status."""
    write_report(Path(), args.output)
    print(args.output)
    return 0


def write_report(project: Path, output: Path) -> None:
    """Write what a study found as one HTML file that needs nothing beside it.

    Args:
        project: folder with `params.yaml`, `metrics/`, `plots/`, and `dvc.lock` where DVC ran the stages.
        output: the file.

    Raises:
        UserError: the metrics of `evaluate` are not there (run it), a metrics file cannot be read, or `params.yaml` is
            not valid.
    """
    params = load_params(project / PARAMS_FILE)
    metrics = {stage: _read_metrics(project / path, stage) for stage, path in METRICS.items()}
    lock = _read_lock(project / LOCK)
    current = dict(flattened(params.model_dump()))
    recorded = current | _locked_params(lock)
    write_page(
        output,
        "report.html",
        phantom=recorded["download.dataset"] == PHANTOM,
        dataset=recorded["download.dataset"],
        protocol=recorded["split.protocol"],
        revision=_revision(project),
        changed=[
            f"{name} is {_setting(current.get(name))}, the results rest on {_setting(value)}"
            for name, value in recorded.items()
            if current.get(name) != value
        ],
        headline=list(_headline(project / "plots", metrics["evaluate"])),
        sections=list(_sections(project, metrics, recorded, lock)),
    )


def tables(title: str, values: Mapping[str, Any]) -> Iterator[Table]:
    """Show nested mappings as tables, whatever their names are.

    Plain values become one table of names and values; mappings that lie side by side and have the same names become
    the rows of one table; everything else gets a table of its own.

    Args:
        title: above the first table; those of nested mappings add their own name.
        values: as read from JSON.
    """
    plain = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    if plain:
        yield Table(title, (), tuple((_words(name), (_text(value),)) for name, value in plain.items()))
    alike: dict[object, list[str]] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            key: object = frozenset(value) if _is_flat(value) else name
            alike.setdefault(key, []).append(name)
    for names in alike.values():
        if len(names) > 1:
            columns = tuple(values[names[0]])
            rows = tuple((_words(name), tuple(_text(values[name][column]) for column in columns)) for name in names)
            yield Table("" if plain else title, tuple(map(_words, columns)), rows)
        else:
            heading = ": ".join(filter(None, (title, _words(names[0]))))
            yield from tables(heading, values[names[0]])


def _is_flat(value: Mapping[str, Any]) -> bool:
    return bool(value) and not any(isinstance(item, Mapping) for item in value.values())


def _headline(plots: Path, scores: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, value and note of the scores that stand on top."""
    if "accuracy" not in scores:
        raise UserError(f"{METRICS['evaluate']} holds no accuracy: run `dvc repro evaluate` again")
    yield "accuracy", _percent(scores["accuracy"]), "; ".join(filter(None, (_counts(plots), _interval(scores))))
    for name, title, note, show in (
        (
            "with_duplicate",
            "with a copy",
            "accuracy on test images with a copy in the published training set",
            _percent,
        ),
        ("without_duplicate", "without a copy", "accuracy on test images without a copy there", _percent),
        ("auroc", "AUROC", "one class against the others, mean of the classes", _text),
        ("external_tumor", "new sources", "tumours of a further data set called a tumour", _percent),
    ):
        if name in scores:
            yield title, show(scores[name]), note


def _counts(plots: Path) -> str:
    """How many test images are right, and on how many independent groups that rests, where it is known."""
    path = plots / PARTS
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", newline="") as file:
        whole = next((row for row in csv.DictReader(file) if row["subset"] == "all"), None)
    if whole is None:
        return ""
    right, images, groups = (int(whole[name]) for name in ("correct", "images", "groups"))
    return f"{right:,} of {images:,} in {groups:,} independent groups"


def _interval(scores: Mapping[str, Any]) -> str:
    """The 95 % interval of the accuracy, where it is known."""
    if not {"accuracy_low", "accuracy_high"} <= scores.keys():
        return ""
    return f"95 % interval {_percent(scores['accuracy_low'])} to {_percent(scores['accuracy_high'])}"


def _sections(
    project: Path, metrics: Mapping[str, Mapping[str, Any]], params: Mapping[str, Any], lock: Mapping[str, Any]
) -> Iterator[Section]:
    plots = project / "plots"
    known = {name for pictures in PICTURES.values() for name in pictures}
    every = sorted(path.relative_to(plots).as_posix() for path in plots.rglob("*.png"))
    gallery = [name for name in every if name not in known and name.startswith(f"{GALLERY}/")]
    others = [name for name in every if name not in known and name not in gallery]

    def pictures(stage: str) -> list[Picture]:
        return [_picture(plots / name, caption) for name, caption in PICTURES[stage].items() if name in every]

    text = (project / TEXT).read_text(encoding="utf-8") if (project / TEXT).is_file() else ""
    yield Section(
        "What was tested on what",
        list(_study(params)),
        [*tables("", metrics["split"]), *_csv_tables(plots, "split")],
        pictures("split"),
    )
    yield Section(
        "Test images",
        [
            "Intervals draw whole groups: copies of one picture, and slices of one patient where patients are known, "
            "are right or wrong together.",
            "Where a classifier that sees no brain tells tumour from no tumour, part of the network's score may rest "
            "on the kind of picture; a network that has found the tumour changes its mind when the tumour is gone.",
        ],
        [*tables("", metrics["evaluate"]), *_csv_tables(plots, "evaluate")],
        pictures("evaluate"),
        text=text,
    )
    yield Section("Training", (), list(tables("", metrics["train"])), pictures("train"))
    yield Section(
        "What the network looks at",
        [
            "Grad-CAM colours the places that speak for a class; the line marks half of the map's maximum. "
            "A wrong prediction is shown with the maps of the predicted and of the true class. "
            "A map tells what moved the network, not where a tumour is."
        ],
        [*tables("", metrics["explain"]), *_csv_tables(plots, "explain")],
        pictures("explain"),
        [_picture(plots / name, "") for name in gallery],
    )
    files = sorted(path for path in (project / "metrics").glob("*.json") if path.stem not in METRICS)
    further = [table for path in files for table in tables(_words(path.stem), _read_metrics(path, path.stem))]
    if further or others:
        yield Section("More", (), further, [_picture(plots / name, _words(Path(name).stem)) for name in others])
    yield Section("Parameters", (), list(_parameter_tables(params)))
    outs = tuple(
        (out["path"], (stage, f"{out['size']:,}", out["md5"]))
        for stage, entry in lock.get("stages", {}).items()
        for out in entry.get("outs", ())
        if {"path", "size", "md5"} <= out.keys()
    )
    if outs:
        words = [f"Results of the stages as {LOCK} records them: who has the same digests has the same files."]
        yield Section("Files", words, [Table("", ("stage", "bytes", "MD5"), outs)])


def _csv_tables(plots: Path, stage: str) -> Iterator[Table]:
    """The tables of a stage; one without rows is left out."""
    for pattern, title in TABLES[stage].items():
        for path in sorted(plots.glob(pattern)):
            with path.open(encoding="utf-8", newline="") as file:
                columns, *rows = csv.reader(file)
            if rows:
                cells = tuple((row[0], tuple(map(_cell, row[1:]))) for row in rows)
                yield Table(title, tuple(map(_words, columns[1:])), cells)


def _cell(text: str) -> str:
    """A number as in the other tables; any other text as it is."""
    try:
        return _text(int(text)) if text.isdigit() else _text(float(text))
    except ValueError:
        return text or "undefined"


def _study(params: Mapping[str, Any]) -> Iterator[str]:
    """Sentences that tell data, protocol and network."""
    dataset, protocol, weights = params["download.dataset"], params["split.protocol"], params["train.weights"]
    yield f"Data set {dataset}, protocol {protocol}. {PROTOCOLS.get(protocol, '')}"
    if (dataset, protocol) == (MAIN_SET, "leak_free"):
        yield SOURCE_SHIFT
    yield (
        f"Network {params['train.backbone']} with the {params['train.head']} head, "
        f"{WEIGHTS.get(weights, f'start weights from {weights}')}; trained: {params['train.trainable']}."
    )


def _parameter_tables(params: Mapping[str, Any]) -> Iterator[Table]:
    sections: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for name, value in params.items():
        section, _, short = name.rpartition(".")
        sections.setdefault(section, []).append((short, (_setting(value),)))
    for section, rows in sections.items():
        yield Table(section, (), tuple(rows))


def _read_metrics(path: Path, stage: str) -> dict[str, Any]:
    if not path.is_file() and stage != "evaluate":
        return {MISSING: f"{METRICS[stage]} is not there: run `dvc repro {stage}` first"}
    if not path.is_file():
        raise UserError(f"{path} is not there: run `dvc repro {stage}` first")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}): run `dvc repro {stage}` again") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no JSON object: run `dvc repro {stage}` again")
    return values


def _read_lock(path: Path) -> dict[str, Any]:
    """What DVC recorded; empty where the stages were run by hand."""
    if not path.is_file():
        return {}
    try:
        return dict(YAML(typ="safe", pure=True).load(path) or {})
    except (YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not valid YAML ({reason}): `git checkout {path.name}`") from None


def _revision(project: Path) -> str:
    """The commit that holds the lock file, and so the results; empty without git or for a lock that is in no commit."""
    try:
        commit, changes = (
            subprocess.run(["git", *words, "--", LOCK], cwd=project, capture_output=True, text=True, check=True).stdout
            for words in (("log", "-1", "--format=%h"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.strip() + (" and later changes" if commit and changes else "")


def _locked_params(lock: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with which the stages last ran, under their full names."""
    stages = lock.get("stages", {}).values()
    recorded = (stage.get("params", {}).get(PARAMS_FILE.name, {}) for stage in stages)
    return {name: value for params in recorded for name, value in flattened(params)}


def _picture(path: Path, caption: str) -> Picture:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return Picture(f"data:image/png;base64,{data}", caption, _words(path.stem))


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.1%}"


def _setting(value: object) -> str:
    """A parameter as it is written in YAML."""
    return value if isinstance(value, str) else json.dumps(value)


def _text(value: object) -> str:
    match value:
        case None:
            return "undefined"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.3g}"
        case list():
            return ", ".join(map(_text, value))
        case _:
            return str(value)
