import hashlib
import http.server
import importlib.util
import itertools
import os
import shutil
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

from brain_tumor.data.annotations import outline_mask, read_outlines, read_slices
from brain_tumor.data.catalog import CLASSES
from brain_tumor.download import main_set as module
from brain_tumor.download.main_set import MAIN_SET, MAIN_SET_DIGEST, MANIFEST, content_digest
from brain_tumor.download.phantom.plan import MIN_PATIENTS
from brain_tumor.download.phantom.write import write_phantom
from brain_tumor.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def draw_set(folder, published=("Training", "Testing")):
    """A set with two pictures of noise in each class, one of them PNG."""
    rng = np.random.default_rng(5)
    for above, label, name in itertools.product(published, CLASSES, ("0.JPG", "1.png")):
        (folder / above / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 24), dtype=np.uint8)).save(folder / above / label / name)
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


def written(path, content):
    path.write_bytes(content)
    return path


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
        self.usual = {"annotations": False, "additional": []}

    def download(self, **params):
        yaml = YAML()
        values = yaml.load(self.root / "params.yaml")
        values["download"].update(self.usual | params)
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


def test_images_alone_replace_what_was_there_and_are_counted(project, main_set, monkeypatch, caplog):
    expected = contents(main_set)
    for junk in ("Thumbs.db", "Training/glioma/Thumbs.db", ".DS_Store", "Training/._0.JPG", "README.md"):
        (main_set / junk).write_bytes(b"junk")
    project.raw.mkdir(parents=True)
    (project.raw / "old.jpg").touch()
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(main_set))

    with caplog.at_level("INFO"):
        assert project.download(dataset=MAIN_SET) == expected

    counts = "16 images: glioma 4, meningioma 4, notumor 4, pituitary 4"
    assert caplog.messages[-1] == f"{counts}; download.digest: {digest_of(expected)}"


def another_version(folder, archive):
    (folder / "Testing" / "glioma" / "0.JPG").write_bytes(b"other")
    (folder / "Testing" / "notumor" / "1.png").unlink()
    (folder / "Training" / "notumor" / "1.png").unlink()
    for number in range(3):
        (folder / "Training" / "glioma" / f"new{number}.jpg").write_bytes(b"new")
    return pack(folder, archive)


def in_part(folder, _):
    shutil.rmtree(folder / "Training" / "pituitary")
    return folder


def damaged_in_the_middle(folder, archive):
    data = bytearray(pack(folder, archive).read_bytes())
    data[len(data) // 2] ^= 0xFF  # found only when that entry is read, after others were written
    return written(archive, data)


def with_entry_outside(folder, archive):
    with zipfile.ZipFile(pack(folder, archive), "a") as file:
        file.writestr("../outside.jpg", b"")
    return archive


def without_set(_, archive):
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("yes/1.jpg", b"")
    return archive


BAD_SETS = [
    (
        another_version,
        "{} is not the version of brain-tumor-mri with 16 images: 1 files differ, 2 are missing, 3 are extra, the "
        "first is Testing/glioma/0.JPG (differs)",
    ),
    (in_part, "0 files differ, 2 are missing, 0 are extra, the first is Training/pituitary/0.JPG (missing)"),
    (lambda *_: Path("nowhere/set.zip"), "BRAIN_TUMOR_DATA: {} is not there"),
    (lambda _, archive: written(archive, b""), "{} is no zip archive"),
    (lambda _, archive: written(archive, b"no archive"), "{} is no zip archive"),
    (damaged_in_the_middle, "damaged"),
    (with_entry_outside, "outside the archive's folder"),
    (without_set, "{}: no folder is named after a class, as that of yes/1.jpg: expected folders glioma,"),
]


@pytest.mark.parametrize(("make", "reason"), BAD_SETS)
def test_what_is_not_the_main_set_is_refused(project, main_set, tmp_path, monkeypatch, make, reason):
    source = make(main_set, tmp_path / "set.zip")
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(source))

    assert reason.format(source.absolute()) in project.refusal(dataset=MAIN_SET)


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


@pytest.mark.parametrize("published", [("Training", "Testing"), ("Training",), ("",)])
def test_an_own_set_arrives_whole_from_a_folder_and_an_archive(project, tmp_path, published):
    folder = draw_set(tmp_path / "own", published)
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


def test_bad_images_are_all_named_as_the_user_knows_them(project, own):
    (own / "Training").rename(own / "train")
    (own / "train" / "glioma").rename(own / "train" / "GBM")
    for name in ("0.JPG", "1.png"):
        (own / "train" / "GBM" / name).write_text("text")

    text = project.refusal(dataset=str(own), classes={"GBM": "glioma"})

    for name in ("0.JPG", "1.png"):
        assert f"{own / 'train' / 'GBM' / name} cannot be read as an image" in text
    assert "Training" not in text


