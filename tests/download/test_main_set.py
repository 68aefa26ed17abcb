import hashlib
import http.server
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from functools import partial
from pathlib import Path

import kagglehub
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kagglesdk import kaggle_env
from PIL import Image
from ruamel.yaml import YAML

from brain_tumor.data.catalog import CLASSES
from brain_tumor.download import main_set as module
from brain_tumor.download.main_set import MAIN_SET, MAIN_SET_DIGEST, MANIFEST, content_digest
from brain_tumor.download.phantom.plan import MIN_PATIENTS
from brain_tumor.download.phantom.write import write_phantom

REPOSITORY = Path(__file__).parents[2]


def draw_set(folder, parts=("Training", "Testing"), images=2):
    """A set with so many pictures of noise in each class, half of them PNG."""
    rng = np.random.default_rng(5)
    for part in parts:
        for name in CLASSES:
            (folder / part / name).mkdir(parents=True)
            for number in range(images):
                file = folder / part / name / f"{number}{'.png' if number % 2 else '.JPG'}"
                Image.fromarray(rng.integers(0, 256, (20, 24), dtype=np.uint8)).save(file)
    return folder


def pack(folder, path, inside=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            archive.write(file, f"{inside}{file.relative_to(folder).as_posix()}")
    return path


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def digest_of(files):
    """The definition, written down a second time."""
    text = "".join(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n" for path in sorted(files))
    return hashlib.sha256(text.encode()).hexdigest()


def load_stage():
    spec = importlib.util.spec_from_file_location("download_stage", REPOSITORY / "stages" / "download.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Project:
    """A folder with a `params.yaml`, where the stage runs as DVC runs it."""

    def __init__(self, root):
        self.root = root
        self.raw = root / "data" / "raw"
        shutil.copy(REPOSITORY / "params.yaml", root)

    def download(self, **params):
        yaml = YAML()
        values = yaml.load(self.root / "params.yaml")
        values["download"].update(params)
        yaml.dump(values, self.root / "params.yaml")
        load_stage().main()
        return contents(self.raw)

    def refusal(self, **params):
        """The one line that the user sees; nothing is left behind."""
        before = {path for path in self.root.rglob("*") if path != self.root / "data"}
        with pytest.raises(SystemExit) as caught:
            self.download(**params)
        text = caught.value.code
        assert isinstance(text, str)
        assert text.startswith("error: ")
        assert "\n" not in text
        assert str(self.raw.parent / ".raw") not in text
        assert {path for path in self.root.rglob("*") if path != self.root / "data"} == before
        return text


@pytest.fixture
def project(tmp_path, monkeypatch):
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    for name in ("BRAIN_TUMOR_DATA", "BRAIN_TUMOR_ANNOTATIONS"):
        monkeypatch.delenv(name, raising=False)

    def unreachable(handle):
        raise ConnectionError(f"no network for {handle}\nin tests")

    monkeypatch.setattr(kagglehub, "dataset_download", unreachable)
    return Project(root)


@pytest.fixture
def own(tmp_path):
    return draw_set(tmp_path / "own")


@pytest.fixture
def main_set(tmp_path, monkeypatch):
    """A small set that the project takes for the published one."""
    folder = draw_set(tmp_path / "published")
    files = contents(folder)
    manifest = tmp_path / "manifest.txt"
    manifest.write_text("".join(f"{hashlib.sha256(files[path]).hexdigest()[:16]}  {path}\n" for path in sorted(files)))
    monkeypatch.setattr(module, "MANIFEST", manifest)
    monkeypatch.setattr(module, "MAIN_SET_DIGEST", digest_of(files))
    return folder


# The content, and how it is named


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.binary(max_size=5), min_size=1), st.randoms())
def test_the_digest_depends_on_content_and_not_on_order(files, random):
    rows = [(path, hashlib.sha256(content).hexdigest()) for path, content in files.items()]
    random.shuffle(rows)

    assert content_digest(pd.DataFrame(rows, columns=["path", "digest"])) == digest_of(files)


def test_the_manifest_lists_the_published_set():
    lines = [line.split("  ") for line in MANIFEST.read_text(encoding="utf-8").splitlines()]
    paths = [path for _, path in lines]

    assert paths == sorted(set(paths))
    assert [sum(path.startswith(part) for path in paths) for part in ("Training/", "Testing/")] == [5_712, 1_311]
    assert {path.split("/")[1] for path in paths} == set(CLASSES)
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest, _ in lines)


