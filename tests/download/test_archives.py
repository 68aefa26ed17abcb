import os
import stat
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_tumor.download import archives
from brain_tumor.download.archives import copy_files, open_tree
from brain_tumor.errors import UserError

FILES = {"a/one.jpg": b"1" * 3_000_000, "a/two.jpg": b"", "b/c/three.txt": bytes(range(256))}


def write_zip(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_folder(path, files=FILES):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def copy_all(source, target):
    target.mkdir()
    with open_tree(source) as tree:
        copy_files(tree, {name: name for name in tree.names}, target)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def message(path, target):
    """What the user is told; nothing may lie outside the target."""
    before = set(target.parent.rglob("*"))
    with pytest.raises(UserError) as caught:
        copy_all(path, target)
    outside = {new for new in set(target.parent.rglob("*")) - before if not new.is_relative_to(target)}
    assert not outside
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_files_arrive_unchanged_from_an_archive_and_a_folder(tmp_path, write):
    copy_all(write(tmp_path / "source"), tmp_path / "target")

    assert contents(tmp_path / "target") == FILES


@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_files_that_systems_leave_behind_are_not_listed(tmp_path, write):
    junk = dict.fromkeys((".DS_Store", "a/._one.jpg", "__MACOSX/a/one.jpg", ".git/x.jpg"), b"")

    with open_tree(write(tmp_path / "source", FILES | junk)) as tree:
        assert tree.names == sorted(FILES)


def test_links_in_a_folder_are_followed_but_not_in_circles(tmp_path):
    write_folder(tmp_path / "elsewhere")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "linked").symlink_to(tmp_path / "elsewhere" / "a")
    (tmp_path / "source" / "circle").symlink_to(tmp_path / "source")

    with open_tree(tmp_path / "source") as tree:
        assert tree.names == ["linked/one.jpg", "linked/two.jpg"]


def test_a_link_to_nothing_is_named(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "gone.jpg").symlink_to(tmp_path / "nowhere")

    assert "gone.jpg" in message(tmp_path / "source", tmp_path / "target")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    source = write_folder(tmp_path / "source")
    (source / "a").chmod(0)

    assert "a" in message(source, tmp_path / "target")


@pytest.mark.parametrize(
    "name",
    [
        "../evil.jpg",
        "a/../../evil.jpg",
        "/etc/evil.jpg",
        "C:/evil.jpg",
        "C:evil.jpg",
        "..\\evil.jpg",
        "\\\\host\\x.jpg",
    ],
)
def test_an_entry_outside_the_folder_is_refused_before_anything_is_written(tmp_path, name):
    path = write_zip(tmp_path / "set.zip", FILES | {name: b"evil"})

    assert "outside" in message(path, tmp_path / "target")
    assert not contents(tmp_path / "target")


@given(st.text("./\\:aC", min_size=1, max_size=9))
def test_every_name_that_is_let_through_stays_below_the_folder(name):
    if not archives._leaves_folder(name):
        for joined in (os.path.normpath(f"/base/{name}"), os.path.normpath(f"/base/{name}".replace("\\", "/"))):
            assert f"{joined}/".startswith("/base/")


def test_a_link_in_an_archive_is_refused(tmp_path):
    path = write_zip(tmp_path / "set.zip")
    entry = zipfile.ZipInfo("a/link.jpg")
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, "/etc/hostname")

    assert "link" in message(path, tmp_path / "target")


@pytest.mark.parametrize(
    ("write", "limit", "value", "reason"),
    [
        (write_zip, "MAX_FILE_BYTES", 2_999_999, "'a/one.jpg' has 3,000,000 bytes"),
        (write_zip, "MAX_TOTAL_BYTES", 3_000_255, "3,000,256 bytes when unpacked"),
        (write_folder, "MAX_FILE_BYTES", 2_999_999, "a/one.jpg has more than 2,999,999 bytes"),
    ],
)
def test_absurd_sizes_are_refused(tmp_path, monkeypatch, write, limit, value, reason):
    source = write(tmp_path / "set.zip")
    monkeypatch.setattr(archives, limit, value)

    assert reason in message(source, tmp_path / "target")


def test_a_bomb_of_real_size_is_refused(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.jpg", "w") as entry:
        for _ in range(520):
            entry.write(bytes(2**20))
    assert path.stat().st_size < 2**20

    assert "'a.jpg' has 545,259,520 bytes" in message(path, tmp_path / "target")


def test_many_small_bombs_are_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "bombs.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(30):
            archive.writestr(f"glioma/{number}.bmp", bytes(16 * 2**20))
    assert path.stat().st_size < 2**20

    assert "503,316,480 bytes when unpacked, which no pictures are" in message(path, tmp_path / "target")
    assert not contents(tmp_path / "target")


def test_a_name_written_in_another_way_is_found_and_one_with_nul_refused(tmp_path):
    found = write_zip(tmp_path / "set.zip", {"glioma/.//0.jpg": b"1"})
    copy_all(found, tmp_path / "target")
    assert contents(tmp_path / "target") == {"glioma/0.jpg": b"1"}

    cut = tmp_path / "nul.zip"
    cut.write_bytes(write_zip(tmp_path / "b.zip", {"a/0xjpg": b"1"}).read_bytes().replace(b"a/0xjpg", b"a/0\0jpg"))
    assert "outside" in message(cut, tmp_path / "other")


def test_an_entry_larger_than_it_declares_is_not_unpacked(tmp_path):
    path = write_zip(tmp_path / "set.zip", {"a.jpg": b"1" * 3_000_000})
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 24, 10)  # uncompressed size in the directory
    path.write_bytes(data)

    assert "damaged" in message(path, tmp_path / "target")
    assert sum(map(len, contents(tmp_path / "target").values())) <= 10


@pytest.mark.parametrize(
    ("offsets", "change", "reason"),
    [
        ((6, 8), lambda flags: flags | 1, "encrypted"),
        ((8, 10), lambda _: 98, "damaged"),  # a way of packing that nobody knows
    ],
)
def test_entries_that_cannot_be_unpacked_are_refused(tmp_path, offsets, change, reason):
    path = write_zip(tmp_path / "set.zip", {"a.jpg": b"secret"})
    data = bytearray(path.read_bytes())
    for signature, offset in zip((b"PK\x03\x04", b"PK\x01\x02"), offsets, strict=True):
        data[data.index(signature) + offset] = change(data[data.index(signature) + offset])
    path.write_bytes(data)

    assert reason in message(path, tmp_path / "target")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("name", "reason"), [("a/one.jpg", "twice"), ("a//./one.jpg", "twice"), ("a/one.jpg/x.jpg", "a file and a folder")]
)
def test_an_archive_with_two_entries_in_one_place_is_refused(tmp_path, name, reason):
    path = write_zip(tmp_path / "set.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"other")

    assert reason in message(path, tmp_path / "target")


@pytest.mark.parametrize("keep", [0, 10, 1_500, -1])
def test_an_archive_that_is_cut_off_is_named(tmp_path, keep):
    path = write_zip(tmp_path / "set.zip")
    path.write_bytes(path.read_bytes()[:keep])

    assert "damaged" in message(path, tmp_path / "target")


@pytest.mark.parametrize("place", range(60, 3_000, 490))
def test_an_archive_with_altered_bytes_is_named(tmp_path, place):
    path = write_zip(tmp_path / "set.zip", {"a.jpg": os.urandom(4_000)})
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)

    assert "damaged" in message(path, tmp_path / "target")


def test_what_is_not_there_is_named(tmp_path):
    assert "cannot be read" in message(tmp_path / "nowhere.zip", tmp_path / "target")
