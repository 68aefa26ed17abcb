import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from brain_tumor.errors import UserError
from brain_tumor.files import atomic_file, atomic_folder, file_digest, list_of, write_csv, write_json, write_text


class Stopped(Exception):
    pass


def write_half_a_file(path):
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        raise Stopped


def write_half_a_folder(path):
    with atomic_folder(path) as temporary:
        (temporary / "half").touch()
        raise Stopped


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_when_the_block_has_ended(tmp_path):
    path = tmp_path / "new" / "model.npy"

    with atomic_file(path) as temporary:
        temporary.write_bytes(b"whole")
        assert temporary.parent == path.parent
        assert temporary.suffix == ".npy"
        assert not path.exists()

    assert path.read_bytes() == b"whole"
    assert names(path.parent) == ["model.npy"]


def test_an_interrupted_file_or_folder_leaves_the_old_one_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "old").touch()

    with pytest.raises(Stopped):
        write_half_a_file(tmp_path / "a.txt")
    with pytest.raises(Stopped):
        write_half_a_folder(tmp_path / "raw")

    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt", "raw"]
    assert names(tmp_path / "raw") == ["old"]


def test_files_and_folders_have_the_rights_of_those_that_were_simply_made(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    write_text(tmp_path / "atomic file", "")
    with atomic_folder(tmp_path / "atomic folder"):
        pass

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert (modes["atomic file"], modes["atomic folder"]) == (modes["file"], modes["folder"])


def test_a_folder_replaces_the_old_one_whole(tmp_path):
    target = tmp_path / "data" / "raw"
    target.mkdir(parents=True)
    (target / "old").touch()

    with atomic_folder(target) as temporary:
        (temporary / "new").touch()
        assert names(target) == ["old"]

    assert names(target) == ["new"]
    assert names(target.parent) == ["raw"]


def test_a_folder_in_place_of_a_file_is_named_and_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "split.csv").mkdir()
    (tmp_path / "raw").touch()

    with pytest.raises(UserError, match=r"split\.csv is a folder"), atomic_file(tmp_path / "split.csv"):
        pytest.fail("the block must not run")
    with pytest.raises(UserError, match="raw is a file"), atomic_folder(tmp_path / "raw"):
        pytest.fail("the block must not run")

    assert names(tmp_path) == ["raw", "split.csv"]


def test_json_comes_back_in_the_order_given(tmp_path):
    value = {"z": 0.1, "a": [1, None], "ä": "ß"}
    write_json(tmp_path / "m.json", value)

    text = (tmp_path / "m.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert list(json.loads(text)) == ["z", "a", "ä"]
    assert text.endswith("}\n")
    assert "ß" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_without_a_value_is_refused_and_not_written(tmp_path, value):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "m.json", {"accuracy": value})

    assert names(tmp_path) == []


def test_the_digest_is_that_of_the_bytes(tmp_path):
    content = bytes(range(256)) * 5_000
    (tmp_path / "a").write_bytes(content)

    assert file_digest(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_table_has_six_digits_and_empty_cells_where_nothing_is_known(tmp_path):
    write_csv(tmp_path / "a.csv", pd.DataFrame({"name": ["a", None], "value": [1 / 3, float("nan")], "images": [7, 8]}))
    assert (tmp_path / "a.csv").read_bytes() == b"name,value,images\na,0.333333,7\n,,8\n"


@pytest.mark.parametrize("nothing", [{}, {"empty": {}}])
def test_names_of_a_path_are_joined_and_none_is_empty(nothing):
    table = list_of({"a": {"b": {"c": 1.5}, "d": None}, "e": 2} | nothing)
    assert table["name"].tolist() == ["a.b.c", "a.d", "e"]
    assert table["value"].isna().tolist() == [False, True, False]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize(
    ("writer", "write", "reason"),
    [
        (atomic_file, lambda _: Path("/dev/full").write_bytes(b"1"), "no space left on the disk"),
        (atomic_folder, lambda _: Path("/dev/full").write_bytes(b"1"), "no space left on the disk"),
        (atomic_file, lambda _: Path("/sys/new").mkdir(), None),  # another place than the one that is written
    ],
)
def test_a_full_disk_is_told_in_one_line(tmp_path, writer, write, reason):
    with pytest.raises(UserError if reason else PermissionError) as caught, writer(tmp_path / "a") as temporary:
        write(temporary)

    assert not reason or str(caught.value) == f"{tmp_path / 'a'} cannot be written: {reason}"
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/sys/kernel").exists(), reason="needs a folder that not even root can write to")
def test_a_folder_that_is_not_writable_is_told_in_one_line():
    with pytest.raises(UserError, match=r"^/sys/kernel/new/a\.csv cannot be written: not writable$"):
        write_text(Path("/sys/kernel/new/a.csv"), "")


UNFINISHED = """
import sys, time
from pathlib import Path
from brain_tumor.files import atomic_file, atomic_folder
with atomic_file(Path("a.csv")), atomic_folder(Path("raw")) as folder:
    (folder / "half").touch()
    print("ready", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_goes_with_the_next_file_and_that_of_others_stays(tmp_path):
    for _ in range(2):
        process = subprocess.Popen(  # pipes are closed by `communicate`
            [sys.executable, "-c", UNFINISHED], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        write_text(tmp_path / "other.txt", "")  # the process is alive
        assert len(names(tmp_path)) == 3
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # killed, and nobody has asked: a zombie

        write_text(tmp_path / "other.txt", "")
        assert names(tmp_path) == ["other.txt"]
        process.communicate()
