"""The command `brain-tumor audit`: duplicates between the train and test folders of any set of images."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from brain_tumor.audit.folders import FOLDER_NAMES, class_of, find_folders, list_files, read_files
from brain_tumor.audit.result import (
    AuditedFolder,
    AuditResult,
    named_pairs,
    write_independent,
    write_pairs,
    write_summary,
)
from brain_tumor.audit.sheet import plain, result_tables, summary, write_sheet
from brain_tumor.data.catalog import TEST, TRAIN
from brain_tumor.duplicates.groups import group_names
from brain_tumor.duplicates.search import match_duplicates
from brain_tumor.duplicates.views import LOOKS, SIZE, stored
from brain_tumor.errors import UserError, printable
from brain_tumor.progress import progress as progress_bar

THRESHOLD = 0.99

LEAK, UNREADABLE = 1, 2
"""Exit statuses beside 0."""

EXIT_STATUSES = (
    f"exit status: 0; {LEAK} if the audit could not be done, or with --fail-on-leak if a test or validation image has "
    f"a duplicate in train; else {UNREADABLE} if images could not be read (they are named on stderr and left out) or "
    "the options are wrong"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `brain-tumor audit`."""
    names = "; ".join(f"{split}: {', '.join(known)}" for split, known in FOLDER_NAMES.items())
    parser.epilog = EXIT_STATUSES
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help=f"holds the folders of train and test images, found by name ({names}; in upper or lower case); the first "
        "folder below them is the class, if there is one; hidden files and folders are passed over",
    )
    for split in (TRAIN, TEST):
        parser.add_argument(f"--{split}", metavar="NAME", help=f"the folder of {split} images, relative to FOLDER")
    parser.add_argument(
        "--threshold",
        type=float,
        default=THRESHOLD,
        help="correlation from which two pictures, in grey and scaled to one size, are duplicates: above 0, at most 1 "
        "(default: %(default)s)",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all pairs of duplicates, a row a pair")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts and the independent test images")
    parser.add_argument(
        "--independent",
        type=Path,
        metavar="FILE",
        help="write the list of the test images without a duplicate in train or validation, a path a line",
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page that shows pairs side by side")
    parser.add_argument(
        "--fail-on-leak",
        action="store_true",
        help=f"exit with status {LEAK} if a test or validation image has a duplicate in train",
    )


def run(args: argparse.Namespace) -> int:
    """Audit a folder, print the tables, write the files asked for. Returns the exit status, see `EXIT_STATUSES`."""
    result = audit(args.folder, args.train, args.test, args.threshold, progress_bar("reading"))
    unreadable = [reason for folder in result.folders for reason in folder.unreadable]
    for reason in unreadable:
        print(f"left out: {printable(reason)}", file=sys.stderr)
    print("\n\n".join([*map(plain, result_tables(result)), "\n".join(summary(result))]))
    if len(result.pairs) and not (args.csv or args.html):
        print("--csv FILE names the pairs, --html FILE shows them.")
    writers: tuple[tuple[Path | None, Callable[[Path, AuditResult], None]], ...] = (
        (args.csv, write_pairs),
        (args.json, write_summary),
        (args.independent, write_independent),
        (args.html, write_sheet),
    )
    for path, write in writers:
        if path:
            write(path, result)
            print(str(path))
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
    """Find duplicates across and within the train, validation and test folders of a set of images.

    Args:
        folder: holds these folders.
        train: that of the train images, relative to `folder`; by default found by name, see `FOLDER_NAMES`.
        test: likewise.
        threshold: correlation from which two pictures are duplicates, see `match_duplicates`; above 0, at most 1.
        progress: wraps the list of paths as they are read, for example a `tqdm` bar.

    Raises:
        UserError: a folder is not there, not found by name, or holds no image that can be read; a threshold out of
            range.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"--threshold {threshold}: expected a correlation above 0 and at most 1")
    folders = find_folders(folder, train, test)
    listed = {split: list_files(folder, place) for split, place in folders.items()}
    rows = [(path, split, class_of(path, folders[split])) for split, (paths, _) in listed.items() for path in paths]
    images = pd.DataFrame(rows, columns=["path", "folder", "class"], dtype=object)
    looks = stored((len(images), LOOKS, SIZE, SIZE))
    images["digest"], reasons = read_files(folder, images["path"].tolist(), looks, progress)
    audited = []
    for name, (paths, others) in listed.items():
        unreadable = tuple(reasons[path] for path in paths if path in reasons)
        if len(unreadable) == len(paths):
            raise UserError(f"{folder / folders[name]}: no image in it can be read: {unreadable[0]}")
        audited.append(AuditedFolder(name, folders[name].as_posix(), len(paths) - len(unreadable), unreadable, others))
    images = images[images["digest"] != ""].reset_index(drop=True)
    found = match_duplicates(looks[: len(images)], images["digest"].tolist(), threshold)
    images["group"] = pd.Series(group_names(images["path"].tolist(), found), dtype=object)
    return AuditResult(folder, threshold, tuple(audited), images, named_pairs(images, found))
