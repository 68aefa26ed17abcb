"""The report: one HTML file that carries metrics, pictures and parameters inside it."""

import argparse
import base64
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
from brain_tumor.params import MAIN_SET, PARAMS_FILE, PHANTOM, load_params
from brain_tumor.report.captions import (
    FIRST,
    HEADLINE,
    PICTURES,
    PROTOCOLS,
    SECTIONS,
    SOURCE_SHIFT,
    SUBSETS,
    TABLES,
    WEIGHTS,
)
from brain_tumor.report.tables import csv_rows, csv_table, percent, setting, tables, words

METRICS, PLOTS, LOCK = Path("metrics"), Path("plots"), Path("dvc.lock")

GALLERY = "gradcam"
"""Folder of `plots/` whose further pictures stand small, side by side."""


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
    metrics = {stage: _read_metrics(project / METRICS / f"{stage}.json") for stage in SECTIONS}
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
            f"{name} is {setting(current.get(name))}, the results rest on {setting(value)}"
            for name, value in recorded.items()
            if current.get(name) != value
        ],
        headline=list(_headline(project / PLOTS, metrics["evaluate"])),
        first=list(_pictures(project / PLOTS, FIRST)),
        sections=[*_stage_sections(project, metrics, recorded), *_last_sections(project, recorded, lock)],
    )


def _headline(plots: Path, scores: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, value and note of the scores that stand on top."""
    if "accuracy" not in scores:
        raise UserError(f"{METRICS / 'evaluate.json'} holds no accuracy: run `dvc repro evaluate` again")
    notes = [_counts(plots / SUBSETS)]
    if {"accuracy_low", "accuracy_high"} <= scores.keys():
        notes.append(f"95 % interval {percent(scores['accuracy_low'])} to {percent(scores['accuracy_high'])}")
    yield "accuracy", percent(scores["accuracy"]), "; ".join(filter(None, notes))
    for name, (title, note) in HEADLINE.items():
        if name in scores:
            yield title, percent(scores[name]), note
    for collection, values in scores.get("external", {}).items():
        if values["auroc"] is not None:
            yield (
                f"{collection}: AUROC",
                f"{values['auroc']:.3f}",
                "external slices with a tumour against those without",
            )
        else:
            yield f"{collection}: sensitivity", percent(values["sensitivity"]), "external tumours predicted a tumour"


def _counts(path: Path) -> str:
    """How many test images are correct, and on how many independent groups that rests, where it is known."""
    columns, *rows = csv_rows(path) if path.is_file() else [[]]
    whole = next((dict(zip(columns, row, strict=True)) for row in rows if row[0] == "all"), None)
    if whole is None:
        return ""
    correct, images, groups = (int(whole[name]) for name in ("correct", "images", "groups"))
    return f"{correct:,} of {images:,} in {groups:,} independent groups"


def _stage_sections(
    project: Path, metrics: Mapping[str, Mapping[str, Any]], params: Mapping[str, Any]
) -> Iterator[Section]:
    """A section a stage: its metrics, and its tables and pictures as far as they are there."""
    plots = project / PLOTS
    for stage, (title, paragraphs) in SECTIONS.items():
        named = TABLES.get(stage, {}).items()
        csv_tables = (csv_table(path, heading) for pattern, heading in named for path in sorted(plots.glob(pattern)))
        yield Section(
            title,
            [*(_study(params) if stage == "split" else ()), *paragraphs],
            [*tables("", metrics[stage]), *filter(None, csv_tables)],
            list(_pictures(plots, PICTURES[stage])),
            [_picture(plots / name, "") for name in _further(plots, GALLERY)] if stage == "explain" else (),
        )


def _last_sections(project: Path, params: Mapping[str, Any], lock: Mapping[str, Any]) -> Iterator[Section]:
    """What no stage of the study is known for, then parameters and files."""
    plots = project / PLOTS
    gallery = _further(plots, GALLERY)
    others = [_picture(plots / name, words(Path(name).stem)) for name in _further(plots) if name not in gallery]
    files = sorted(path for path in (project / METRICS).glob("*.json") if path.stem not in SECTIONS)
    further = [table for path in files for table in tables(words(path.stem), _read_metrics(path))]
    if further or others:
        yield Section("More", (), further, others)
    sections: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for name, value in params.items():
        section, _, short = name.rpartition(".")
        sections.setdefault(section or "all stages", []).append((short, (setting(value),)))
    yield Section("Parameters", (), [Table(name, (), tuple(rows)) for name, rows in sections.items()])
    outs = tuple(
        (out["path"], (stage, f"{out['size']:,}", out["md5"]))
        for stage, entry in lock.get("stages", {}).items()
        for out in entry.get("outs", ())
        if {"path", "size", "md5"} <= out.keys()
    )
    if outs:
        note = f"Results of the stages as {LOCK} records them: who has the same digests has the same files."
        yield Section("Files", [note], [Table("results", ("stage", "bytes", "MD5"), outs)])


def _further(plots: Path, folder: str = "") -> list[str]:
    """Pictures of a folder that have no caption, by their paths below `plots`."""
    known = {name for pictures in (FIRST, *PICTURES.values()) for name in pictures}
    names = sorted(path.relative_to(plots).as_posix() for path in (plots / folder).rglob("*.png"))
    return [name for name in names if name not in known]


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


def _read_metrics(path: Path) -> dict[str, Any]:
    """What a stage measured; a line that says so where another than `evaluate` has not run."""
    remedy = f"run `dvc repro {path.stem}`"
    if not path.is_file() and path.stem != "evaluate":
        return {"not measured": f"{METRICS / path.name} is not there: {remedy} first"}
    if not path.is_file():
        raise UserError(f"{path} is not there: {remedy} first")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}): {remedy} again") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no JSON object: {remedy} again")
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
            subprocess.run([*git, "--", LOCK], cwd=project, capture_output=True, text=True, check=True).stdout
            for git in (("git", "log", "-1", "--format=%h"), ("git", "status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.strip() + (" and later changes" if commit and changes else "")


def _locked_params(lock: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with which the stages last ran, under their full names."""
    stages = lock.get("stages", {}).values()
    recorded = (stage.get("params", {}).get(PARAMS_FILE.name, {}) for stage in stages)
    return {name: value for params in recorded for name, value in flattened(params)}


def _pictures(plots: Path, captions: Mapping[str, str]) -> Iterator[Picture]:
    """Those that are there."""
    return (_picture(plots / name, caption) for name, caption in captions.items() if (plots / name).is_file())


def _picture(path: Path, caption: str) -> Picture:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return Picture(f"data:image/png;base64,{data}", caption, words(path.stem))