def test_patients_beside_the_class_folders_are_known(project, own):
    (own / "Training").rename(own / "train")
    (own / "train" / "glioma").rename(own / "train" / "GBM")
    (own / "Patients.csv").write_text("patient,image\nB,train/GBM/0.JPG\n A ,./train/GBM/1.png \n")

    project.download(dataset=str(own), classes={"GBM": "glioma"})

    table = read_slices(project.raw).set_index("image")
    assert table["patient"].to_dict() == {"Training/glioma/1.png": "A", "Training/glioma/0.JPG": "B"}
    assert table["slice"].is_unique
    assert set(table["label"]) == {"glioma"}
    assert not list(project.raw.glob("*.csv"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("image,patient\nTraining/glioma/77.png,A\n", ", line 2: Training/glioma/77.png is no image of the set"),
        ("image;patient\nTraining/glioma/1.png;A\n", ": columns image;patient, expected image, patient"),
        ("image,patient\nTraining/glioma/1.png,\n", ", line 2: patient is empty"),
        ("image,patient\n", " names no patient"),
        (
            "image,patient\nTraining/glioma/1.png,A\n./Training/glioma/1.png,B\n",
            ", line 3: ./Training/glioma/1.png has another patient above",
        ),
    ],
)
def test_patients_that_cannot_be_read_are_refused(project, own, text, reason):
    (own / "patients.csv").write_text(text)

    assert f"{own / 'patients.csv'}{reason}" in project.refusal(dataset=str(own))


def test_patients_at_another_place_are_not_passed_over(project, own):
    (own / "Training" / "patients.csv").write_text("image,patient\nglioma/1.png,A\n")

    text = project.refusal(dataset=str(own))

    assert f"{own}/Training/patients.csv is not beside the folders of images: put it into {own}" in text


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


def renamed(old, new):
    return lambda folder: (folder / old).rename(folder / new)


def emptied(name):
    return lambda folder: [file.unlink() for file in (folder / name).iterdir()]


def copied_to(name):
    def copy(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "Training" / "glioma" / "1.png", folder / name)

    return copy


BAD_LAYOUTS = [
    (renamed("Training/glioma", "Training/gliomas"), "{}: unknown class folders: gliomas: map each to one of glioma, "),
    (emptied("Training/notumor"), "{} holds no images of notumor in Training: every class needs some"),
    (emptied("Testing/notumor"), "{} holds no images of notumor in Testing"),
    (copied_to("Training/0.png"), "Training/0.png is not of the form"),
    (copied_to("Training/glioma/patient1/0.png"), "Training/glioma/patient1/0.png is not of the form"),
    (copied_to("More/glioma/0.png"), "More/glioma/0.png is not of the form"),
    (copied_to("Testing/Glioma_Tumor/1.png"), "both become Testing/glioma/1.png"),
    (copied_to("0.png"), "0.png is not of the form"),
    (lambda folder: (shutil.rmtree(folder), folder.mkdir()), "{} holds no images"),
    (lambda folder: (shutil.rmtree(folder), folder.touch()), "{} is no zip archive"),
]


@pytest.mark.parametrize(("spoil", "reason"), BAD_LAYOUTS)
def test_an_own_set_of_another_layout_is_refused_and_no_image_left_out_in_silence(project, own, spoil, reason):
    spoil(own)

    assert reason.format(own) in project.refusal(dataset=str(own))


def test_folders_are_understood_as_people_name_them(project, tmp_path):
    folder = draw_set(tmp_path / "own", ("train", "Valid", "TEST"))
    names = {
        "glioma": "Glioma_Tumor",
        "meningioma": "MENINGIOMA",
        "notumor": "No Tumor",
        "pituitary": "hypophysis",
    }
    for place, (old, new) in itertools.product(folder.iterdir(), names.items()):
        (place / old).rename(place / new)

    refused = project.refusal(dataset=str(folder))
    assert "unknown class folders: hypophysis: map each to one of glioma, " in refused

    found = project.download(dataset=str(folder), classes={"hypophysis": "pituitary"})
    assert found == contents(draw_set(tmp_path / "plain", ("Training", "Validation", "Testing")))


