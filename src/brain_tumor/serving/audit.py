"""The audit: copies between the train and test folders of any set of images, as tables, CSV file and HTML sheet."""

import argparse
import base64
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from brain_tumor.data.catalog import IMAGE_SUFFIXES, SPLITS, TEST, TRAIN, VALIDATION
from brain_tumor.data.duplicates import EQUAL, MIRRORED, NEAR, SIZE, group_names, match_copies
from brain_tumor.data.images import Pixels, read_image
from brain_tumor.errors import UserError
from brain_tumor.files import atomic_file, file_digest, write_text
from brain_tumor.progress import progress as progress_bar
from brain_tumor.serving.report import Picture, Table

FOLDER_NAMES = {
    TRAIN: ("train", "training"),
    VALIDATION: ("val", "valid", "validation"),
    TEST: ("test", "testing"),
}
"""For each part the names of its folder, in lower case."""

THRESHOLD = 0.99

INDIRECT = "indirect"
"""The kind of two images that only copies of copies link."""

KINDS = (EQUAL, NEAR, MIRRORED, INDIRECT)
"""From the plainest on; an image with several copies counts as the plainest."""

PAIR_COLUMNS = ("part", "class", "path", "copy_part", "copy_class", "copy_path", "kind", "correlation", "two_labels")

DRAWN = 60
"""At most so many pairs are drawn in each section of the HTML sheet."""

LEAK, UNREADABLE = 1, 2
"""Exit statuses beside 0."""

EXIT_STATUSES = (
    f"exit status: 0; {LEAK} if the audit could not be done, or with --fail-on-leak if a test or validation image has "
    f"a copy in train; else {UNREADABLE} if images could not be read (they are named on stderr and left out) or the "
    "options are wrong"
)

_THUMBNAIL = 160  # pixels of the longer side


@dataclass(frozen=True)
class Part:
    """A folder of images.

    Attributes:
        name: train, validation or test.
        folder: relative to the audited folder.
        images: how many were read.
        unreadable: why images were left out, a line each.
        others: files that are no images by their suffix.
    """

    name: str
    folder: str
    images: int
    unreadable: tuple[str, ...]
    others: int


@dataclass(frozen=True)
class AuditResult:
    """What an audit found.

    Attributes:
        folder: the audited folder.
        threshold: correlation from which two pictures are copies.
        parts: those that are there, in the order train, validation, test.
        images: a row an image that was read: `path`, relative to `folder`; `part`; `class`, the first folder below the
            part's, empty for none; `digest`; `group`, the name of its group of copies.
        pairs: `PAIR_COLUMNS`, a row a pair of copies. Across parts, `path` is in the part held out and `copy_path` in
            the one that is used before it. `correlation` is NaN where the kind is indirect. Every image that has a copy
            in another part is named with one; of equal files not each is named with each.
    """

    folder: Path
    threshold: float
    parts: tuple[Part, ...]
    images: pd.DataFrame
    pairs: pd.DataFrame

    def leaked(self) -> pd.DataFrame:
        """The test and validation images with a copy in train: `part`, `class`, `path`, and `kind`, the plainest."""
        leaks = self.pairs[(self.pairs["copy_part"] == TRAIN) & (self.pairs["part"] != TRAIN)]
        order = leaks["kind"].map(KINDS.index).sort_values(kind="stable").index
        return leaks.loc[order, ["part", "class", "path", "kind"]].drop_duplicates("path").sort_values("path")


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
        print(f"left out: {_printable(reason)}", file=sys.stderr)
    _print("\n\n".join([*map(_plain, result_tables(result)), "\n".join(summary(result))]))
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
        threshold: correlation from which two pictures are copies, see `match_copies`; above 0, at most 1.
        progress: wraps the list of paths as they are read, for example a `tqdm` bar.

    Raises:
        UserError: a folder is not there, not found by name, or holds no image that can be read; a threshold out of
            range.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"--threshold {threshold}: expected a correlation above 0 and at most 1")
    folders = find_parts(folder, train, test)
    listed = {part: _list_files(folder, place) for part, place in folders.items()}
    rows = [(path, part, _class_of(path, folders[part])) for part, (paths, _) in listed.items() for path in paths]
    images = pd.DataFrame(rows, columns=["path", "part", "class"], dtype=object)
    with tempfile.TemporaryFile() as store:
        pixels = np.memmap(store, np.uint8, "w+", shape=(len(images), SIZE, SIZE))
        images["digest"], reasons = _read(folder, images["path"].tolist(), pixels, progress)
        parts = []
        for name, (paths, others) in listed.items():
            unreadable = tuple(reasons[path] for path in paths if path in reasons)
            if len(unreadable) == len(paths):
                raise UserError(f"{folder / folders[name]}: no image in it can be read: {unreadable[0]}")
            parts.append(Part(name, folders[name].as_posix(), len(paths) - len(unreadable), unreadable, others))
        images = images[images["digest"] != ""].reset_index(drop=True)
        found = match_copies(pixels[: len(images)], images["digest"].tolist(), threshold)
    images["group"] = pd.Series(group_names(images["path"].tolist(), found), dtype=object)
    return AuditResult(folder, threshold, tuple(parts), images, _pairs(images, found))