# The main set and its ways


def test_archive_folder_and_external_folder_give_the_same_bytes(project, main_set, tmp_path, monkeypatch):
    expected = contents(main_set)
    archive = pack(main_set, tmp_path / "set.zip")
    wrapped = pack(main_set, tmp_path / "wrapped.zip", "brain-tumor/v1/")

    for source in (main_set, archive, wrapped):
        monkeypatch.setenv("BRAIN_TUMOR_DATA", str(source))
        assert project.download(dataset=MAIN_SET) == expected

    monkeypatch.setenv("BRAIN_TUMOR_DATA", "")
    external = project.root / "data" / "external"
    external.mkdir()
    shutil.copy(archive, external)
    assert project.download(dataset=MAIN_SET) == expected
    (external / "set.zip").unlink()
    shutil.copytree(main_set, external / "brain")
    assert project.download(dataset=MAIN_SET) == expected


def test_other_sets_in_the_external_folder_are_passed_over(project, main_set, own):
    external = project.root / "data" / "external"
    shutil.copytree(own, external / "another")
    for file in (external / "another").rglob("*.JPG"):
        file.rename(file.with_name(f"other-{file.name}"))
    for file in (external / "another").rglob("*.png"):
        file.unlink()
    pack(main_set, external / "set.zip")

    assert project.download(dataset=MAIN_SET) == contents(main_set)


def test_files_that_are_no_images_stay_behind(project, main_set, monkeypatch):
    expected = contents(main_set)
    for junk in ("Thumbs.db", "Training/glioma/Thumbs.db", ".DS_Store", "Training/._0.JPG", "README.md"):
        (main_set / junk).write_bytes(b"junk")
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(main_set))

    assert project.download(dataset=MAIN_SET) == expected


def test_what_was_there_before_is_replaced(project, main_set, monkeypatch):
    project.raw.mkdir(parents=True)
    (project.raw / "old.jpg").touch()
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(main_set))

    assert project.download(dataset=MAIN_SET) == contents(main_set)


def test_counts_and_digest_are_logged(project, main_set, monkeypatch, caplog):
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(main_set))
    with caplog.at_level("INFO"):
        project.download(dataset=MAIN_SET)

    counts = "16 images: glioma 4, meningioma 4, notumor 4, pituitary 4"
    assert caplog.messages[-1] == f"{counts}; download.digest: {digest_of(contents(main_set))}"


def test_another_version_is_refused_with_what_differs(project, main_set, tmp_path, monkeypatch):
    (main_set / "Testing" / "glioma" / "0.JPG").write_bytes(b"other")
    (main_set / "Testing" / "notumor" / "1.png").unlink()
    (main_set / "Training" / "notumor" / "1.png").unlink()
    for number in range(3):
        (main_set / "Training" / "glioma" / f"new{number}.jpg").write_bytes(b"new")
    archive = pack(main_set, tmp_path / "v2.zip")
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(archive))

    text = project.refusal(dataset=MAIN_SET)

    assert str(archive) in text
    assert "1 files differ, 2 are missing, 3 are extra, the first is Testing/glioma/0.JPG (differs)" in text


def test_a_folder_that_was_copied_in_part_is_refused(project, main_set, monkeypatch):
    shutil.rmtree(main_set / "Training" / "pituitary")
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(main_set))

    text = project.refusal(dataset=MAIN_SET)

    assert "0 files differ, 2 are missing, 0 are extra, the first is Training/pituitary/0.JPG (missing)" in text