def test_masks_beside_pictures_become_outlines_and_no_pictures(project, own):
    mask = np.zeros((20, 24), np.uint8)
    mask[5:12, 6:18] = 255
    Image.fromarray(mask).save(own / "Training" / "glioma" / "1_mask.png")
    speck = Image.new("L", (24, 20))
    speck.save(own / "Testing" / "notumor" / "0_mask.png")
    speck.putpixel((3, 3), 255)
    speck.save(own / "Testing" / "glioma" / "0_mask.png")
    pictures = {path: content for path, content in contents(own).items() if "_mask" not in path}

    found = project.download(dataset=str(own))

    outlines = read_outlines(project.raw)
    found.pop("annotations/outlines.csv")
    assert found == pictures
    assert outlines.keys() == {"Training/glioma/1.png"}
    np.testing.assert_array_equal(outline_mask(outlines["Training/glioma/1.png"], 20, 24), mask > 0)


@pytest.mark.parametrize("names", [["1_MASK.png"], ["1-mask.png"], ["1_mask_1.png", "1_mask_2.png"]])
def test_masks_are_called_as_people_call_them_and_several_are_one(project, own, names):
    mask = np.zeros((20, 24), np.uint8)
    mask[5:12, 6:18] = 255
    for number, name in enumerate(names):
        part = mask.copy()
        part[: 8 * number] = 0
        part[8 + 12 * number + 12 * (len(names) == 1) :] = 0
        Image.fromarray(part).save(own / "Training" / "glioma" / name)

    project.download(dataset=str(own))

    (outline,) = read_outlines(project.raw).values()
    np.testing.assert_array_equal(outline_mask(outline, 20, 24), mask > 0)


def palette(mask):
    image = Image.fromarray((mask > 0).astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 0, 0, 1])
    return image


def behind_alpha(mask):
    return Image.merge("RGBA", [Image.new("L", (24, 20), 255)] * 3 + [Image.fromarray(mask)])


MASKS = {
    "1 bit": lambda mask: Image.fromarray(mask > 0),
    "labels": lambda mask: Image.fromarray(mask // 255),
    "16-bit labels, one far larger": lambda mask: Image.fromarray(mask.astype(np.uint16) // 255 + far(mask)),
    "floats": lambda mask: Image.fromarray(mask.astype(np.float32) / 1000),
    "a palette": palette,
    "a dark colour": lambda mask: Image.merge("RGB", [Image.new("L", (24, 20))] * 2 + [Image.fromarray(mask // 255)]),
    "opaque": lambda mask: Image.merge("LA", [Image.fromarray(mask), Image.new("L", (24, 20), 255)]),
}


def far(mask):
    """One pixel of the mask, 65,000 and black elsewhere."""
    values = np.zeros(mask.shape, np.uint16)
    values[tuple(np.argwhere(mask)[0])] = 65_000
    return values


@pytest.mark.parametrize("kind", MASKS)
def test_whatever_is_not_black_is_the_tumour(project, own, kind):
    mask = np.zeros((20, 24), np.uint8)
    mask[5:12, 6:18] = 255
    suffix = "tif" if kind == "floats" else "png"
    MASKS[kind](mask).save(own / "Training" / "glioma" / f"1_mask.{suffix}")

    project.download(dataset=str(own))

    (outline,) = read_outlines(project.raw).values()
    np.testing.assert_array_equal(outline_mask(outline, 20, 24), mask > 0)


def test_edges_of_a_jpeg_mask_are_no_tumour(project, own):
    mask = np.zeros((20, 24), np.uint8)
    mask[5:12, 6:18] = 255
    Image.fromarray(mask).save(own / "Training" / "glioma" / "1_mask.jpg", quality=30)

    project.download(dataset=str(own))

    (outline,) = read_outlines(project.raw).values()
    assert (outline_mask(outline, 20, 24) != (mask > 0)).mean() < 0.03


def test_a_mask_that_says_nothing_is_refused(project, own):
    mask = np.zeros((20, 24), np.uint8)
    mask[5:12, 6:18] = 255
    path = own / "Training" / "glioma" / "1_mask.png"
    for image in (behind_alpha(mask), Image.new("L", (24, 20), 255), Image.fromarray(np.full((20, 24), 7, np.uint16))):
        image.save(path)
        assert "1_mask.png has no black: draw the tumour white on black" in project.refusal(dataset=str(own))
    path.unlink()
    page = Image.fromarray(mask)
    page.save(path.with_suffix(".tif"), save_all=True, append_images=[page])

    assert "1_mask.tif has several pages: save the one that is meant as PNG" in project.refusal(dataset=str(own))


def test_a_mask_of_another_shape_than_its_picture_is_named(project, own):
    Image.new("L", (9, 20), 255).save(own / "Training" / "glioma" / "1_mask.png")

    assert "1_mask.png has 9 x 20 pixels, its picture 24 x 20: write it at that size" in project.refusal(
        dataset=str(own)
    )


def test_a_name_that_is_no_text_is_named(project, own):
    content = (own / "Training" / "glioma" / "1.png").read_bytes()
    (own / "Training" / "glioma" / os.fsdecode(b"\xff.png")).write_bytes(content)

    assert "is not in UTF-8: rename it" in project.refusal(dataset=str(own))


def test_images_that_training_does_not_read_are_named(project, own):
    for path in sorted(own.rglob("*.*")):
        path.rename(path.with_suffix(".gif"))

    assert "holds no images, which end in .bmp, " in (text := project.refusal(dataset=str(own)))
    assert "it holds Testing/glioma/0.gif: expected folders glioma" in text


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "is empty"), (b"\x89PNG\r\n\x1a\n" + bytes(40), "cannot be read as an image")]
)
def test_a_mask_that_cannot_be_read_is_named(project, own, content, reason):
    (own / "Training" / "glioma" / "1_mask.png").write_bytes(content)

    refusal = project.refusal(dataset=str(own))
    assert f"the mask Training/glioma/1_mask.png {reason}" in refusal
    assert "object at" not in refusal


def test_a_file_in_place_of_the_folder_raw_is_named(project, own):
    project.raw.parent.mkdir()
    project.raw.touch()

    assert "data/raw is a file" in project.refusal(dataset=str(own))
    assert project.raw.is_file()


# Annotations


SLICES = "image,slice,patient,label\nTraining/glioma/0.JPG,7,P1,glioma\n"
OUTLINES = 'image,outline\nTraining/glioma/0.JPG,"0.1,0.1 0.2,0.1 0.2,0.3"\n'


def annotate(folder):
    (folder / "annotations").mkdir()
    (folder / "annotations" / "slices.csv").write_text(SLICES)
    (folder / "annotations" / "outlines.csv").write_text(OUTLINES)


@pytest.mark.parametrize("wanted", [True, False])
def test_annotations_of_an_own_set_come_along(project, own, tmp_path, wanted):
    annotate(own)

    assert project.download(dataset=str(own), annotations=wanted) == contents(own)
    assert project.download(dataset=str(pack(own, tmp_path / "own.zip", "own/"))) == contents(own)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("0.JPG", "9.JPG"), "{}: annotations of 1 images that are not there: Training/glioma/9.JPG"),
        (("image,slice", "image"), "{}/annotations/slices.csv"),
    ],
)
def test_annotations_that_do_not_fit_are_refused(project, own, change, reason):
    annotate(own)
    slices = own / "annotations" / "slices.csv"
    slices.write_text(slices.read_text().replace(*change))

    assert reason.format(own) in project.refusal(dataset=str(own))


