"""`brain-tumor predict`: classes, probabilities and heat maps of files."""

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from brain_tumor.errors import UserError, printable
from brain_tumor.explanation.heat import upsample
from brain_tumor.figures.maps import blend
from brain_tumor.files import atomic_file
from brain_tumor.progress import progress
from brain_tumor.serving.inputs import SUFFIXES
from brain_tumor.serving.onnx_model import IN_DISTRIBUTION_KEY, OOD_SCORE_KEY
from brain_tumor.serving.predictor import Prediction, Predictor
from brain_tumor.serving.released import add_model_argument
from brain_tumor.serving.stream import OVERLAY, Answer, answers, expand

UNREADABLE = 2
"""Exit status where files could not be read."""

NO_DIAGNOSIS = "No diagnosis: a research tool, tested on few public collections of pictures."

NOT_ALIKE = "not like the training images"

Row = tuple[str, bool, Prediction]
"""A file or series, whether the answer is for a volume, and the answer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `brain-tumor predict`."""
    parser.epilog = (
        f"{NO_DIAGNOSIS} Volumes, DICOM series in a folder and multi-frame files give a row a slice and one for the "
        "volume: the slices that show a tumour, its extent, and its class from these slices alone. "
        f"Exit status: 0; {UNREADABLE} if files could not be read, or there were none."
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILES",
        help=f"pictures ({', '.join(sorted(SUFFIXES))}), folders, or globs; the content decides the format",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_const", const="json", dest="form", help="a JSON object a line")
    output.add_argument("--csv", action="store_const", const="csv", dest="form", help="comma-separated rows")
    parser.add_argument("--heatmap", type=Path, metavar="DIR", help="write an overlay of each picture there, as PNG")
    add_model_argument(parser)
    parser.set_defaults(form="table")


def run(args: argparse.Namespace) -> int:
    """Predict files; returns the exit status."""
    predictor = Predictor(args.model)
    header, line = FORMS[args.form](predictor.exported.classes)
    if header:
        print(header)
    failed, read = False, 0
    if args.heatmap:
        args.heatmap.mkdir(parents=True, exist_ok=True)
    for number, answer in enumerate(progress("predict", unit="file")(answers(predictor, expand(args.files)))):
        if answer.error:
            failed = True
            print(f"error: {answer.error}", file=sys.stderr)
        read += len(answer.predictions)
        for row in rows(predictor, answer):
            print(line(row))
        if args.heatmap:
            try:
                write_overlays(args.heatmap, number, answer)
            except (OSError, UserError) as error:  # such as a full disk, or a name too long once it has a number
                failed = True
                reason = error.strerror if isinstance(error, OSError) else error
                print(f"error: {printable(answer.name)}: no overlay ({reason})", file=sys.stderr)
    if not read and not failed:
        failed = True
        print("error: no pictures found: name files, or folders that hold some", file=sys.stderr)
    if args.form == "table":
        print(NO_DIAGNOSIS, file=sys.stderr)
    return UNREADABLE if failed else 0


def rows(predictor: Predictor, answer: Answer) -> Iterator[Row]:
    """The predictions of a file, and after those of slices that of each volume."""
    yield from ((answer.name, False, prediction) for prediction in answer.predictions)
    yield from ((answer.name, True, volume) for volume in predictor.volumes(answer.predictions))


def write_overlays(folder: Path, number: int, answer: Answer) -> None:
    """Write each picture of a file, as the model saw it, with the heat map of its class.

    Args:
        folder: where the PNG files go.
        number: of the file, which keeps files of one name in several folders apart.
        answer: for the file; without predictions nothing is written.

    Raises:
        OSError, UserError: a file cannot be written.
    """
    mark = PngInfo()
    mark.add_text(*OVERLAY)
    for prediction, picture in zip(answer.predictions, answer.pictures, strict=True):
        heat = np.zeros((1, 1), np.float32) if prediction.heat is None else prediction.heat
        place = "".join(f"_{number:04d}" for number in (prediction.volume, prediction.frame) if number is not None)
        overlay = blend(picture.grey, upsample(heat[None], len(picture.grey))[0])
        with atomic_file(folder / f"{number:06d}_{Path(answer.name).name}{place}.png") as temporary:
            Image.fromarray(overlay).save(temporary, pnginfo=mark)


def _table(classes: Sequence[str]) -> tuple[str, Callable[[Row], str]]:
    width = max(map(len, classes))

    def line(row: Row) -> str:
        name, whole, prediction = row
        name = printable(name)
        if whole or prediction.volume is not None:
            name += " volume" if prediction.volume is None else f" volume {prediction.volume}"
        if prediction.frame is not None:
            name += f" slice {prediction.frame}"
        if not prediction.in_distribution:
            return f"{'?':{width}}       -  {'-':24}  {name}: {NOT_ALIKE} ({prediction.ood_reason})"
        chosen = "-" if prediction.prediction_set is None else ", ".join(prediction.prediction_set)
        return f"{prediction.label:{width}}  {prediction.probability:6.1%}  {chosen:24}  {name}{_extent(prediction)}"

    return f"{'class':{width}}  {'prob.':>6}  {'possible at 95 %':24}  file", line


def _extent(prediction: Prediction) -> str:
    extent = prediction.extent
    if extent is None:
        return ""
    length = "" if extent.millimetres is None else f", {extent.millimetres:g} mm"
    where = f"tumour in {len(extent.slices)} slices, {extent.first} to {extent.last}"
    return f": {where}, {100 * extent.share:.0f} % of the head{length}"


def _json(_: Sequence[str]) -> tuple[str, Callable[[Row], str]]:
    def line(row: Row) -> str:
        name, whole, prediction = row
        named = {"file": name, "slice": prediction.frame, "volume": whole, "volume_number": prediction.volume}
        return json.dumps(named | prediction.as_json())

    return "", line


def _csv(classes: Sequence[str]) -> tuple[str, Callable[[Row], str]]:
    def line(row: Row) -> str:
        name, whole, prediction = row
        place = "volume" if whole else prediction.frame
        probabilities = [f"{value:.6f}" for value in prediction.probabilities.values()]
        chosen = " ".join(prediction.prediction_set or ())
        inside = "yes" if prediction.in_distribution else "no"
        score = f"{prediction.ood_score:.4f}"
        found = " ".join(map(str, prediction.extent.slices)) if prediction.extent else ""
        return joined(
            printable(name), place, prediction.label, *probabilities, chosen, inside, score, prediction.volume, found
        )

    def joined(*values: object) -> str:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="").writerow(values)
        return buffer.getvalue()

    keys = ("prediction_set", IN_DISTRIBUTION_KEY, OOD_SCORE_KEY, "volume_number", "tumour_slices")
    return joined("file", "slice", "class", *classes, *keys), line


FORMS = {"table": _table, "json": _json, "csv": _csv}
"""For each form of output what makes its header and its lines, given the model's classes."""