def test_a_set_that_is_not_there_is_named_with_its_variable(project, monkeypatch):
    monkeypatch.setenv("BRAIN_TUMOR_DATA", "nowhere/set.zip")

    text = project.refusal(dataset=MAIN_SET)

    assert "BRAIN_TUMOR_DATA" in text
    assert str(project.root / "nowhere" / "set.zip") in text


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_archive_is_named(project, tmp_path, monkeypatch, content):
    path = tmp_path / "set.zip"
    path.write_bytes(content)
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(path))

    assert f"{path} is no zip archive" in project.refusal(dataset=MAIN_SET)


def test_an_archive_that_is_cut_off_leaves_nothing(project, main_set, tmp_path, monkeypatch):
    path = pack(main_set, tmp_path / "set.zip")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF  # found only when that entry is read, after others were written
    path.write_bytes(data)
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(path))

    assert "damaged" in project.refusal(dataset=MAIN_SET)


@pytest.mark.parametrize("name", ["../outside.jpg", "/outside.jpg", "C:\\outside.jpg"])
def test_an_archive_that_writes_elsewhere_is_refused(project, main_set, tmp_path, monkeypatch, name):
    path = pack(main_set, tmp_path / "set.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"")
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(path))

    assert "outside the archive's folder" in project.refusal(dataset=MAIN_SET)


def test_an_archive_of_absurd_size_is_refused(project, main_set, tmp_path, monkeypatch):
    path = pack(main_set, tmp_path / "set.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Training/glioma/bomb.jpg", bytes(520 * 2**20))
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(path))

    assert "545,259,520 bytes" in project.refusal(dataset=MAIN_SET)


def test_an_archive_without_a_set_is_refused(project, tmp_path, monkeypatch):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("yes/1.jpg", b"")
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(path))

    assert f"{path} holds no images" in project.refusal(dataset=MAIN_SET)


def test_without_network_the_three_ways_are_named(project):
    text = project.refusal(dataset=MAIN_SET)

    assert "no network" in text
    assert all(way in text for way in ("get online", "BRAIN_TUMOR_DATA", "data/external/"))


