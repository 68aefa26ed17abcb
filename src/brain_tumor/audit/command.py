"""The command `brain-tumor audit`: copies between the train and test folders of any set of images."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from brain_tumor.audit.folders import FOLDER_NAMES, class_of, find_folders, list_files, read_files
from brain_tumor.audit.result import AuditResult, SplitArrays, named_pairs, write_pairs
from brain_tumor.audit.sheet import plain, printable, result_tables, summary, write_sheet
from brain_tumor.data.catalog import TEST, TRAIN
from brain_tumor.duplicates.groups import group_names
from brain_tumor.duplicates.search import match_duplicates
from brain_tumor.duplicates.views import SIZE
from brain_tumor.errors import UserError
from brain_tumor.progress import progress as progress_bar

THRESHOLD = 0.99

LEAK, UNREADABLE = 1, 2
"""Exit statuses beside 0."""

EXIT_STATUSES = (
    f"exit status: 0; {LEAK} if the audit could not be done, or with --fail-on-leak if a test or validation image has "
    f"a copy in train; else {UNREADABLE} if images could not be read (they are named on stderr and left out) or the "
    "options are wrong"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `brain-tumor audit`."""
    names = "; ".join(f"{part}: {', '.join(known)}" for part, known in FOLDER_NAMES.items())
    parser.epilog = EXIT_STATUSES
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help=f"holds the folders of train and test images, found by name ({names}; in upper or lower case); the first "
        "folder below them is the class, if there is one; hidden files and folders are passed over",
    )
    for part in (TRAIN, TEST):
        parser.add_argument(f"--{part}", metavar="NAME", help=f"the folder of {part} images, relative to FOLDER")
    parser.add_argument(
        "--threshold",
        type=float,
        default=THRESHOLD,
        help="correlation from which two pictures, in grey and scaled to one size, are copies: above 0, at most 1 "
        "(default: %(default)s)",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all pairs of copies, a row a pair")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page that shows pairs side by side")
    parser.add_argument(
        "--fail-on-leak",
        action="store_true",
        help=f"exit with status {LEAK} if a test or validation image has a copy in train",
    )


def run(args: argparse.Namespace) -> int:
    """Audit a folder, print the tables, write the files asked for. Returns the exit status, see `EXIT_STATUSES`."""
    result = audit(args.folder, args.train, args.test, args.threshold, progress_bar("reading"))
    unreadable = [reason for part in result.parts for reason in part.unreadable]
    for reason in unreadable:
        print(f"left out: {printable(reason)}", file=sys.stderr)
    _print("\n\n".join([*map(plain, result_tables(result)), "\n".join(summary(result))]))
    if len(result.pairs) and not (args.csv or args.html):
        _print("--csv FILE names the pairs, --html FILE shows them.")
    if args.csv:
        write_pairs(args.csv, result)
        _print(str(args.csv))
    if args.html:
        write_sheet(args.html, result)
        _print(str(args.html))
    if args.fail_on_leak and len(result.leaked()):
        return LEAK
    return UNREADABLE if unreadable else 0


def audit(
    folder: Path,
    train: str | None = None,
    test: str | None = None,
    threshold: float = THRESHOLD,
    progress: Callable[[list[str]], Iterable[str]] = iter,
) -> AuditResult:
    """Find copies across and within the train, validation and test folders of a set of images.

    Args:
        folder: holds these folders.
        train: that of the train images, relative to `folder`; by default found by name, see `FOLDER_NAMES`.
        test: likewise.
        threshold: correlation from which two pictures are copies, see `match_duplicates`; above 0, at most 1.
        progress: wraps the list of paths as they are read, for example a `tqdm` bar.

    Raises:
        UserError: a folder is not there, not found by name, or holds no image that can be read; a threshold out of
            range.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"--threshold {threshold}: expected a correlation above 0 and at most 1")
    folders = find_folders(folder, train, test)
    listed = {part: list_files(folder, place) for part, place in folders.items()}
    rows = [(path, part, class_of(path, folders[part])) for part, (paths, _) in listed.items() for path in paths]
    images = pd.DataFrame(rows, columns=["path", "part", "class"], dtype=object)
    with tempfile.TemporaryFile() as store:
        pixels = np.memmap(store, np.uint8, "w+", shape=(len(images), SIZE, SIZE))
        images["digest"], reasons = read_files(folder, images["path"].tolist(), pixels, progress)
        parts = []
        for name, (paths, others) in listed.items():
            unreadable = tuple(reasons[path] for path in paths if path in reasons)
            if len(unreadable) == len(paths):
                raise UserError(f"{folder / folders[name]}: no image in it can be read: {unreadable[0]}")
            parts.append(SplitArrays(name, folders[name].as_posix(), len(paths) - len(unreadable), unreadable, others))
        images = images[images["digest"] != ""].reset_index(drop=True)
        found = match_duplicates(pixels[: len(images)], images["digest"].tolist(), threshold)
    images["group"] = pd.Series(group_names(images["path"].tolist(), found), dtype=object)
    return AuditResult(folder, threshold, tuple(parts), images, named_pairs(images, found))


def _print(text: str) -> None:
    """Print text of which the terminal may not know every letter."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))
