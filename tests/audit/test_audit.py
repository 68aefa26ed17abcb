import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
from made import dicom
from PIL import Image, ImageOps

from brain_tumor.audit.command import audit
from brain_tumor.audit.folders import find_folders
from brain_tumor.audit.result import PAIR_COLUMNS
from brain_tumor.audit.sheet import DRAWN, write_sheet
from brain_tumor.errors import UserError
from brain_tumor.serving import cli

ODD = "<b>a & b"
"""A class that HTML must escape."""


def draw(seed, size=128):
    """A smooth random picture; two of different seeds do not correlate."""
    noise = np.random.default_rng([20, seed]).normal(size=(size, size)).astype(np.float32)
    field = cv2.GaussianBlur(noise, (0, 0), size / 28)
    return Image.fromarray(cv2.normalize(field, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8))


def save(picture, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)


def duplicate(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A set of which every duplicate is known; `Training` and `Testing`, two classes, one of them nested deeper."""
    root = tmp_path_factory.mktemp("known set")
    train, test = root / "Training", root / "Testing"
    for seed in range(6):
        save(draw(seed), train / "cat" / f"{seed}.png")
    for seed in range(6, 10):
        save(draw(seed), train / ODD / "deeper" / f"{seed} with space.png")
    duplicate(train / "cat" / "0.png", test / "cat" / "equal.png")
    save(draw(1), test / "cat" / "recompressed.jpg", quality=60)
    save(draw(2).resize((70, 90)), test / "cat" / 'resized "2".bmp')
    save(ImageOps.mirror(draw(6)), test / ODD / "mirrored.png")
    save(ImageOps.flip(draw(7)), test / ODD / "upside down.png")
    duplicate(train / "cat" / "3.png", test / ODD / "<i>other label.png")
    for seed in (20, 21, 22):
        save(draw(seed), test / "cat" / f"new {seed}.png")
    duplicate(train / "cat" / "4.png", train / "cat" / "4 again.png")
    (test / "cat" / "notes.txt").write_text("no picture", encoding="utf-8")
    duplicate(train / "cat" / "5.png", test / ".hidden" / "5.png")
    return root


TRUTH = {
    ("Testing/cat/equal.png", "Training/cat/0.png", "equal"),
    ("Testing/cat/recompressed.jpg", "Training/cat/1.png", "near"),
    ('Testing/cat/resized "2".bmp', "Training/cat/2.png", "near"),
    (f"Testing/{ODD}/mirrored.png", f"Training/{ODD}/deeper/6 with space.png", "mirrored"),
    (f"Testing/{ODD}/upside down.png", f"Training/{ODD}/deeper/7 with space.png", "flipped"),
    (f"Testing/{ODD}/<i>other label.png", "Training/cat/3.png", "equal"),
    ("Training/cat/4 again.png", "Training/cat/4.png", "equal"),
}


def small_set(root, train="train", test="test"):
    """Two folders that share one of two pictures, no classes."""
    for seed in (0, 1):
        save(draw(seed, 64), root / train / f"{seed}.png")
    for seed in (1, 2):
        save(draw(seed, 64), root / test / f"{seed}.png")
    return root


def found(result):
    return set(result.pairs[["path", "duplicate_path", "kind"]].itertuples(index=False, name=None))


def test_finds_every_duplicate_and_no_other(known):
    result = audit(known)

    assert found(result) == TRUTH
    assert result.pairs["correlation"].between(0.99, 1).all()
    assert result.pairs.loc[result.pairs["two_labels"], "path"].tolist() == [f"Testing/{ODD}/<i>other label.png"]
    assert [(folder.name, folder.place, folder.images, folder.others) for folder in result.folders] == [
        ("train", "Training", 11, 0),
        ("test", "Testing", 9, 1),
    ]
    leaked = result.leaked()
    assert set(leaked["path"]) == {path for path, _, _ in TRUTH if path.startswith("Testing")}
    assert leaked["class"].value_counts().to_dict() == {"cat": 3, ODD: 3}


def test_a_threshold_of_1_leaves_what_is_the_same(known):
    assert {kind for _, _, kind in found(audit(known, threshold=1.0))} <= {"equal", "mirrored", "flipped"}


def test_the_order_of_reading_is_shown(known):
    seen = []

    def progress(paths):
        for path in paths:
            seen.append(path)
            yield path

    audit(known, progress=progress)

    assert len(seen) == 20


def test_of_equal_files_all_are_named_but_not_all_with_all(tmp_path):
    for name in range(5):
        save(draw(0, 64), tmp_path / "train" / f"{name}.png")
    for name in range(4):
        save(draw(0, 64), tmp_path / "test" / f"{name}.png")

    pairs = audit(tmp_path).pairs
    across = pairs[pairs["folder"] != pairs["duplicate_folder"]]

    assert set(across["path"]) == {f"test/{name}.png" for name in range(4)}
    assert set(across["duplicate_path"]) == {f"train/{name}.png" for name in range(5)}
    assert len(across) == 5 + 4 - 1
    assert len(pairs) - len(across) == 4 + 3
    assert not pairs.duplicated(["path", "duplicate_path"]).any()


def test_equal_files_share_the_duplicates_of_one_of_them(tmp_path):
    """The search pairs only the first of equal files with other pictures."""
    save(draw(0), tmp_path / "train" / "a.png")
    for name in ("b.jpg", "c.jpg"):
        save(draw(0), tmp_path / "test" / name, quality=80)

    assert found(audit(tmp_path)) == {
        ("test/b.jpg", "train/a.png", "near"),
        ("test/c.jpg", "train/a.png", "near"),
        ("test/b.jpg", "test/c.jpg", "equal"),
    }


def test_duplicates_of_duplicates_are_indirect(tmp_path, monkeypatch):
    for path in ("train/a", "train/b", "val/c", "test/d", "test/e"):
        save(draw(sum(map(ord, path)), 64), tmp_path / f"{path}.png")
    chain = pd.DataFrame(  # b - c - d
        {"first": [1, 2], "second": [2, 3], "correlation": 0.995, "kind": ["near", "mirrored"], "look": "detail"}
    )
    monkeypatch.setattr("brain_tumor.audit.command.match_duplicates", lambda *_: chain)

    result = audit(tmp_path)

    assert result.pairs[["path", "duplicate_path", "kind"]].to_numpy().tolist() == [
        ["test/d.png", "train/b.png", "indirect"],
        ["val/c.png", "train/b.png", "near"],
        ["test/d.png", "val/c.png", "mirrored"],
    ]
    assert result.pairs["correlation"].isna().tolist() == [True, False, False]
    assert result.leaked()[["folder", "kind"]].to_numpy().tolist() == [["test", "indirect"], ["validation", "near"]]


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (["Training", "Testing"], {"train": "Training", "test": "Testing"}),
        (["TRAIN", "Test", "other"], {"train": "TRAIN", "test": "Test"}),
        (["test", "train", "val"], {"train": "train", "validation": "val", "test": "test"}),
        (["test", "train", "Valid"], {"train": "train", "validation": "Valid", "test": "test"}),
        (["train", "validation"], {"train": "train", "validation": "validation"}),
    ],
)
def test_finds_folders_by_name(tmp_path, names, folders):
    for name in names:
        (tmp_path / name).mkdir()
    found = find_folders(tmp_path)
    assert {split: str(place) for split, place in found.items()} == folders
    assert list(found) == list(folders)


def test_named_folders_go_first(tmp_path):
    for name in ("train", "val", "a/b"):
        (tmp_path / name).mkdir(parents=True)
    found = find_folders(tmp_path, train="a/b", test="val")
    assert {split: place.as_posix() for split, place in found.items()} == {"train": "a/b", "test": "val"}


@pytest.mark.parametrize(
    ("folders", "options", "message"),
    [
        ([], {}, "no folder of train images, looked for train, training: name it with --train"),
        (["train"], {}, "no folder of test images, looked for val, valid, validation, test, testing: name it with"),
        (["train", "Training", "test"], {}, "Training and train may both be train: name one with --train"),
        (["train", "test", "val", "valid"], {}, "val and valid may both be validation: rename one"),
        (["train"], {"test": "new"}, "new is no folder: --test names one relative to"),
        (["train/test"], {"train": "train", "test": "train/test"}, "lies in"),
        (["train"], {"train": "train", "test": "train"}, "lies in"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, folders, options, message):
    for name in folders:
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(UserError, match=re.escape(message)):
        find_folders(tmp_path, **options)


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, float("nan")])
def test_threshold_out_of_range(known, threshold):
    with pytest.raises(UserError, match="--threshold"):
        audit(known, threshold=threshold)


def test_folders_without_images(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        audit(tmp_path / "missing")
    small_set(tmp_path)
    shutil.rmtree(tmp_path / "test")
    (tmp_path / "test").mkdir()
    with pytest.raises(UserError, match=r"test holds no images: expected files that end in .*\.jpg"):
        audit(tmp_path)
    (tmp_path / "test" / "broken.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"no image in it can be read: .*broken\.png is empty"):
        audit(tmp_path)


def test_linked_folders_are_followed_once(tmp_path):
    root = small_set(tmp_path / "set")
    save(draw(0, 64), tmp_path / "elsewhere" / "0.png")
    try:
        (root / "test" / "linked").symlink_to(tmp_path / "elsewhere")
        (root / "test" / "circle").symlink_to(root / "test")
    except OSError:
        pytest.skip("no links here")

    result = audit(root)

    assert sorted(result.leaked()["path"]) == ["test/1.png", "test/linked/0.png"]


def test_command_prints_tables_and_writes_files(known, tmp_path, capsys):
    sheet, table = tmp_path / "new" / "sheet.html", tmp_path / "pairs.csv"

    assert cli.main(["audit", str(known), "--csv", str(table), "--html", str(sheet)]) == 0

    out, err = capsys.readouterr()
    assert err == ""
    assert "6 of 9 test images (66.7%) have a duplicate in train." in out
    assert "Pairs of duplicates with two labels, because their classes differ: 1." in out
    rows = {tuple(re.split(r"  +", line.strip())) for line in out.splitlines()}
    assert ("train", "Training", "11", "10", "0", "0") in rows
    assert ("test", "Testing", "9", "9", "0", "1") in rows
    assert ("test and train", "6", "2", "2", "1", "1", "0", "1") in rows
    assert ("cat", "6", "3", "50.0%", "1", "2", "0", "0", "0", "3") in rows
    assert (ODD, "3", "3", "100.0%", "1", "0", "1", "1", "0", "0") in rows
    written = pd.read_csv(table, keep_default_na=False)
    assert tuple(written.columns) == PAIR_COLUMNS
    assert set(written[["path", "duplicate_path", "kind"]].itertuples(index=False, name=None)) == TRUTH
    assert sheet.is_file()


def test_the_independent_test_images_are_named(known, tmp_path, capsys):
    duplicate(known / "Testing" / "cat" / "new 20.png", tmp_path / "set" / "Testing" / "cat" / "again.png")
    shutil.copytree(known, tmp_path / "set", dirs_exist_ok=True)
    named, summary = tmp_path / "new" / "independent.txt", tmp_path / "summary.json"

    assert cli.main(["audit", str(tmp_path / "set"), "--independent", str(named), "--json", str(summary)]) == 0

    left = [f"Testing/cat/{name}" for name in ("again.png", "new 20.png", "new 21.png", "new 22.png")]
    sentence = "without a duplicate in another folder: 4 of 10 images, 3 when duplicates among them count once."
    assert sentence in capsys.readouterr().out
    assert named.read_text(encoding="utf-8").splitlines() == left
    written = json.loads(summary.read_text(encoding="utf-8"))
    assert written["independent"] == {"folder": "test", "images": 4, "distinct": 3, "class": {"cat": 4}, "paths": left}
    assert written["with_duplicate_in_train"]["test"]["class"] == {ODD: 3, "cat": 3}
    assert written["folders"]["test"] == {"folder": "Testing", "images": 10, "unreadable": 0, "other_files": 1}
    assert written["threshold"] == 0.99


def test_a_duplicate_in_validation_is_not_independent(tmp_path):
    small_set(tmp_path)
    save(draw(2, 64), tmp_path / "val" / "2.png")

    result = audit(tmp_path)

    assert result.independent().empty
    shutil.rmtree(tmp_path / "test")
    assert audit(tmp_path).independent()["path"].tolist() == ["val/2.png"]


def test_the_sheet_shows_pairs_as_they_were_compared(tmp_path):
    """One picture cut out of the other, squeezed and mirrored: both are shown alike, and how they were told."""
    y, x = np.mgrid[-1.4:1.1:260j, -1.2:1.6:340j]
    head = Image.fromarray(
        np.where(np.hypot(x, y) < 1, 70 + np.asarray(draw(1, 400))[:260, :340] // 2, 0).astype(np.uint8)
    )
    save(head, tmp_path / "train" / "a.png")
    save(ImageOps.mirror(head.crop(head.getbbox()).resize((200, 200))), tmp_path / "test" / "b.png")

    result = audit(tmp_path)
    write_sheet(tmp_path / "sheet.html", result)

    assert result.pairs[["kind", "look"]].to_numpy().tolist() == [["mirrored", "frame"]]
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert "mirrored, frame, correlation" in page
    shown = [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r"base64,(.*?)\"", page)]
    assert np.corrcoef(*(np.asarray(picture).ravel() for picture in shown))[0, 1] > 0.98


def test_command_tells_how_to_see_the_pairs(known, capsys):
    assert cli.main(["audit", str(known)]) == 0

    assert capsys.readouterr().out.endswith("--csv FILE names the pairs, --html FILE shows them.\n")


def test_sheet_carries_its_pictures_and_escapes_names(known, tmp_path):
    write_sheet(tmp_path / "sheet.html", audit(known))

    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;a &amp; b" in page
    assert "<b>a" not in page
    assert "<i>" not in page
    sources = re.findall(r'<img src="(.*?)"', page)
    assert len(sources) == 2 * (len(TRUTH) + 1)  # the pair with two labels stands in two sections
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "more are in the CSV" not in page


def test_sheet_says_how_many_pairs_it_leaves_out(tmp_path):
    for folder, count in (("train", 1), ("test", DRAWN + 7)):
        for name in range(count):
            save(draw(0, 32), tmp_path / folder / f"{name}.png")

    write_sheet(tmp_path / "sheet.html", audit(tmp_path))

    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert f"{DRAWN} are drawn, evenly chosen; 7 more are in the CSV file" in page
    assert page.count("<li>") == 2 * DRAWN  # across and within test


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK", "I;16", "1"])
def test_pictures_of_any_mode_are_drawn(tmp_path, mode):
    picture = draw(0, 64)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    for folder in ("train", "test"):
        save(picture if mode == "I;16" else picture.convert(mode), tmp_path / folder / "0.tif")

    write_sheet(tmp_path / "sheet.html", audit(tmp_path))

    assert (tmp_path / "sheet.html").read_text(encoding="utf-8").count("data:image/jpeg") == 2


def test_dicom_is_read_and_drawn_and_several_pictures_are_one_line(tmp_path, capsys):
    for place in ("train/a.dcm", "test/b.IMA"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_bytes(dicom(np.asarray(draw(1), np.uint16)))
    (tmp_path / "test" / "frames.dcm").write_bytes(dicom(np.zeros((2, 9, 9), np.uint16)))

    cli.main(["audit", str(tmp_path), "--html", str(tmp_path / "sheet.html")])

    out, err = capsys.readouterr()
    assert (tmp_path / "sheet.html").read_text(encoding="utf-8").count("data:image/jpeg") == 2
    assert "several pictures" in out + err


def test_exit_statuses(tmp_path, capsys):
    leak, clean = small_set(tmp_path / "leak"), small_set(tmp_path / "clean")
    (clean / "test" / "1.png").unlink()

    assert cli.main(["audit", str(leak)]) == 0
    assert cli.main(["audit", str(leak), "--fail-on-leak"]) == 1
    assert cli.main(["audit", str(clean), "--fail-on-leak"]) == 0
    assert "0 of 1 test images (0.0%) have a duplicate in train." in capsys.readouterr().out

    (clean / "test" / "cut off.png").write_bytes((clean / "test" / "2.png").read_bytes()[:300])
    duplicate(clean / "test" / "cut off.png", leak / "train" / "cut off.png")

    assert cli.main(["audit", str(clean)]) == 2
    assert cli.main(["audit", str(clean), "--fail-on-leak"]) == 2
    assert cli.main(["audit", str(leak), "--fail-on-leak"]) == 1
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 3
    assert all(line.startswith("left out: ") and "cut off.png cannot be read as an image" in line for line in err)

    shutil.rmtree(clean / "train")
    assert cli.main(["audit", str(clean)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_leak_into_validation_counts(tmp_path):
    small_set(tmp_path, test="val")
    save(draw(5, 64), tmp_path / "test" / "5.png")
    assert cli.main(["audit", str(tmp_path), "--fail-on-leak"]) == 1
    (tmp_path / "val" / "1.png").unlink()
    duplicate(tmp_path / "test" / "5.png", tmp_path / "val" / "5.png")
    assert cli.main(["audit", str(tmp_path), "--fail-on-leak"]) == 0
    assert len(audit(tmp_path).pairs) == 1


def test_masks_are_no_duplicates_of_one_another(tmp_path):
    small_set(tmp_path)
    for folder in ("train", "test"):
        (picture, *_) = sorted((tmp_path / folder).rglob("*.png"))
        Image.new("L", (64, 64)).save(picture.with_name(f"{picture.stem}_mask.png"))

    assert not any("mask" in name for name in audit(tmp_path).images["path"])


def test_named_folders_on_the_command_line(tmp_path, capsys):
    small_set(tmp_path, "first half", "second half")
    assert cli.main(["audit", str(tmp_path)]) == 1
    options = ["--train", "first half", "--test", "second half", "--fail-on-leak"]
    assert cli.main(["audit", str(tmp_path), *options]) == 1
    assert "1 of 2 test images (50.0%)" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="such names are for POSIX")
def test_names_that_are_no_text(tmp_path, capsys):
    root = small_set(tmp_path / "set")
    for folder in ("train", "test"):
        place = os.path.join(os.fsencode(root / folder), b"line\nbreak \xff")  # noqa: PTH118 (no str holds it)
        os.mkdir(place)  # noqa: PTH102
        shutil.copyfile(os.fsencode(root / "train" / "0.png"), os.path.join(place, b"\xe9,0.png"))  # noqa: PTH118
    broken = os.path.join(os.fsencode(root / "test"), b"\x1b[31m\xff.png")  # noqa: PTH118
    with open(broken, "wb"):  # noqa: PTH123
        pass

    options = ["--csv", str(tmp_path / "pairs.csv"), "--html", str(tmp_path / "sheet.html")]
    assert cli.main(["audit", str(root), *options]) == 2

    out, err = capsys.readouterr()
    assert r"line\nbreak \udcff" in out
    assert err.count("\n") == 1
    assert "\x1b" not in err
    pairs = pd.read_csv(tmp_path / "pairs.csv", keep_default_na=False)
    assert "test/line\nbreak \\udcff/\\udce9,0.png" in set(pairs["path"])
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert r"\udce9,0.png" in page
    assert r"\x1b[31m" in page


def test_needs_neither_torch_nor_dvc_nor_scikit_learn(tmp_path):
    small_set(tmp_path)
    code = (
        "import json, sys; from brain_tumor.serving import cli\n"
        f"status = cli.main(['audit', {str(tmp_path)!r}, '--html', {str(tmp_path / 'sheet.html')!r}])\n"
        "print(json.dumps([status, *{name.partition('.')[0] for name in sys.modules}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    status, *loaded = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert not {"torch", "dvc", "sklearn", "scipy", "lightning", "albumentations"} & set(loaded)


def test_the_same_set_gives_the_same_bytes(known, tmp_path):
    for name in ("one", "two"):
        write_sheet(tmp_path / name, audit(known))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