# Kaggle, played by a server of our own


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """Lets the real kagglehub talk to a server that answers every request with `archive`; returns what it saw."""
    archive = tmp_path / "bundle.zip"
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            if not archive.exists():
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(archive.stat().st_size))
            self.end_headers()
            self.wfile.write(archive.read_bytes())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    monkeypatch.setitem(
        kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, f"http://127.0.0.1:{server.server_port}"
    )
    home = tmp_path / "home"
    for name, value in {
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "KAGGLEHUB_CACHE": str(home / "cache"),
        "KAGGLE_CONFIG_DIR": str(home),
        "HOME": str(home),
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield archive, seen
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def online(project, monkeypatch):
    from kagglehub.datasets import dataset_download

    monkeypatch.setattr(kagglehub, "dataset_download", dataset_download)
    return project


def test_kaggle_brings_the_pinned_version_once(online, main_set, kaggle):
    archive, seen = kaggle
    pack(main_set, archive)

    assert online.download(dataset=MAIN_SET) == contents(main_set)
    assert online.download(dataset=MAIN_SET) == contents(main_set)

    ((path, request),) = seen
    assert path.endswith("DownloadDataset")
    assert all(word in request for word in ("masoudnickparvar", "brain-tumor-mri-dataset", '"datasetVersionNumber": 1'))


@pytest.mark.parametrize("answer", [None, b"", b"a page that is no archive"])
def test_what_kaggle_cannot_give_is_told_in_one_line(online, kaggle, answer):
    archive, seen = kaggle
    if answer is not None:
        archive.write_bytes(answer)

    text = online.refusal(dataset=MAIN_SET)

    assert "cannot be downloaded from Kaggle" in text
    assert "BRAIN_TUMOR_DATA" in text
    assert seen


# A set of one's own


@pytest.mark.parametrize("parts", [("Training", "Testing"), ("Training",), ("",)])
def test_an_own_set_arrives_whole_from_a_folder_and_an_archive(project, tmp_path, parts):
    folder = draw_set(tmp_path / "own", parts)
    archive = pack(folder, tmp_path / "own.zip", "wrapped in/")

    assert project.download(dataset=str(folder)) == contents(folder)
    assert project.download(dataset=str(archive)) == contents(folder)
    assert project.download(dataset=os.path.relpath(folder), digest=digest_of(contents(folder))) == contents(folder)


def test_an_own_set_with_other_content_than_the_digest_is_refused(project, own):
    expected = digest_of(contents(own))
    (own / "Testing" / "glioma" / "1.png").unlink()

    text = project.refusal(dataset=str(own), digest=expected)

    assert f"download.digest is {expected}" in text
    assert digest_of(contents(own)) in text


def test_a_misspelt_data_set_is_named(project):
    text = project.refusal(dataset="brain-tumour-mri")

    assert "download.dataset" in text
    assert all(name in text for name in ("brain-tumour-mri is not there", MAIN_SET, "phantom"))


def cut_off(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


BAD_FILES = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "cut off": (cut_off, "truncated"),
    "no image": (lambda path: path.write_text("text"), "cannot be read as an image"),
    "too many pixels": (lambda path: Image.new("1", (9_000, 9_000)).save(path, "png"), "pixels"),
    "a link to nothing": (lambda path: (path.unlink(), path.symlink_to("nowhere")), "No such file"),
}


@pytest.mark.parametrize(("spoil", "reason"), BAD_FILES.values(), ids=BAD_FILES.keys())
@pytest.mark.parametrize("name", ["0.JPG", "1.png"])
def test_a_bad_image_is_found_and_named(project, own, spoil, reason, name):
    spoil(own / "Testing" / "notumor" / name)

    text = project.refusal(dataset=str(own))

    assert str(own / "Testing" / "notumor" / name) in text
    assert reason in text


def test_a_bad_image_in_an_archive_is_named(project, own, tmp_path):
    (own / "Testing" / "notumor" / "0.JPG").write_bytes(b"")
    archive = pack(own, tmp_path / "own.zip")

    assert f"{archive}/Testing/notumor/0.JPG is empty" in project.refusal(dataset=str(archive))


def test_an_unknown_class_folder_is_named(project, own):
    (own / "Training" / "glioma").rename(own / "Training" / "gliomas")

    text = project.refusal(dataset=str(own))

    assert str(own / "Training" / "gliomas") in text
    assert "expected glioma" in text


@pytest.mark.parametrize("part", ["Training", "Testing"])
def test_an_empty_class_is_named(project, own, part):
    for file in (own / part / "notumor").iterdir():
        file.unlink()

    assert f"{own / part / 'notumor'} holds no images" in project.refusal(dataset=str(own))


@pytest.mark.parametrize(
    "name", ["Training/0.png", "Training/glioma/patient1/0.png", "Validation/glioma/0.png", "0.png"]
)
def test_an_image_in_no_known_place_is_named_and_not_left_out_in_silence(project, own, name):
    (own / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(own / "Training" / "glioma" / "1.png", own / name)

    assert f"{name} is not of the form" in project.refusal(dataset=str(own))


def test_folders_with_other_names_than_training_and_testing_are_named(project, tmp_path):
    folder = draw_set(tmp_path / "own", ("train", "test"))

    text = project.refusal(dataset=str(folder))

    assert "test and train" in text
    assert "Training and Testing" in text


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch], ids=["empty folder", "empty file"])
def test_nothing_in_place_of_a_set_is_named(project, tmp_path, make):
    make(tmp_path / "own")

    assert str(tmp_path / "own") in project.refusal(dataset=str(tmp_path / "own"))


def test_a_file_in_place_of_the_folder_raw_is_named(project, own):
    project.raw.parent.mkdir()
    project.raw.touch()

    assert "data/raw is a file" in project.refusal(dataset=str(own))
    assert project.raw.is_file()


# Annotations


def annotate(folder, image="Training/glioma/0.JPG"):
    (folder / "annotations").mkdir()
    (folder / "annotations" / "slices.csv").write_text(f"image,slice,patient,label\n{image},7,P1,glioma\n")
    (folder / "annotations" / "outlines.csv").write_text(f'image,outline\n{image},"0.1,0.1 0.2,0.1 0.2,0.3"\n')