def find_parts(folder: Path, train: str | None = None, test: str | None = None) -> dict[str, Path]:
    """Find the folders of the parts.

    Args:
        folder: holds them.
        train: that of the train images, relative to `folder`; by default found by name.
        test: likewise.

    Returns:
        For each part that is there its folder, relative to `folder`, in the order of `SPLITS`: train, and test or
        validation or both.

    Raises:
        UserError: `folder` or a folder named is not there, none or several are found, or one lies in another.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name one that holds folders of train and test images")
    found = {part: Path(name) for part, name in ((TRAIN, train), (TEST, test)) if name is not None}
    for part, place in found.items():
        if not (folder / place).is_dir():
            raise UserError(f"{folder / place} is no folder: --{part} names one relative to {folder}")
    taken = {(folder / place).resolve() for place in found.values()}
    for part in SPLITS:
        if part not in found:
            places = [place for place in _named(folder, FOLDER_NAMES[part]) if (folder / place).resolve() not in taken]
            if len(places) > 1:
                remedy = "rename one" if part == VALIDATION else f"name one with --{part}"
                raise UserError(f"{folder}: {' and '.join(map(str, places))} may both be {part}: {remedy}")
            if places:
                found[part] = places[0]
    for part, enough in ((TRAIN, {TRAIN}), (TEST, {TEST, VALIDATION})):
        if not enough & found.keys():
            names = ", ".join(name for known in SPLITS if known in enough for name in FOLDER_NAMES[known])
            raise UserError(f"{folder}: no folder of {part} images, looked for {names}: name it with --{part}")
    parts = {part: found[part] for part in SPLITS if part in found}
    for part, place in parts.items():
        for other, outer in parts.items():
            if part != other and (folder / place).resolve().is_relative_to((folder / outer).resolve()):
                raise UserError(f"{folder / place} ({part}) lies in {folder / outer} ({other}): name other folders")
    return parts


def write_pairs(path: Path, result: AuditResult) -> None:
    """Write all pairs as CSV, `PAIR_COLUMNS`; bytes of a name that are no UTF-8 are written as escapes."""
    with atomic_file(path) as temporary:
        result.pairs.to_csv(temporary, index=False, float_format="%.4f", errors="backslashreplace")


def result_tables(result: AuditResult) -> list[Table]:
    """The parts; pairs by parts; and for test and validation the images with a copy in train, by class."""
    return [_parts_table(result), _pairs_table(result), *_leak_tables(result)]


def summary(result: AuditResult) -> list[str]:
    """A sentence for each part held out, and one for labels that contradict each other."""
    leaked = result.leaked()["part"].value_counts()
    sentences = [
        f"{leaked.get(part.name, 0):,} of {part.images:,} {part.name} images "
        f"({_share(leaked.get(part.name, 0), part.images)}) have a copy in {TRAIN}."
        for part in reversed(result.parts)
        if part.name != TRAIN
    ]
    two_labels = int(result.pairs["two_labels"].sum())
    if two_labels:
        sentences.append(f"Pairs of copies with two labels, because their classes differ: {two_labels:,}.")
    return sentences


def write_sheet(path: Path, result: AuditResult) -> None:
    """Write one HTML file with the tables and pairs side by side, which needs nothing beside it."""
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("brain_tumor.serving"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("audit.html")
    page = template.render(
        folder=_printable(result.folder.resolve().name),
        threshold=result.threshold,
        sentences=summary(result),
        tables=result_tables(result),
        unreadable=[_printable(reason) for part in result.parts for reason in part.unreadable],
        sections=[
            {"title": title, "pairs": len(pairs), "shown": [_shown(result.folder, pair) for pair in _drawn(pairs)]}
            for title, pairs in _sections(result)
        ],
    )
    write_text(path, page)


def _named(folder: Path, names: Sequence[str]) -> list[Path]:
    folders = next(os.walk(folder, onerror=_refuse))[1]
    return [Path(name) for name in sorted(folders) if name.lower() in names]


def _list_files(folder: Path, place: Path) -> tuple[list[str], int]:
    """Sorted paths of the images below `folder / place`, relative to `folder`, and the number of other files.

    Linked folders are followed, because an audit that passes them over would call a set clean that it has not seen.
    """
    paths, others, seen = [], 0, set()
    for current, folders, names in os.walk(folder / place, onerror=_refuse, followlinks=True):
        real = os.path.realpath(current)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = place / Path(current).relative_to(folder / place)
        for name in names:
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                paths.append((below / name).as_posix())
            elif not name.startswith("."):
                others += 1
    if not paths:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"{folder / place} holds no images: expected files that end in {suffixes}")
    return sorted(paths), others


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be listed ({error.strerror}): make it readable or remove it") from None


def _class_of(path: str, place: Path) -> str:
    below = Path(path).relative_to(place).parts
    return below[0] if len(below) > 1 else ""


def _read(
    folder: Path, paths: list[str], pixels: Pixels, progress: Callable[[list[str]], Iterable[str]]
) -> tuple[list[str], dict[str, str]]:
    """Read files into the first rows of `pixels`; those that cannot be read take no row.

    Returns:
        The digest of each file, empty for one that cannot be read, and the reasons by path.
    """

    def read(path: str) -> tuple[str, Pixels] | UserError:
        try:
            return file_digest(folder / path), read_image(folder / path, SIZE)
        except UserError as error:
            return error
        except OSError as error:
            return UserError(f"{folder / path} cannot be read ({error.strerror}): replace or remove it")

    digests, reasons, row = [], {}, 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, answer in zip(progress(paths), pool.map(read, paths), strict=True):
            if isinstance(answer, UserError):
                reasons[path] = str(answer)
                digests.append("")
            else:
                digests.append(answer[0])
                pixels[row] = answer[1]
                row += 1
    return digests, reasons


def _pairs(images: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Name the images of each pair of parts that are copies, `PAIR_COLUMNS`.

    Args:
        images: as in `AuditResult`.
        found: as `match_copies` returns it, where of equal files only the first is paired with other pictures.
    """
    numbers = pd.Series(images.index, index=images.index)
    first_of = numbers.groupby(images["digest"]).transform("min")
    unlike = found[found["kind"] != EQUAL].rename(columns={"first": "file", "second": "copy_file"})
    same = pd.DataFrame({"file": first_of.unique(), "copy_file": first_of.unique(), "correlation": 1.0, "kind": EQUAL})
    swapped = unlike.rename(columns={"file": "copy_file", "copy_file": "file"})
    names = [name for name in reversed(SPLITS) if (images["part"] == name).any()]
    files = {name: first_of[images["part"] == name] for name in names}
    blocks = []
    for name, other in _couples(names):
        if name == other:
            links = pd.concat([same, unlike])
            block = _spread(links, files[name], files[name])
            block[["row", "copy_row"]] = np.sort(block[["row", "copy_row"]], axis=1)
            block = block[block["row"] != block["copy_row"]].drop_duplicates(["row", "copy_row"])
        else:
            direct = _spread(pd.concat([same, unlike, swapped]), files[name], files[other])
            block = pd.concat([direct, _indirect(images["group"], direct, files[name].index, files[other].index)])
        blocks.append(block.sort_values(["row", "copy_row"]))
    pairs = pd.concat(blocks, ignore_index=True)
    columns = ["part", "class", "path"]
    named = images.loc[pairs["row"], columns].reset_index(drop=True)
    copies = images.loc[pairs["copy_row"], columns].reset_index(drop=True).add_prefix("copy_")
    result = pd.concat([named, copies, pairs[["kind", "correlation"]]], axis=1)
    known = (result["class"] != "") & (result["copy_class"] != "")
    result["two_labels"] = known & (result["class"] != result["copy_class"])
    return result[list(PAIR_COLUMNS)]