def test_annotations_of_the_main_set_come_from_a_place_or_from_figshare(project, main_set, monkeypatch):
    def unreachable(folder):
        raise UserError(f"no network for {folder.name}")

    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(main_set))
    monkeypatch.setattr(module, "download_figshare", unreachable)
    assert "no network for figshare" in project.refusal(dataset=MAIN_SET, annotations=True)

    monkeypatch.setenv("BRAIN_TUMOR_ANNOTATIONS", "nowhere")
    assert "BRAIN_TUMOR_ANNOTATIONS" in project.refusal(dataset=MAIN_SET, annotations=True)


def test_annotations_of_the_main_set_are_written_in_our_form(project, main_set, tmp_path, monkeypatch):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "cheng_slices.csv").write_text(
        "image,cheng_slice,mirrored,patient,cheng_label,cheng_fold\nTraining/glioma/0.JPG,7,0,P1,glioma,2\n"
    )
    (tmp_path / "notes" / "tumor_outlines.csv").write_text(OUTLINES)
    monkeypatch.setenv("BRAIN_TUMOR_DATA", str(main_set))
    monkeypatch.setenv("BRAIN_TUMOR_ANNOTATIONS", str(tmp_path / "notes"))

    raw = project.download(dataset=MAIN_SET, annotations=True)

    assert raw.pop("annotations/slices.csv").decode() == SLICES
    assert raw.pop("annotations/outlines.csv").decode() == OUTLINES
    assert raw == contents(main_set)


# The drawn set


@pytest.mark.slow
def test_the_phantom_is_drawn_from_the_seed(project, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "write_phantom", partial(write_phantom, patients=MIN_PATIENTS))
    write_phantom(tmp_path / "expected", seed=17, patients=MIN_PATIENTS)

    assert project.download(dataset="phantom", annotations=True) == contents(tmp_path / "expected")


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