@pytest.mark.parametrize("wanted", [True, False])
def test_annotations_of_an_own_set_come_along(project, own, tmp_path, wanted):
    annotate(own)

    assert project.download(dataset=str(own), annotations=wanted) == contents(own)
    assert project.download(dataset=str(pack(own, tmp_path / "own.zip", "own/"))) == contents(own)


def test_annotations_that_an_own_set_lacks_are_refused(project, own):
    text = project.refusal(dataset=str(own), annotations=True)

    assert "download.annotations" in text
    assert str(own) in text


def test_annotations_of_images_that_are_not_there_are_refused(project, own):
    annotate(own, "Training/glioma/9.JPG")

    text = project.refusal(dataset=str(own))

    assert str(own) in text
    assert "Training/glioma/9.JPG" in text


def test_annotations_that_cannot_be_read_are_named(project, own):
    annotate(own)
    (own / "annotations" / "slices.csv").write_text("image,slice\n")

    assert str(own / "annotations" / "slices.csv") in project.refusal(dataset=str(own))


@pytest.mark.parametrize("value", [None, "nowhere"])
def test_annotations_of_the_main_set_need_a_place(project, main_set, monkeypatch, value):
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(main_set))
    if value is not None:
        monkeypatch.setenv("BRAIN_TUMOR_ANNOTATIONS", value)

    assert "BRAIN_TUMOR_ANNOTATIONS" in project.refusal(dataset=MAIN_SET, annotations=True)


def test_annotations_of_the_main_set_are_written_in_our_form(project, main_set, tmp_path, monkeypatch):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "cheng_slices.csv").write_text(
        "image,cheng_slice,mirrored,patient,cheng_label,cheng_fold\nTraining/glioma/0.JPG,7,0,P1,glioma,2\n"
    )
    outlines = 'image,outline\nTraining/glioma/0.JPG,"0.1,0.1 0.2,0.1 0.2,0.3"\n'
    (tmp_path / "notes" / "tumor_outlines.csv").write_text(outlines)
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(main_set))
    monkeypatch.setenv("BRAIN_TUMOR_ANNOTATIONS", str(tmp_path / "notes"))

    raw = project.download(dataset=MAIN_SET, annotations=True)

    slices = "image,slice,patient,label\nTraining/glioma/0.JPG,7,P1,glioma\n"
    assert raw.pop("annotations/slices.csv").decode() == slices
    assert raw.pop("annotations/outlines.csv").decode() == outlines
    assert raw == contents(main_set)


# The drawn set


@pytest.mark.slow
def test_the_phantom_is_drawn_from_the_seed(project, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "write_phantom", partial(write_phantom, patients=MIN_PATIENTS))
    write_phantom(tmp_path / "expected", seed=17, patients=MIN_PATIENTS)

    assert project.download(dataset="phantom", annotations=True) == contents(tmp_path / "expected")


# The stage as DVC starts it


def test_the_stage_ends_with_one_line_and_status_1(project):
    done = subprocess.run(
        [sys.executable, REPOSITORY / "stages" / "download.py"],
        cwd=project.root,
        env=os.environ | {"BRAIN_TUMOR_DATA": "nowhere.zip"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "nowhere.zip" in done.stderr


# The real set


@pytest.mark.real_data
def test_the_published_set_passes(real_data, tmp_path, monkeypatch):
    source = real_data.absolute()
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(source))

    files = Project(tmp_path / "project").download(dataset=MAIN_SET, annotations=False)

    assert [sum(path.startswith(part) for path in files) for part in ("Training/", "Testing/")] == [5_712, 1_311]
    assert digest_of(files) == MAIN_SET_DIGEST
    lines = MANIFEST.read_text(encoding="utf-8").splitlines()
    assert lines == [f"{hashlib.sha256(files[path]).hexdigest()[:16]}  {path}" for path in sorted(files)]