def _couples(names: Sequence[str]) -> list[tuple[str, str]]:
    """Test with train, validation with train, test with validation, then each with itself.

    Args:
        names: of the parts, those used last first.
    """
    across = [(name, other) for place, name in enumerate(names) for other in names[place + 1 :]]
    return sorted(across, key=lambda couple: couple[1] != TRAIN) + [(name, name) for name in names]


def _spread(links: pd.DataFrame, files: pd.Series, copies: pd.Series) -> pd.DataFrame:
    """Pairs of images out of pairs of files: each image of either side with the first of the other.

    All with all would be a million rows where a thousand empty pictures are the same file.

    Args:
        links: `file`, `copy_file`, `correlation`, `kind`.
        files: number of the file, by row of the image.
        copies: likewise of the other side.

    Returns:
        `row`, `copy_row`, `correlation`, `kind`.
    """
    left = pd.DataFrame({"file": files, "row": files.index, "again": files.duplicated()})
    right = pd.DataFrame({"copy_file": copies, "copy_row": copies.index, "again": copies.duplicated()})
    every = links.merge(left, on="file").merge(right[~right["again"]], on="copy_file")
    others = links.merge(left[~left["again"]], on="file").merge(right[right["again"]], on="copy_file")
    return pd.concat([every, others])[["row", "copy_row", "correlation", "kind"]]


def _indirect(group: pd.Series, direct: pd.DataFrame, rows: pd.Index, copies: pd.Index) -> pd.DataFrame:
    """Pairs, as `_spread` names them, of images that have copies on the other side by way of others only."""
    forward = _partners(group, rows[~rows.isin(direct["row"])], copies)
    backward = _partners(group, copies[~copies.isin(direct["copy_row"])], rows)
    ends = ["row", "copy_row"]
    pairs = pd.DataFrame(np.concatenate([forward, backward[:, ::-1]]), columns=ends).drop_duplicates()
    return pairs.assign(correlation=np.nan, kind=INDIRECT)


def _partners(group: pd.Series, rows: pd.Index, others: pd.Index) -> NDArray[np.int64]:
    """(pairs, 2): each of the rows whose group has a member among the others, and the first such member."""
    first = pd.Series(others, index=group[others]).groupby(level=0).min()
    partner = group[rows].map(first).dropna()
    return np.stack([partner.index.to_numpy(np.int64), partner.to_numpy(np.int64)], 1)


def _parts_table(result: AuditResult) -> Table:
    rows = []
    for part in result.parts:
        groups = result.images.loc[result.images["part"] == part.name, "group"].nunique()
        counts = (part.images, groups, len(part.unreadable), part.others)
        rows.append((part.name, (_printable(part.folder), *(f"{count:,}" for count in counts))))
    return Table("Images", ("folder", "images", "without repeats", "unreadable", "other files"), tuple(rows))


def _pairs_table(result: AuditResult) -> Table:
    rows = []
    for name, other in _couples([part.name for part in reversed(result.parts)]):
        pairs = _between(result.pairs, name, other)
        title = f"within {name}" if name == other else f"{name} and {other}"
        rows.append((title, (*_kind_counts(pairs), f"{int(pairs['two_labels'].sum()):,}")))
    return Table("Pairs of copies", ("pairs", *KINDS, "two labels"), tuple(rows))


def _leak_tables(result: AuditResult) -> Iterator[Table]:
    leaked = result.leaked()
    for part in reversed(result.parts):
        if part.name == TRAIN:
            continue
        images = result.images[result.images["part"] == part.name]
        copied = leaked[leaked["part"] == part.name]
        rows = []
        if images["class"].any():
            for name, members in images.groupby("class"):
                rows.append(
                    _leak_row(_printable(str(name)) or "(no class)", len(members), copied[copied["class"] == name])
                )
        rows.append(_leak_row("all", len(images), copied))
        title = f"{part.name.capitalize()} images with a copy in {TRAIN}"
        yield Table(title, ("images", "with a copy", "share", *KINDS), tuple(rows))


def _leak_row(name: str, images: int, copied: pd.DataFrame) -> tuple[str, tuple[str, ...]]:
    count, *kinds = _kind_counts(copied)
    return name, (f"{images:,}", count, _share(len(copied), images), *kinds)


def _kind_counts(rows: pd.DataFrame) -> tuple[str, ...]:
    return tuple(f"{count:,}" for count in (len(rows), *(int((rows["kind"] == kind).sum()) for kind in KINDS)))


def _between(pairs: pd.DataFrame, name: str, other: str) -> pd.DataFrame:
    return pairs[(pairs["part"] == name) & (pairs["copy_part"] == other)]


def _sections(result: AuditResult) -> Iterator[tuple[str, pd.DataFrame]]:
    """What the sheet draws: title and pairs."""
    yield "Copies with two labels", result.pairs[result.pairs["two_labels"]]
    for name, other in _couples([part.name for part in reversed(result.parts)]):
        title = f"Copies within {name}" if name == other else f"{name.capitalize()} images with a copy in {other}"
        yield title, _between(result.pairs, name, other)


def _drawn(pairs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """At most `DRAWN` of the pairs, evenly from the plainest and strongest to the weakest."""
    order = pairs.assign(rank=pairs["kind"].map(KINDS.index)).sort_values(
        ["rank", "correlation"], ascending=[True, False], kind="stable"
    )
    chosen = np.unique(np.linspace(0, len(order) - 1, min(len(order), DRAWN)).round().astype(int))
    for row in order.iloc[chosen].to_dict("records"):
        yield {str(name): value for name, value in row.items()}


def _shown(folder: Path, pair: dict[str, Any]) -> dict[str, Any]:
    correlation = "" if np.isnan(pair["correlation"]) else f", correlation {pair['correlation']:.4f}"
    return {
        "caption": f"{pair['kind']}{correlation}",
        "pictures": [_thumbnail(folder, pair["path"]), _thumbnail(folder, pair["copy_path"])],
        "classes": [_printable(pair["class"]), _printable(pair["copy_class"])] if pair["two_labels"] else [],
    }


def _thumbnail(folder: Path, path: str) -> Picture:
    """A small picture in its own colours and proportions, so that a reader recognises it."""
    with Image.open(folder / path) as image:
        if image.mode.startswith(("I", "F")):  # deeper than 8 bits, which Pillow would cut off
            small = Image.fromarray(read_image(folder / path, _THUMBNAIL))
        else:
            small = (image.convert("RGBA") if image.mode in ("P", "PA", "LA") else image).convert("RGB")
            small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    data = io.BytesIO()
    small.save(data, "JPEG", quality=85)
    source = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
    return Picture(source, _printable(path), _printable(path))


def _plain(table: Table) -> str:
    """A table in letters of one width."""
    lines = [("", *table.columns), *((name, *cells) for name, cells in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = (
        "  ".join([name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))])
        for name, *cells in lines
    )
    return "\n".join([table.title, *aligned])


def _share(count: int, images: int) -> str:
    return f"{count / images:.1%}"


def _print(text: str) -> None:
    """Print text of which the terminal may not know every letter."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _printable(text: str) -> str:
    """The text with line breaks, control characters and bytes that are no letters as escapes."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
